"""Figures of a study: what is in the cells, lines and bars, and that all of it can be read."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from itertools import accumulate, product

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution

from initlab.study.results.figures import (
    heat_map,
    heat_map_keys,
    history,
    importance,
    make_figures,
    metric_label,
    parallel,
)
from initlab.study.results.figures.heat_map_plot import table
from initlab.study.results.figures.history_plot import history_lines
from initlab.study.results.figures.parallel_plot import BELOW, coordinates
from initlab.study.results.figures.scales import colour_scale
from initlab.study.search.arms import ArmResult, ArmState, Replica
from initlab.study.search.importance import importances
from tests.report.svg import check, texts

INITS = ("he", "xavier", "orthogonal", "uniform", "normal", "zeros")
ACTIVATIONS = ("relu", "tanh", "sigmoid")


def arm(trial: int, value: float | None, *, state: ArmState = "complete", **choices: str) -> ArmResult:
    return ArmResult(
        trial=trial,
        arm=f"{trial:012x}",
        choices={k.replace("__", "."): v for k, v in choices.items()},
        state=state,
        value=value,
    )


def grid() -> list[ArmResult]:
    """18 arms of which the last two were pruned and failed."""
    arms = [
        arm(n, 0.9 - n / 40, init=i, activation=a) for n, (i, a) in enumerate(product(INITS, ACTIVATIONS))
    ]  # fmt: skip
    arms[16] = arm(16, None, state="pruned", init="zeros", activation="tanh")
    arms[17] = arm(17, None, state="failed", init="zeros", activation="sigmoid")
    return arms


def searched(count: int = 40) -> list[ArmResult]:
    """Trials of a sampler: a logarithmic learning rate, and a key that exists for one init only."""
    draw = random.Random(1)
    arms: list[ArmResult] = []
    for n in range(count):
        lr, init = 10 ** draw.uniform(-4, -1), draw.choice(("he", "uniform"))
        more = {"init__a": draw.choice(("0.01", "0.1"))} if init == "uniform" else {}
        loss = 0.2 + (math.log10(lr) + 2.5) ** 2
        arms.append(arm(n, loss, init=init, optimizer__lr=f"{lr:.4g}", **more))
    return arms


def study_of(arms: Sequence[ArmResult], direction: str = "maximize") -> optuna.Study:
    """A real in-memory study with the same trials."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction=direction)
    space: dict[str, optuna.distributions.BaseDistribution] = {}
    for key in {k for a in arms for k in a.choices}:
        options = sorted({a.choices[key] for a in arms if key in a.choices})
        space[key] = (
            FloatDistribution(1e-4, 1e-1, log=True) if key == "optimizer.lr" else CategoricalDistribution(options)
        )
    states = {
        "complete": optuna.trial.TrialState.COMPLETE,
        "pruned": optuna.trial.TrialState.PRUNED,
        "failed": optuna.trial.TrialState.FAIL,
    }
    for a in arms:
        params = {k: float(v) if k == "optimizer.lr" else v for k, v in a.choices.items()}
        trial = optuna.trial.create_trial(
            state=states[a.state], value=a.value, params=params, distributions={k: space[k] for k in params}
        )
        study.add_trial(trial)
    return study


# ------------------------------------------------------------------ heat map
def test_cells_hold_the_means_and_are_grey_where_nothing_is() -> None:
    arms = [*grid(), arm(18, 0.5, init="he", activation="relu", seedless="x")]
    arms.remove(arms[4])  # xavier with tanh was not tried
    rows, columns, cells = table(arms, "init", "activation")
    assert (rows, columns) == (list(INITS), list(ACTIVATIONS))
    expected = [[0.9 - (3 * i + j) / 40 for j in range(3)] for i in range(6)]
    expected[0][0] = (0.9 + 0.5) / 2
    for i, j in ((1, 1), (5, 1), (5, 2)):
        assert math.isnan(cells[i][j][0])
        expected[i][j] = math.nan
    assert [v for line in cells for v, _ in line] == pytest.approx([v for line in expected for v in line], nan_ok=True)
    assert cells[0][0][1] == "0.700\n(n=2)" and cells[0][1][1] == "0.875"
    assert (cells[1][1][1], cells[5][1][1], cells[5][2][1]) == ("", "pruned", "failed")
    figure = heat_map(arms, metric="val/accuracy")
    assert figure is not None
    check(figure)
    told = texts(figure)
    assert {"init ↓   activation →", "mean validation accuracy (share of 1), more is better", "pruned"} <= set(told)
    assert figure.panels[0].body.count('class="none"') == 3


def test_keys_of_the_heat_map() -> None:
    assert heat_map_keys(grid()) == ("init", "activation")
    three = [arm(n, 0.5, a=f"x{n % 2}", b=f"x{n % 5}", c=f"x{n % 3}") for n in range(30)]
    assert heat_map_keys(three) == ("b", "c")
    assert heat_map_keys(searched()) == ("init", "init.a")  # forty learning rates are no choice
    assert heat_map_keys([arm(n, 0.5, init=f"i{n}", activation="relu") for n in range(4)]) is None
    assert heat_map_keys([]) is None
    figure = heat_map(three, "c", "a", metric="m")
    assert figure is not None and "c ↓   a →" in texts(figure)


