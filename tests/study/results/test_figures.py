"""Figures of a study: what is in the cells, lines and bars, and that every axis is labelled."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from io import BytesIO
from itertools import product

import numpy as np
import optuna
import pytest
from matplotlib.colors import LogNorm, to_rgba
from matplotlib.figure import Figure
from matplotlib.image import imread
from optuna.distributions import CategoricalDistribution, FloatDistribution

from initlab.report.drawing import COLOURS, to_png
from initlab.study.results.figures import (
    heat_map,
    heat_map_keys,
    history,
    importance,
    make_figures,
    metric_label,
    parallel,
)
from initlab.study.search.arms import ArmResult, ArmState, Replica
from initlab.study.search.importance import importances

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


def labelled(figure: Figure) -> bool:
    """Whether every axis of the figure that shows numbers or names says what they are."""
    return all(
        (axis.get_xlabel() or not axis.get_xticks().size) and (axis.get_ylabel() or not axis.get_yticks().size)
        for axis in figure.axes
    )


def drawn(figure: Figure) -> np.ndarray:
    """The pixels of the figure; a warning of missing glyphs or of a layout without room is an error in the tests."""
    # at its own resolution: texts keep the places in pixels that they were drawn at
    return imread(BytesIO(to_png(figure, dpi=int(figure.dpi))))


def inside(figure: Figure) -> bool:
    """Whether the title and the labels of the axes lie on the paper, once the figure was drawn."""
    width, height = figure.bbox.width, figure.bbox.height
    texts = [*figure.texts, *(label for a in figure.axes for label in (a.xaxis.label, a.yaxis.label))]
    boxes = [t.get_window_extent() for t in texts if t.get_text()]
    return all(b.x0 >= 0 and b.y0 >= 0 and b.x1 <= width and b.y1 <= height for b in boxes)


# ------------------------------------------------------------------ heat map
def test_cells_hold_the_means_and_are_grey_where_nothing_is() -> None:
    arms = [*grid(), arm(18, 0.5, init="he", activation="relu", seedless="x")]
    arms.remove(arms[4])  # xavier with tanh was not tried
    figure = heat_map(arms, metric="val/accuracy")
    assert figure is not None
    axis = figure.axes[0]
    assert [t.get_text() for t in axis.get_yticklabels()] == list(INITS)
    assert [t.get_text() for t in axis.get_xticklabels()] == list(ACTIVATIONS)
    cells = axis.collections[0].get_array()
    expected = np.array([0.9 - n / 40 for n in range(18)]).reshape(6, 3)
    expected[0, 0] = (0.9 + 0.5) / 2
    hidden = np.zeros((6, 3), dtype=bool)
    hidden[1, 1] = hidden[5, 1] = hidden[5, 2] = True
    assert np.array_equal(np.ma.getmaskarray(cells), hidden)
    assert np.allclose(cells[~hidden], expected[~hidden])
    told = {(round(t.get_position()[1] - 0.5), round(t.get_position()[0] - 0.5)): t.get_text() for t in axis.texts}
    assert told[0, 0] == "0.700\n(n=2)" and told[0, 1] == "0.875"
    assert (told[1, 1], told[5, 1], told[5, 2]) == ("", "pruned", "failed")
    red, green, blue, _ = axis.get_facecolor()
    assert red == green == blue
    assert labelled(figure)
    assert (axis.get_ylabel(), axis.get_xlabel()) == ("init", "activation")
    assert figure.axes[1].get_ylabel() == "mean validation accuracy (share of 1)"


def test_the_better_cell_is_the_brighter_one_in_either_direction() -> None:
    arms = [
        arm(n, v, init=i, activation="relu" if n % 2 else "tanh")
        for n, (v, i) in enumerate(zip((1.0, 2.0, 3.0, 4.0), "aabb", strict=True))
    ]
    for direction, best in (("maximize", 3), ("minimize", 0)):
        figure = heat_map(arms, metric="val/loss", direction=direction)  # type: ignore[arg-type]
        assert figure is not None
        drawn(figure)
        mesh = figure.axes[0].collections[0]
        light = mesh.cmap(mesh.norm(np.array([1.0, 2.0, 3.0, 4.0])))[:, :3].sum(1)
        assert light.argmax() == best


def test_keys_of_the_heat_map() -> None:
    assert heat_map_keys(grid()) == ("init", "activation")
    three = [arm(n, 0.5, a=f"x{n % 2}", b=f"x{n % 5}", c=f"x{n % 3}") for n in range(30)]
    assert heat_map_keys(three) == ("b", "c")
    assert heat_map_keys(searched()) == ("init", "init.a")  # forty learning rates are no choice
    assert heat_map_keys([arm(n, 0.5, init=f"i{n}", activation="relu") for n in range(4)]) is None
    assert heat_map_keys([]) is None
    figure = heat_map(three, "c", "a", metric="m")
    assert figure is not None and figure.axes[0].get_ylabel() == "c"


def test_numbers_are_in_order_of_size() -> None:
    arms = [arm(n, 0.1 * n, depth=d, init=f"i{n % 2}") for n, d in enumerate(("16", "2", "8", "2", "16", "8"))]
    figure = heat_map(arms, "depth", "init", metric="m")
    assert figure is not None
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["2", "8", "16"]


def test_a_wild_arm_does_not_take_the_colours_of_the_others() -> None:
    arms = [arm(n, 1.0 + n / 100, init=f"i{n // 4}", activation=f"a{n % 4}") for n in range(16)]
    arms[3] = arm(3, 1e9, init="i0", activation="a3")
    figure = heat_map(arms, metric="val/loss", direction="minimize")
    assert figure is not None
    mesh = figure.axes[0].collections[0]
    assert mesh.norm.vmax < 1.2 and mesh.colorbar.extend == "max"
    spread = [arm(n, 10.0**n, init=f"i{n // 4}", activation=f"a{n % 4}") for n in range(16)]
    figure = heat_map(spread, metric="val/loss", direction="minimize")
    assert figure is not None and isinstance(figure.axes[0].collections[0].norm, LogNorm)


# ------------------------------------------------------------------ history
@pytest.mark.parametrize(("direction", "running"), [("maximize", np.maximum), ("minimize", np.minimum)])
def test_best_so_far_is_the_running_extreme(direction: str, running: np.ufunc) -> None:
    draw = random.Random(5)
    arms = [arm(n, draw.uniform(0.2, 0.9), init=f"i{n}") for n in range(20)]
    arms[6] = arm(6, None, state="pruned", init="i6")
    arms[9] = arm(9, math.nan, init="i9")
    arms[19] = arm(19, None, state="failed", init="i19")
    figure = history(arms[::-1], metric="val/loss", direction=direction)  # type: ignore[arg-type]
    assert figure is not None
    axis = figure.axes[0]
    lines = {line.get_label(): line for line in axis.lines}
    done = [a for a in arms if a.trial not in (6, 9, 19)]
    values = [a.value for a in done]
    assert list(lines["complete"].get_xdata()) == [a.trial for a in done]
    assert list(lines["complete"].get_ydata()) == values
    assert list(lines["best so far"].get_xdata()) == [*(a.trial for a in done), 19]
    assert list(lines["best so far"].get_ydata())[:-1] == list(running.accumulate(values))
    assert list(lines["pruned"].get_xdata()) == [6] and list(lines["failed"].get_xdata()) == [19]
    assert axis.get_xlabel() == "trial number" and axis.get_ylabel() == "validation loss"
    drawn(figure)


def test_the_range_over_seeds_and_what_lies_far_off() -> None:
    arms = [arm(n, 1 + n / 50, init=f"i{n}") for n in range(12)]
    replicas = tuple(Replica(seed=s, value=v, status="finished") for s, v in enumerate((0.9, 1.2, 1.1)))
    arms[3] = ArmResult(trial=3, arm="x", choices={}, state="complete", value=1.06, replicas=replicas)
    arms[5] = arm(5, 1e12, init="i5")
    figure = history(arms, metric="m", direction="minimize")
    assert figure is not None
    axis = figure.axes[0]
    (bar,) = axis.collections[0].get_segments()
    assert bar.tolist() == [[3, 0.9], [3, 1.2]]
    assert axis.get_ylim()[1] < 2
    assert [list(line.get_xdata()) for line in axis.lines if line.get_label() == "far above"] == [[5]]
    drawn(figure)


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
    figure = importance(study_of(arms))
    assert figure is not None
    axis = figure.axes[0]
    assert [bar.get_width() for bar in axis.patches] == pytest.approx([shares["activation"], shares["init"]])
    assert [t.get_text() for t in axis.get_yticklabels()] == ["activation", "init"]
    assert "36 trials" in figure.get_suptitle() and labelled(figure)
    drawn(figure)


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
    figure = parallel(arms, ["init", "optimizer.lr", "init.a"], metric="val/loss", direction="minimize")
    assert figure is not None
    axis = figure.axes[0]
    lines = [line for line in axis.lines if len(line.get_xdata()) > 2]
    assert len(lines) == len(arms)
    by_loss = sorted(arms, key=lambda a: -(a.value or 0))
    lrs = [math.log(float(a.choices["optimizer.lr"])) for a in by_loss]
    ends: list[float] = []
    for a, lr, line in zip(by_loss, lrs, lines, strict=True):
        at = dict(zip(line.get_xdata(), line.get_ydata(), strict=True))
        assert at[1.0] == pytest.approx((lr - min(lrs)) / (max(lrs) - min(lrs)))
        assert (at[2.0] < -0.05) == ("init.a" not in a.choices)
        assert (at[0.0] > 0.5) == (a.choices["init"] == arms[0].choices["init"])
        ends.append(at[3.0])
    assert ends == sorted(ends, reverse=True) and (ends[-1], ends[0]) == (0, 1)
    assert to_rgba(lines[-1].get_color()) == (0, 0, 0, 1)
    assert [t.get_text() for t in axis.get_xticklabels()] == ["init", "optimizer.lr", "init.a", "objective"]
    assert figure.axes[1].get_ylabel() == "validation loss" and labelled(figure)
    told = {t.get_text() for t in axis.texts}
    assert {"he", "uniform", "0.001", "0.01", "unset"} <= told
    drawn(figure)


def test_nothing_to_compare_is_no_figure() -> None:
    assert parallel(grid(), [], metric="m") is None
    assert parallel(grid()[:1], ["init"], metric="m") is None
    assert parallel([arm(n, None, state="failed", init="he") for n in range(5)], ["init"], metric="m") is None


# ------------------------------------------------------------------ all together
def test_eighteen_arms_give_four_figures_and_every_axis_says_what_it_is() -> None:
    made = make_figures(grid(), study_of(grid()), metric="val/accuracy", direction="maximize", name="init_x_activation")
    assert list(made) == ["heat_map", "history", "importance", "parallel"]
    for figure in made.values():
        assert labelled(figure)
        assert "init_x_activation" in figure.get_suptitle()
        assert drawn(figure).std() > 0.05  # something is on it
        assert inside(figure)


def test_forty_trials_of_a_sampler_give_them_too() -> None:
    arms = searched()
    made = make_figures(arms, study_of(arms, "minimize"), metric="val/loss", direction="minimize")
    assert list(made) == ["heat_map", "history", "importance", "parallel"]
    for figure in made.values():
        drawn(figure)


def test_what_can_be_drawn_is_drawn() -> None:
    def names(arms: Sequence[ArmResult]) -> list[str]:
        made = make_figures(arms, None, metric="val/accuracy", direction="maximize")
        for figure in made.values():
            drawn(figure)
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
        arm(n, n / 240, init=f"${'long_' * 30}{n % 60}$_{{", activation=f"a\n{n // 60}" + "y" * 70) for n in range(240)
    ]
    made = make_figures(arms, study_of(arms), metric="val/" + "m" * 200, direction="maximize", name="$x_" * 60)
    assert list(made) == ["heat_map", "history", "importance", "parallel"]
    for figure in made.values():
        height, width, _ = drawn(figure).shape
        assert inside(figure)
        assert width <= 1800 and height <= 1200  # at 100 dots an inch


def test_labels_of_metrics_have_words_and_units() -> None:
    assert metric_label("test/accuracy") == "test accuracy (share of 1)"
    assert metric_label("val/bits_per_char") == "validation bits per character"
    assert metric_label("diag/anything") == "diag/anything"


def test_colours_of_the_history_are_of_the_safe_palette() -> None:
    figure = history(grid(), metric="m", direction="maximize")
    assert figure is not None
    assert {line.get_color() for line in figure.axes[0].lines} <= set(COLOURS)
