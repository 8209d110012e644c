"""Samplers propose what the space allows, workers apart; pruners act where they can; a doomed run is recognised."""

from __future__ import annotations

import importlib.util
import math
import warnings

import optuna
import pytest
from scipy import stats

from initlab.errors import ConfigError
from initlab.study.search.pruners import WILCOXON_P, doomed, fewest_seeds, pruner
from initlab.study.search.samplers import NAMES, notes, sampler, stream
from initlab.study.space.space import Space, parse

CONDITIONAL = parse(
    ["init=he,uniform", "init.a=tag(log,interval(1e-3,1))", "optimizer.lr=tag(log,interval(1e-4,1e-1))"],
    conditions={"init.a": {"init": ["uniform"]}},
)
NUMBERS = parse(["x=interval(-1,1)", "y=interval(-1,1)"])
HERE = [n for n in NAMES if n != "cmaes" or importlib.util.find_spec("cmaes")]


def searched(name: str, space: Space, *, trials: int, seed: int = 0) -> list[dict[str, str]]:
    """The arms that a sampler proposes one after another, where the best is nearest to 0.3 in every number."""
    study = optuna.create_study(sampler=sampler(name, seed=seed))
    arms: list[dict[str, str]] = []
    for _ in range(trials):
        trial = study.ask()
        arms.append(space.suggest(trial))
        numbers = [float(v) for k, v in arms[-1].items() if k != "init"]
        study.tell(trial, sum((x - 0.3) ** 2 for x in numbers))
    return arms


@pytest.mark.parametrize("name", HERE)
def test_every_sampler_proposes_legal_arms_without_a_warning(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        arms = searched(name, CONDITIONAL, trials=14)
    for arm in arms:
        assert ("init.a" in arm) == (arm["init"] == "uniform")
        assert 1e-4 <= float(arm["optimizer.lr"]) <= 1e-1
    assert {arm["init"] for arm in arms} == {"he", "uniform"}
    assert "arning" not in capfd.readouterr().err


@pytest.mark.parametrize("name", HERE)
def test_a_seed_decides_what_is_proposed(name: str) -> None:
    assert searched(name, NUMBERS, trials=4) == searched(name, NUMBERS, trials=4)


@pytest.mark.parametrize("name", ["random", "tpe", "gp", "nsga2"])
def test_workers_and_a_study_that_goes_on_draw_other_numbers(name: str) -> None:
    begun = [stream(0, worker=w, trials=t) for w in range(3) for t in (0, 20)]
    first = [searched(name, NUMBERS, trials=1, seed=s)[0]["x"] for s in (*begun, stream(1, worker=0, trials=0))]
    assert len(set(first)) == 7


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tpe", "gp"])
def test_a_model_of_the_space_comes_nearer_than_chance(name: str) -> None:
    def best(sampler_name: str, seed: int) -> float:
        arms = searched(sampler_name, NUMBERS, trials=25, seed=seed)
        return min(sum((float(v) - 0.3) ** 2 for v in arm.values()) for arm in arms)

    assert sum(best(name, s) for s in range(3)) < sum(best("random", s) for s in range(3))


def test_options_go_to_optunas_class_and_wrong_ones_are_told() -> None:
    study = optuna.create_study(sampler=sampler("nsga2", seed=0, options={"population_size": 7}))
    assert isinstance(study.sampler, optuna.samplers.NSGAIISampler)
    assert study.sampler.population_size == 7
    with pytest.raises(ConfigError, match=r"study\.sampler=tpe: cannot be created; .*temperature"):
        sampler("tpe", seed=0, options={"temperature": 1})


def test_an_unknown_sampler_is_told_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"study\.sampler=cmaess: did you mean cmaes.*choose from "):
        sampler("cmaess", seed=0)


@pytest.mark.skipif(importlib.util.find_spec("cmaes") is not None, reason="the package is there")
def test_an_absent_package_is_told_with_the_remedy() -> None:
    with pytest.raises(ConfigError, match="pip install cmaes"):
        sampler("cmaes", seed=0)


def test_what_a_sampler_draws_at_random_is_told() -> None:
    assert notes("tpe", CONDITIONAL) == notes("random", CONDITIONAL) == notes("gp", NUMBERS) == ()
    assert notes("cmaes", NUMBERS) == ()
    assert "at random here: init.a; study=tpe" in notes("gp", CONDITIONAL)[0]
    # one number is left that every arm has, and CMA-ES wants two
    assert "at random here: init, init.a, optimizer.lr; study=tpe" in notes("cmaes", CONDITIONAL)[0]


# ------------------------------------------------------------------ pruners
def pruned(name: str, curves: list[list[float]], **settings: int) -> list[bool]:
    """Which of the arms with these values, one a step, are pruned; greater is better."""
    study = optuna.create_study(
        study_name="curves", direction="maximize", pruner=pruner(name, **settings), sampler=sampler("random", seed=0)
    )
    ended: list[bool] = []
    for curve in curves:
        trial = study.ask()
        for step, value in enumerate(curve, start=1):
            trial.report(value, step=step)
            if trial.should_prune():
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                break
        else:
            study.tell(trial, sum(curve) / len(curve))
        ended.append(study.trials[-1].state == optuna.trial.TrialState.PRUNED)
    return ended


GOOD, POOR = [0.5, 0.6, 0.7, 0.8, 0.9], [0.1, 0.1, 0.1, 0.1, 0.1]


def test_median_prunes_the_poor_after_its_start_and_never_the_best() -> None:
    assert pruned("median", [GOOD] * 5 + [POOR, GOOD], epochs=5) == [False] * 5 + [True, False]