def test_numbers_are_in_order_of_size() -> None:
    arms = [arm(n, 0.1 * n, depth=d, init=f"i{n % 2}") for n, d in enumerate(("16", "2", "8", "2", "16", "8"))]
    assert table(arms, "depth", "init")[0] == ["2", "8", "16"]


def test_a_wild_arm_does_not_take_the_colours_of_the_others() -> None:
    values = [1.0 + n / 100 for n in range(16)]
    values[3] = 1e9
    scale = colour_scale(values, "minimize")
    assert scale.high < 1.2 and not scale.log
    assert colour_scale([10.0**n for n in range(16)], "minimize").log
    assert not colour_scale([0.01, 0.99], "maximize").log
    alone = colour_scale([0.5, 0.5], "maximize")
    assert alone.place(0.5) == pytest.approx(0.5)


# ------------------------------------------------------------------ history
@pytest.mark.parametrize(("direction", "better"), [("maximize", max), ("minimize", min)])
def test_best_so_far_is_the_running_extreme(direction: str, better: Callable[[float, float], float]) -> None:
    draw = random.Random(5)
    arms = [arm(n, draw.uniform(0.2, 0.9), init=f"i{n}") for n in range(20)]
    arms[6] = arm(6, None, state="pruned", init="i6")
    arms[9] = arm(9, math.nan, init="i9")
    arms[19] = arm(19, None, state="failed", init="i19")
    found, _ = history_lines(arms[::-1], direction)  # type: ignore[arg-type]
    lines = {line.label: list(line.points) for line in found}
    done = [(float(a.trial), a.value) for a in arms if a.trial not in (6, 9, 19)]
    assert lines["complete"] == done
    stairs = lines["best so far"]
    for (trial, _), best in zip(done, accumulate((v for _, v in done if v is not None), better), strict=True):
        assert [y for x, y in stairs if x <= trial][-1] == best
    assert stairs[-1][0] == 19
    assert [x for x, _ in lines["pruned"]] == [6] and [x for x, _ in lines["failed"]] == [19]
    figure = history(arms, metric="val/loss", direction=direction)  # type: ignore[arg-type]
    assert figure is not None and {"trial number", "validation loss"} <= set(texts(figure))
    check(figure)


def test_the_range_over_seeds_and_what_lies_far_off() -> None:
    arms = [arm(n, 1 + n / 50, init=f"i{n}") for n in range(12)]
    replicas = tuple(Replica(seed=s, value=v, status="finished") for s, v in enumerate((0.9, 1.2, 1.1)))
    arms[3] = ArmResult(trial=3, arm="x", choices={}, state="complete", value=1.06, replicas=replicas)
    arms[5] = arm(5, 1e12, init="i5")
    found, y = history_lines(arms, "minimize")
    lines = {line.label: list(line.points) for line in found}
    assert lines["range over seeds"] == [(3, pytest.approx(0.9, abs=0.04)), (3, pytest.approx(1.2, abs=0.04))]
    assert y.high < 2
    assert [x for x, _ in lines["far above"]] == [5] and lines["far above"][0][1] == y.high


# ------------------------------------------------------------------ importance
def test_the_key_that_decides_is_the_important_one() -> None:
    arms = [
        arm(n, 0.9 if i == "he" else 0.1, init=i, activation=a)
        for n, (i, a, _) in enumerate(product(("he", "zeros", "normal"), ACTIVATIONS, range(4)))
    ]
    found = importances(study_of(arms))
    assert found is not None
    shares, quantile, count = found
    assert list(shares) == ["init", "activation"] and shares["init"] > 0.95
    assert sum(shares.values()) == pytest.approx(1)
    assert (quantile, count) == (pytest.approx(5 / 36), 36)
    figure = importance(study_of(arms), noise=frozenset({"activation"}))
    assert figure is not None
    told = texts(figure)
    assert f"{shares['init']:.0%}" in told and f"{shares['activation']:.0%}, noise" in told
    assert told.index("init") < told.index("activation") and "36 trials" in figure.reading
    assert figure.panels[0].body.count('<rect class="f8"') == 1
    check(figure)


def test_the_direction_and_a_conditional_key_are_understood() -> None:
    study = study_of(searched(), "minimize")
    found = importances(study)
    assert found is not None
    assert next(iter(found[0])) == "optimizer.lr" and set(found[0]) == {"optimizer.lr", "init", "init.a"}


def test_no_importance_where_there_is_none_to_measure() -> None:
    assert importance(optuna.create_study()) is None
    assert importance(study_of([arm(n, 0.1 * n, init="he" if n else "xavier") for n in range(3)])) is None
    assert importance(study_of([arm(n, None, state="failed", init=f"i{n % 2}") for n in range(9)])) is None
    assert importance(study_of([arm(n, 0.5, init=f"i{n % 2}") for n in range(9)])) is None  # all arms alike
    assert importance(study_of([arm(n, 0.1 * n) for n in range(9)])) is None  # nothing was swept
    assert importance(study_of([arm(n, math.inf, init=f"i{n % 2}") for n in range(9)])) is None


