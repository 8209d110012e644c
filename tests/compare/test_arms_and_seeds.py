"""From runs to arms: what they are called, which run counts, what a diverged one is worth, and what differs beside."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from initlab.compare.arms import by_task, compared, differences, names
from initlab.compare.comparison import compare
from initlab.compare.curves import first_step_at
from initlab.compare.ending import ending_of
from initlab.compare.metric import choose_metric
from initlab.compare.result import Comparison, NothingToCompareError
from initlab.errors import ConfigError
from initlab.spec import CompareSettings
from initlab.tracking import Curve, RunRecord

PLAIN = CompareSettings()


def run(
    seed: int, value: float | None, *, status: str = "finished", start: int = 0, tags: Mapping[str, str] | None = None,
    metrics: Mapping[str, float] | None = None, digest: str = "d", **params: str,
) -> RunRecord:  # fmt: skip
    given = {"task": "image", "data": "digits", **{k.replace("__", "."): v for k, v in params.items()}}
    return RunRecord(
        run_id=f"{params}-{seed}-{start}", name="", experiment="initlab", status=status, start_ms=start, end_ms=0,
        params=given, tags={"seed": str(seed), **(tags or {})}, dataset=("digits", digest),
        metrics={**({} if value is None else {"val/accuracy": value}), **(metrics or {})},
    )  # fmt: skip


def arm(values: Sequence[float], **params: str) -> list[RunRecord]:
    return [run(s, v, **params) for s, v in enumerate(values)]


def comparison(
    runs: Sequence[RunRecord], curves: Mapping[str, Curve] | None = None, settings: CompareSettings = PLAIN
) -> Comparison:
    (raw,) = by_task(runs, [])
    keys = compared([raw], settings, [])
    by = choose_metric(runs, settings)
    return compare(raw, by, names([raw], keys), curves or {}, settings, keys=keys)


def test_an_arm_is_called_by_what_tells_it_from_the_others() -> None:
    he = {"init": "he", "init__gain": "1.0", "init__mode": "fan_in", "activation": "relu", "optimizer__lr": "0.1"}
    xavier = {"init": "xavier", "init__gain": "2.0", "activation": "relu", "optimizer__lr": "0.1"}
    raws = by_task([*arm([0.9], **he), *arm([0.8], **xavier)], [])
    assert sorted(map(str, names(raws, ["init"]).values())) == ["{'init': 'he'}", "{'init': 'xavier'}"]
    # no other key than the two compared ones is needed, though gain and mode differ as well
    assert compared(raws, PLAIN, []) == ["init", "init.gain", "init.mode"]
    assert differences(raws, ["init"], tuned=False) == []
    more = by_task([*arm([0.9], **he), *arm([0.8], **{**he, "optimizer__lr": "0.2"})], [])
    assert sorted(c["optimizer.lr"] for c in names(more, ["init"]).values()) == ["0.1", "0.2"]


def test_what_differs_beside_what_is_compared_is_said() -> None:
    runs = [
        *arm([0.9, 0.8], init="he", optimizer__lr="0.1", trainer__epochs="5"),
        *arm([0.7], init="zeros", optimizer__lr="0.2", trainer__epochs="9", digest="other"),
    ]
    (line, data) = differences(by_task(runs, []), ["init"], tuned=False)
    assert "optimizer.lr (0.1, 0.2)" in line and "trainer.epochs (5, 9)" in line and "2 different versions" in data
    tuned = differences(by_task(runs, []), ["init"], tuned=True)
    assert "optimizer.lr" not in tuned[0]
    versions = [
        run(0, 0.5, init=i, tags={"initlab.version": v, "initlab.git": v * 40}) for i, v in (("a", "1"), ("b", "2"))
    ]
    assert [w.split(":")[0] for w in differences(by_task(versions, []), ["init"], tuned=False)] == [
        "runs come from 2 versions of initlab", "runs come from 2 commits of the code",
    ]  # fmt: skip


def test_of_a_seed_the_latest_run_that_ended_counts() -> None:
    runs = [
        run(0, 0.5, init="he", start=1), run(0, 0.6, init="he", start=2),
        run(0, 0.9, init="he", start=3, status="killed"),
        run(1, 0.7, init="he", start=1, status="failed"), run(1, 0.7, init="he", start=2, status="stopped"),
        *arm([0.1, 0.1], init="zeros"),
    ]  # fmt: skip
    made = comparison(runs)
    assert made.rows[0].arm.values == {"0": 0.6, "1": 0.7} and made.rows[0].arm.count("early") == 0
    assert any("1 seeds were trained again" in n for n in made.notes)


@pytest.mark.slow
def test_a_run_that_diverged_is_worth_an_untrained_network() -> None:
    lost = run(2, 0.85, init="he", status="diverged")
    runs = [*arm([0.9, 0.8], init="he"), lost, *arm([0.5, 0.6, 0.55], init="zeros")]
    curves: dict[str, Curve] = {r.run_id: ((0, 0.12), (10, r.metrics["val/accuracy"])) for r in runs}
    made = comparison(runs, curves)
    he = next(r for r in made.rows if r.arm.choices["init"] == "he")
    assert he.n == 3 and he.mean == pytest.approx((0.9 + 0.8 + 0.12) / 3) and he.arm.count("diverged") == 1
    assert he.learning is not None and (he.learning.reached, he.learning.of) == (2, 3)
    assert any("1 run diverged and counts with val/accuracy 0.12" in n for n in made.notes)
    # without curves the worst value of any run stands in
    assert next(r for r in comparison(runs).rows if r.arm.choices["init"] == "he").arm.values["2"] == 0.5


def test_less_may_be_better() -> None:
    runs = [
        run(s, None, init=i, metrics={"val/loss": v + s / 100})
        for i, v in (("he", 0.2), ("xavier", 0.3), ("zeros", 2.3)) for s in range(3)
    ]  # fmt: skip
    made = comparison(runs)
    assert [r.arm.choices["init"] for r in made.rows] == ["he", "xavier", "zeros"]
    second = made.rows[1]
    assert second.mean == pytest.approx(0.31) and second.low < 0.31 < second.high
    assert second.to_best is not None and second.to_best.difference == pytest.approx(0.2 - 0.3)
    assert made.by.direction == "minimize" and np.nanmax(made.values) == pytest.approx(2.32)


def test_the_metric_is_the_best_known_score_or_the_one_that_is_asked_for() -> None:
    both = [run(0, 0.5, init="he", metrics={"test/accuracy": 0.4, "val/loss": 1.0, "diag/grad_norm": 2.0})]
    assert choose_metric(both, PLAIN).metric == "test/accuracy" and choose_metric(both, PLAIN).curve == "val/accuracy"
    assert choose_metric(both, PLAIN, metric="val/loss", direction="minimize").sign == -1
    with pytest.raises(ConfigError, match=r"did you mean val/accuracy\?\); they have diag/grad_norm, test/accuracy"):
        choose_metric(both, CompareSettings(metric="val/acuracy"))
    with pytest.raises(ConfigError, match="whether more of diag/grad_norm is better"):
        choose_metric(both, CompareSettings(metric="diag/grad_norm"))
    assert choose_metric(both, CompareSettings(metric="diag/grad_norm", direction="maximize")).sign == 1


@pytest.mark.slow
def test_unequal_and_unpaired_seeds_are_said() -> None:
    unequal = comparison([*arm([0.9, 0.8, 0.85], init="he"), *arm([0.5, 0.6], init="zeros")])
    assert any("different numbers of seeds: 2 to 3" in w for w in unequal.warnings) and unequal.paired
    apart = [run(s + 10 * k, 0.5 + s / 100, init=i) for k, i in enumerate(("he", "zeros")) for s in range(3)]
    assert any("Welch" in w for w in comparison(apart).warnings)


def test_what_has_no_value_is_shown_and_counted() -> None:
    runs = [
        *arm([0.9, 0.8], init="he"),
        run(0, 0.3, init="lsuv", status="killed"),
        run(0, None, init="x", status="failed"),
    ]
    made = comparison(runs)
    assert [r.rank for r in made.rows] == [1, None, None]
    assert any("1 failed, 1 ended early" in w for w in made.warnings)
    with pytest.raises(NothingToCompareError, match="all 2 runs diverged"):
        comparison([run(s, 0.5, init="he", status="diverged") for s in range(2)])
    with pytest.raises(NothingToCompareError, match="none of 2 runs came to its end"):
        comparison([run(0, 0.5, init="he", status="diverged"), run(0, None, init="x", status="failed")])


@pytest.mark.slow
def test_the_baseline_is_an_arm_as_it_was_typed() -> None:
    runs = [
        *arm([0.9, 0.8, 0.82], init="he", activation="relu"), *arm([0.5, 0.6, 0.5], init="xavier", activation="relu"),
        *arm([0.7, 0.6, 0.64], init="xavier", activation="tanh"),
    ]  # fmt: skip
    made = comparison(runs, settings=CompareSettings(baseline=("init=xavier activation=tanh",)))
    assert made.baseline == 1 and made.rows[1].to_baseline is None
    assert made.rows[0].to_baseline is not None
    assert made.rows[0].to_baseline.difference == pytest.approx(0.84 - 1.94 / 3)
    for given, part in (("init=xavier", "2 arms fit"), ("init=hee", "no arm fits"), ("xavier", "name an arm")):
        with pytest.raises(ConfigError, match=part):
            comparison(runs, settings=CompareSettings(baseline=(given,)))


def test_tasks_are_told_apart_unless_they_are_what_is_compared() -> None:
    runs = [*arm([0.9], init="he"), *[run(0, 0.8, init="he", data="mnist")]]
    assert [r.label for r in by_task(runs, [])] == ["task=image, data=digits", "task=image, data=mnist"]
    (one,) = by_task(runs, ["data"])
    assert len(one.arms) == 2 and {c["data"] for c in names([one], ["data"]).values()} == {"digits", "mnist"}


def test_the_step_at_the_target_lies_between_readings() -> None:
    curve: Curve = ((0, 0.1), (10, 0.5), (20, 0.9))
    assert first_step_at(curve, 1.0, 0.7) == pytest.approx(15) and first_step_at(curve, 1.0, 0.05) == 0
    assert math.isinf(first_step_at(curve, 1.0, 0.95))
    assert first_step_at(((0, 2.0), (10, 1.0)), -1.0, 1.5) == pytest.approx(5)


def test_hashless_runs_are_arms_by_their_parameters() -> None:
    runs = [*arm([0.9, 0.8], init="he"), *arm([0.5, 0.4], init="he", activation="tanh")]
    (raw,) = by_task(runs, [])
    assert len(raw.arms) == 2 and all(len(seeds) == 2 for seeds in raw.arms.values())
    assert ending_of(runs[0]) == "finished"