def test_hyperband_prunes_the_poor_and_keeps_the_best() -> None:
    rising = [[v + i / 1000 for v in (GOOD if i % 4 == 0 else POOR)] for i in range(24)]
    ended = pruned("hyperband", rising, epochs=5)
    assert sum(ended[1::4] + ended[2::4] + ended[3::4]) >= 6
    assert not any(ended[0::4])


@pytest.mark.parametrize("name", ["none", "diagnostic"])
def test_no_comparison_prunes_nothing(name: str) -> None:
    assert pruned(name, [GOOD] * 6 + [POOR] * 2) == [False] * 8


def test_wilcoxon_prunes_over_seeds() -> None:
    spread = [0.01, 0.02, 0.03, 0.04, 0.05, 0.06]
    good, poor = [0.9 + s for s in spread], [0.5 + s * s for s in spread]
    assert pruned("wilcoxon", [good, poor, good], replicas=6) == [False, True, False]


def test_wilcoxon_needs_as_many_seeds_as_can_differ_significantly() -> None:
    for p in (0.3, 0.1, 0.05, 0.01):
        least = fewest_seeds(p)
        smallest = [float(stats.wilcoxon(range(1, n + 1), alternative="greater").pvalue) for n in (least - 1, least)]
        assert smallest[0] >= p > smallest[1]
    assert fewest_seeds(WILCOXON_P) == 4
    with pytest.raises(ConfigError, match=r"replicas=3: .*at least 4"):
        pruner("wilcoxon", replicas=3)


def test_pruners_that_could_never_act_are_refused() -> None:
    for name in ("median", "hyperband"):
        with pytest.raises(ConfigError, match=r"trainer\.epochs=1: .*2 or more"):
            pruner(name, epochs=1)
    for name in ("median", "hyperband", "wilcoxon"):
        with pytest.raises(ConfigError, match=rf"study\.pruner={name}: .*one metric"):
            pruner(name, epochs=9, replicas=9, objectives=2)
    with pytest.raises(ConfigError, match=r"study\.pruner=medain: did you mean median.*choose from "):
        pruner("medain")


# ------------------------------------------------------------------ diagnosis
FINE = {
    "train/loss": 2.3, "val/loss": 2.3, "val/accuracy": 0.11, "diag/grad_norm": 0.5, "diag/grad_ratio": 0.8,
    "diag/dead_max": 0.1,
}  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "outlook", "epoch", "chance", "said"),
    [
        ({}, None, 5, 0.1, None),
        ({}, "marginal", 5, 0.1, None),
        ({"train/loss": math.nan}, None, 0, None, "train/loss is not finite"),
        ({"val/loss": math.inf}, "trainable", 0, 0.1, "val/loss is not finite"),
        ({}, "untrainable", 1, 0.1, "at chance after 1 epoch (accuracy 0.110), as predicted"),
        # the outlook alone is no doom: Adam rescues what SGD does not train
        ({}, "untrainable", 0, 0.1, None),
        ({"val/accuracy": 0.4}, "untrainable", 3, 0.1, None),
        ({}, "untrainable", 3, None, None),
        (
            {"diag/grad_norm": 1e-7},
            "trainable",
            1,
            0.1,
            "at chance after 1 epoch (accuracy 0.110), and the gradient has",
        ),
        (
            {"diag/grad_ratio": 1e-9},
            None,
            2,
            0.1,
            "at chance after 2 epochs (accuracy 0.110), and the gradient vanishes",
        ),
        ({"diag/dead_max": 1.0}, None, 1, 0.1, "a layer is dead (100 % of its units)"),
        # one of the two alone is no doom
        ({"diag/grad_norm": 1e-7, "val/accuracy": 0.4}, None, 1, 0.1, None),
        ({"diag/dead_max": 1.0, "val/accuracy": 0.4}, None, 1, 0.1, None),
        ({"diag/dead_max": 0.98}, None, 9, 0.1, None),
        ({"diag/grad_norm": 1e-5, "diag/grad_ratio": 1e-5}, None, 9, 0.1, None),
        # nor is it before an epoch is done, or where nobody can say what chance is
        ({"diag/grad_norm": 0.0}, None, 0, 0.1, None),
        ({"diag/grad_norm": 0.0}, None, 3, None, None),
    ],
)
def test_who_is_doomed(
    changed: dict[str, float], outlook: str | None, epoch: int, chance: float | None, said: str | None
) -> None:
    reason = doomed({**FINE, **changed}, outlook, epoch, chance, adaptive=False)
    assert (reason is None) == (said is None)
    assert said is None or said in str(reason)


def test_a_run_that_was_not_looked_at_is_not_doomed() -> None:
    assert doomed({}, None, 3, 0.1, adaptive=False) is None
    assert doomed({"val/accuracy": 0.1}, None, 3, 0.1, adaptive=False) is None


def test_adam_is_given_time_where_its_step_still_reaches_the_first_layer() -> None:
    still = {**FINE, "val/accuracy": 0.1, "diag/grad_ratio": 3e-9}
    assert doomed(still, "untrainable", 1, 0.1, adaptive=False) is not None
    assert [doomed(still, "untrainable", e, 0.1, adaptive=True) is None for e in (1, 3, 4)] == [True, True, False]
    gone = {**still, "diag/grad_ratio": 1e-12}
    assert "as predicted" in str(doomed(gone, "untrainable", 1, 0.1, adaptive=True))
    assert "dead" in str(doomed({**still, "diag/dead_max": 1.0, "diag/grad_ratio": 1.0}, None, 1, 0.1, adaptive=True))