def test_infinite_values_do_not_stand_in_the_way() -> None:
    arms = [arm(n, 0.9 if n % 2 else 0.2, init=f"i{n % 2}", activation=ACTIVATIONS[n % 3]) for n in range(30)]
    arms[4] = arm(4, -math.inf, init="i0", activation="relu")
    found = importances(study_of(arms))
    assert found is not None and next(iter(found[0])) == "init" and found[2] == 29


# ------------------------------------------------------------------ parallel coordinates
def test_each_line_passes_its_choices_and_ends_at_its_objective() -> None:
    arms = searched()
    keys = ["init", "optimizer.lr", "init.a"]
    done, scale, axes = coordinates(arms, keys, "minimize")
    by_loss = sorted(arms, key=lambda a: -(a.value or 0))
    assert [a.trial for a in done] == [a.trial for a in by_loss]
    lrs = [math.log(float(a.choices["optimizer.lr"])) for a in by_loss]
    for n, (a, lr) in enumerate(zip(by_loss, lrs, strict=True)):
        at = {key: places[n] for key, (places, _) in zip(keys, axes, strict=True)}
        assert at["optimizer.lr"] == pytest.approx((lr - min(lrs)) / (max(lrs) - min(lrs)))
        assert (at["init.a"] == BELOW) == ("init.a" not in a.choices)
        assert (at["init"] > 0.5) == (a.choices["init"] == arms[0].choices["init"])
    ends = [scale.place(a.value or 0) for a in done]
    assert ends == sorted(ends, reverse=True) and (ends[-1], ends[0]) == (0, 1)
    figure = parallel(arms, keys, metric="val/loss", direction="minimize")
    assert figure is not None
    check(figure)
    told = set(texts(figure))
    assert {"init", "optimizer.lr", "init.a", "objective", "he", "uniform", "0.001", "0.01", "unset"} <= told
    assert "validation loss, less is better" in told
    body = figure.panels[0].body
    assert body.count('class="thin"') == len(arms) - 1 and body.count("line best") == 1


def test_nothing_to_compare_is_no_figure() -> None:
    assert parallel(grid(), [], metric="m") is None
    assert parallel(grid()[:1], ["init"], metric="m") is None
    assert parallel([arm(n, None, state="failed", init="he") for n in range(5)], ["init"], metric="m") is None


# ------------------------------------------------------------------ all together
def test_eighteen_arms_give_four_figures() -> None:
    made = make_figures(grid(), study_of(grid()), metric="val/accuracy", direction="maximize")
    assert list(made) == ["heat_map", "history", "importance", "parallel"]
    for figure in made.values():
        check(figure)


def test_forty_trials_of_a_sampler_give_them_too() -> None:
    arms = searched()
    made = make_figures(arms, study_of(arms, "minimize"), metric="val/loss", direction="minimize")
    assert list(made) == ["heat_map", "history", "importance", "parallel"]
    for figure in made.values():
        check(figure)


def test_what_can_be_drawn_is_drawn() -> None:
    def names(arms: Sequence[ArmResult]) -> list[str]:
        made = make_figures(arms, None, metric="val/accuracy", direction="maximize")
        for figure in made.values():
            check(figure)
        return list(made)

    assert names([]) == []
    assert names([arm(0, None, state="waiting", init="he"), arm(1, None, state="running", init="xavier")]) == []
    assert names([arm(0, 0.5, init="he", activation="relu")]) == ["history"]
    assert names(
        [arm(n, None, state="failed", init=i, activation=a) for n, (i, a) in enumerate(product("ab", "cd"))]
    ) == ["history"]
    assert names([arm(n, math.nan, init=f"i{n}", activation=f"a{n}") for n in range(3)]) == []
    assert names([arm(n, 0.5, init=f"i{n}") for n in range(3)]) == ["history", "parallel"]
    # all equal, and all zero
    assert names([arm(n, 0.0, init=i, activation=a) for n, (i, a) in enumerate(product("ab", "cd"))]) == [
        "heat_map", "history", "parallel",
    ]  # fmt: skip


def test_very_long_names_many_arms_and_odd_letters() -> None:
    arms = [
        arm(n, n / 240, init=f"${'long_' * 30}{n % 60}$_{{<b>", activation=f"a\n{n // 60}" + "y" * 70)
        for n in range(240)
    ]
    made = make_figures(arms, study_of(arms), metric="val/" + "m" * 200, direction="maximize")
    assert list(made) == ["heat_map", "history", "importance", "parallel"]
    for figure in made.values():
        check(figure)


def test_labels_of_metrics_have_words_and_units() -> None:
    assert metric_label("test/accuracy") == "test accuracy (share of 1)"
    assert metric_label("val/bits_per_char") == "validation bits per character"
    assert metric_label("diag/anything") == "diag/anything"
