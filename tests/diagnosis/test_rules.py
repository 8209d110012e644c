"""Each rule fires on its evidence and is silent one step inside its bound."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from initlab.diagnosis import rules
from initlab.diagnosis.rules import Evidence
from initlab.spec import Baseline, Profile, ProfileRow
from tests.cases import untracked

PARAMS = {"init": "he", "activation": "relu", "optimizer.lr": 0.01, "model.norm": "none", "model.residual": False}
HEALTHY = {"act_std": 1.0, "saturated": 0.1, "dead": 0.0, "update_ratio": 1e-3, "unit_spread": 1.0}
GOOD = Evidence(
    profile=Profile(
        rows=(
            *(
                ProfileRow(step=s, site=site, order=i, statistic=statistic, value=value)
                for s in (0, 10, 20)
                for statistic, value in HEALTHY.items()
                for i, site in enumerate(("a", "b", "c"))
            ),
            ProfileRow(step=0, site="", order=-1, statistic="grad_ratio", value=1.0),
        ),
        curves={"val/accuracy": ((0, 0.1), (20, 0.9)), "val/loss": ((0, 2.3), (20, 0.2))},
    ),
    hidden=("a", "b", "c"),
    baseline=Baseline(untrained=math.log(10), constant=math.log(10), accuracy=0.1, words="ln 10 = 2.30"),
    answers=400,
    steps=20,
    diverged_step=None,
    flat_both_sides=True,
    answer_per_step=False,
    params=PARAMS,
)


def with_rows(
    evidence: Evidence, statistic: str, value: float, *, site: str | None = None, step: int | None = None
) -> Evidence:
    rows = tuple(
        replace(r, value=value) if r.statistic == statistic and site in (None, r.site) and step in (None, r.step) else r
        for r in evidence.profile.rows
    )
    return replace(evidence, profile=replace(evidence.profile, rows=rows))


def with_curve(evidence: Evidence, key: str, *points: tuple[int, float]) -> Evidence:
    return replace(evidence, profile=replace(evidence.profile, curves={**evidence.profile.curves, key: points}))


def names(evidence: Evidence) -> list[tuple[str, str]]:
    return [(f.name, f.severity) for f in rules.judge(evidence)]


def test_healthy() -> None:
    assert names(GOOD) == [("healthy", "ok")]
    assert rules.headline(rules.judge(GOOD)) == "healthy"


@pytest.mark.parametrize(
    ("evidence", "finding"),
    [
        (replace(GOOD, diverged_step=3), ("diverged", "failure")),
        (with_rows(GOOD, "unit_spread", 0.0, site="b"), ("symmetric_units", "failure")),
        (with_rows(GOOD, "grad_ratio", 0.04), ("vanishing", "warning")),
        (with_rows(GOOD, "grad_ratio", 0.0009), ("vanishing", "failure")),
        (with_rows(GOOD, "act_std", 1e-4, site="c"), ("vanishing", "failure")),
        (with_rows(GOOD, "grad_ratio", 21.0), ("exploding", "warning")),
        (with_rows(GOOD, "grad_ratio", 1001.0), ("exploding", "failure")),
        (with_rows(GOOD, "grad_ratio", float("inf")), ("exploding", "failure")),
        (with_rows(GOOD, "grad_ratio", float("nan")), ("exploding", "failure")),
        (with_curve(GOOD, "val/loss", (0, 7.0), (20, 2.4)), ("exploding", "warning")),
        (with_curve(GOOD, "val/loss", (0, 7.0), (20, 0.2)), ("exploding", "note")),
        (with_curve(GOOD, "val/loss", (0, 231.0), (20, 0.2)), ("exploding", "failure")),
        (with_rows(GOOD, "saturated", 0.6, site="a"), ("saturated", "warning")),
        (with_rows(GOOD, "saturated", 0.6), ("saturated", "failure")),
        (with_rows(GOOD, "dead", 0.2, site="a"), ("dead_units", "note")),
        (with_rows(with_rows(GOOD, "dead", 0.5, site="a"), "dead", 0.0, site="a", step=0), ("dead_units", "warning")),
        (with_rows(GOOD, "dead", 0.95, site="a"), ("dead_units", "failure")),
        (with_rows(GOOD, "update_ratio", 0.2), ("updates_too_large", "warning")),
        (with_rows(GOOD, "update_ratio", 1e-6), ("updates_too_small", "warning")),
        (with_curve(GOOD, "val/accuracy", (0, 0.1), (20, 0.14)), ("at_chance", "failure")),
    ],
)
def test_a_rule_fires(evidence: Evidence, finding: tuple[str, str]) -> None:
    found = rules.judge(evidence)
    assert finding in [(f.name, f.severity) for f in found]
    told = next(f for f in found if f.name == finding[0])
    assert told.evidence and told.source
    short = any(f.name == "few_updates" for f in found)  # then the other network is not proposed
    assert told.remedies or told.severity == "note" or short
    assert all("=" in o for r in told.remedies for o in r.overrides)


@pytest.mark.parametrize(
    "evidence",
    [
        with_rows(GOOD, "grad_ratio", 0.06),
        with_rows(GOOD, "grad_ratio", 19.0),
        with_rows(GOOD, "saturated", 0.49),
        replace(with_rows(GOOD, "saturated", 0.9), flat_both_sides=False),
        with_rows(GOOD, "dead", 0.09),
        with_rows(GOOD, "update_ratio", 0.09),
        with_curve(GOOD, "val/accuracy", (0, 0.1), (20, 0.15)),
        with_curve(GOOD, "val/loss", (0, 6.8), (20, 0.2)),
        replace(with_rows(GOOD, "unit_spread", 0.0), steps=0),
    ],
)
def test_and_is_silent_inside_its_bound(evidence: Evidence) -> None:
    assert names(evidence) == [("healthy", "ok")]


def test_a_remedy_does_not_repeat_what_is_there() -> None:
    stuck = with_curve(
        replace(GOOD, steps=200, params={**PARAMS, "init": "orthogonal", "model.norm": "batch"}),
        "val/accuracy",
        (20, 0.1),
    )
    overrides = {o for f in rules.judge(stuck) for r in f.remedies for o in r.overrides}
    assert "init=orthogonal" not in overrides and "model.norm=batch" not in overrides
    assert {"init=he", "model.residual=true"} <= overrides


def with_more(evidence: Evidence, *rows: tuple[str, int, str, float]) -> Evidence:
    """`evidence` with readings (site, step, statistic, value) in place of its own."""
    given = {(site, step, statistic) for site, step, statistic, _ in rows}
    kept = [r for r in evidence.profile.rows if (r.site, r.step, r.statistic) not in given]
    new = [ProfileRow(step=step, site=site, order=0, statistic=k, value=v) for site, step, k, v in rows]
    return replace(evidence, profile=replace(evidence.profile, rows=(*kept, *new)))


def test_units_that_are_shifted_off_are_not_units_that_hear_nothing() -> None:
    off = with_more(GOOD, ("a", 0, "measured_q", 2.0), *(("b", s, "dead", 1.0) for s in (0, 10, 20)))
    assert names(with_more(off, ("b", 0, "measured_q", 25.0))) == [("born_dead", "failure")]
    # nothing arrives there: the vanishing is to blame, and the units are dead for want of a signal
    starved = with_more(off, ("b", 0, "measured_q", 1e-9), ("c", 0, "act_std", 1e-9))
    assert names(starved) == [("vanishing", "failure")]
    # where all inputs look alike, half of the units of symmetric weights are off for all of them
    half = with_more(off, ("b", 0, "measured_q", 2.0), *(("b", s, "dead", 0.6) for s in (0, 10, 20)))
    assert names(half) == [("healthy", "ok"), ("dead_units", "note")]


def test_branches_without_norms_add_up() -> None:
    grown = replace(with_more(GOOD, ("c", 0, "act_std", 25.0)), branches=10)
    assert names(grown) == [("unscaled_branches", "warning")]
    assert names(with_more(grown, ("c", 0, "act_std", 1500.0))) == [("unscaled_branches", "failure")]
    assert names(replace(grown, norms=1)) == names(with_more(grown, ("c", 0, "act_std", 19.0))) == [("healthy", "ok")]


def test_what_decay_does_to_the_first_update_is_not_the_rate_s_doing() -> None:
    shrunk = [(site, step, "weight_norm", 10.0 if step == 0 else 1.0) for site in "abc" for step in (0, 10, 20)]
    large = [(site, step, "update_ratio", 0.2) for site in "abc" for step in (0, 1, 2)]
    decayed = replace(
        with_more(GOOD, *shrunk, *large), params={**PARAMS, "optimizer.lr": 1e-3, "optimizer.weight_decay": 200.0}
    )
    (finding,) = rules.judge(decayed)
    assert finding.name == "decayed_weights" and finding.remedies[0].overrides == ("optimizer.weight_decay=0",)
    without = replace(decayed, params={**PARAMS, "optimizer.lr": 1e-3, "optimizer.weight_decay": 0.0})
    assert names(without) == [("updates_too_large", "warning")]


def test_the_rate_follows_from_the_update_that_was_measured() -> None:
    small = with_rows(GOOD, "update_ratio", 2e-6)
    (finding,) = rules.judge(small)
    # an update is proportional to the rate: 1e-3 / 2e-6 times 0.01
    assert finding.name == "updates_too_small" and finding.remedies[0].overrides == ("optimizer.lr=5",)
    huge = with_more(GOOD, *((site, 0, "update_ratio", 2.0) for site in "abc"))
    (finding,) = rules.judge(huge)
    assert finding.name == "updates_too_large" and finding.remedies[0].overrides == ("optimizer.lr=5e-06",)


def test_a_gradient_that_clipping_leaves_nothing_of() -> None:
    clipped = replace(
        with_more(with_rows(GOOD, "update_ratio", 1e-7), ("", 0, "grad_norm", 3.0)),
        params={**PARAMS, "trainer.clip_grad_norm": 1e-6},
    )
    (finding,) = rules.judge(clipped)
    assert finding.remedies[0].overrides == ("trainer.clip_grad_norm=null",)


def test_running_averages_before_the_first_update_say_nothing_of_the_weights() -> None:
    loud = with_curve(GOOD, "val/loss", (0, 500.0), (20, 0.2))
    assert names(loud) == [("exploding", "failure")]
    assert names(replace(loud, running_statistics=True)) == [("healthy", "ok")]


def test_a_branch_that_wakes_is_no_explosion() -> None:
    """The last layer of a branch that begins as nothing has no gradient at step 0."""
    rows = tuple(replace(r, step=1, value=400.0) if r.statistic == "grad_ratio" else r for r in GOOD.profile.rows)
    assert names(replace(GOOD, profile=replace(GOOD.profile, rows=rows))) == [("healthy", "ok")]


def test_too_few_updates_to_learn_anything() -> None:
    short = replace(
        with_curve(GOOD, "val/accuracy", (0, 0.1), (20, 0.1)), params={**PARAMS, "trainer.batch_size": 2048}
    )
    found = {f.name: f for f in rules.judge(short)}
    assert set(found) == {"few_updates", "at_chance"}
    assert found["few_updates"].remedies[0].overrides == ("trainer.batch_size=64",)
    assert "few_updates" not in {f.name for f in rules.judge(replace(short, steps=200))}


def test_a_verdict_that_was_kept_is_the_same_when_it_is_read() -> None:
    for evidence in (GOOD, replace(GOOD, diverged_step=3), recurrent(reach=3.0)):
        text = rules.findings_to_json(evidence, rules.judge(evidence))
        assert rules.findings_from_json(text, evidence.profile) == evidence


# ------------------------------------------------------------------ the same, on networks that have the illness
def findings(*overrides: str) -> set[str]:
    result, _ = untracked("data=digits", *overrides)
    return {f.name for f in result.findings if f.severity in ("failure", "warning")}


def test_zero_weights_stay_symmetric_and_at_chance() -> None:
    result, recorder = untracked("data=digits", "model=mlp", "init=zeros", "trainer.epochs=3")
    assert {"symmetric_units", "at_chance"} <= {f.name for f in result.findings}
    # bitwise: nothing but the output bias has moved
    moved = {n for n, p in recorder.prepared.model.named_parameters() if p.detach().any()}
    assert moved == {"head.bias"}


def test_constant_weights_stay_symmetric_though_they_move() -> None:
    assert "symmetric_units" in findings("model=mlp", "init=constant", "activation=tanh", "trainer.epochs=2")


def test_a_linear_classifier_may_start_at_zero() -> None:
    result, _ = untracked("data=digits", "model=linear", "init=zeros", "trainer.epochs=20", "optimizer.lr=0.01")
    assert result.metrics["val/accuracy"] > 0.9
    assert [f.name for f in result.findings] == ["healthy"]


def test_small_normal_weights_vanish_and_he_does_not() -> None:
    deep = ("model=mlp", "model.depth=30", "model.width=100", "trainer.epochs=8")
    assert {"vanishing", "at_chance"} <= findings(*deep, "init=normal", "init.std=0.01")
    assert not {"vanishing", "exploding", "at_chance"} & findings(*deep, "init=he")


def test_large_normal_weights_explode_with_relu_and_saturate_sigmoids() -> None:
    assert "exploding" in findings("model=mlp", "model.depth=10", "init=normal", "init.std=1", "trainer.epochs=1")
    wide = ("model=mlp", "model.depth=10", "activation=sigmoid", "init=normal", "init.std=1", "trainer.epochs=1")
    assert "saturated" in findings(*wide)


def test_a_network_pushed_off_is_born_dead() -> None:
    assert "born_dead" in findings("model=mlp", "init.bias=-30", "trainer.epochs=1")


def recurrent(**values: float) -> Evidence:
    """A healthy network with one recurrent layer whose readings over time are `values`."""
    usual = {"lags": 50.0, "reach": 50.0, "lag_ratio": 0.5, "lag_peak": 1.0, "closed_f": 0.0, "hidden_saturated": 0.0}
    rows = tuple(
        ProfileRow(step=s, site="rnn.weight_hh_l0", order=1, statistic=k, value=v, position=p)
        for s in (0, 20)
        for k, v in (usual | values).items()
        for p in ((0, 1) if k == "hidden_saturated" else (-1,))
    )
    params = {"model": "lstm", "activation": "tanh", "init": "xavier"}
    return replace(GOOD, profile=replace(GOOD.profile, rows=(*GOOD.profile.rows, *rows)), params=params)


@pytest.mark.parametrize(
    ("reading", "inside", "outside", "name", "severity"),
    [
        ("lag_peak", math.exp(3) * 0.99, math.exp(3) * 1.01, "exploding", "warning"),
        ("lag_peak", math.exp(3) * 0.99, 1001.0, "exploding", "failure"),
        ("lag_peak", math.exp(3) * 0.99, math.nan, "exploding", "failure"),
        ("closed_f", 0.5, 0.51, "closed_gates", "warning"),
        ("hidden_saturated", 0.5, 0.51, "states_saturated", "warning"),
    ],
)
def test_recurrent_layers(reading: str, inside: float, outside: float, name: str, severity: str) -> None:
    assert names(recurrent(**{reading: inside})) == [("healthy", "ok")]
    found = names(recurrent(**{reading: outside}))
    assert found == [(name, severity)]


@pytest.mark.parametrize(("accuracy", "severity"), [(0.35, "warning"), (0.5, "warning"), (0.6, "note"), (0.85, "note")])
def test_a_short_memory_is_no_harm_where_the_network_learned_all_the_same(accuracy: float, severity: str) -> None:
    short = with_curve(recurrent(reach=49.0), "val/accuracy", (0, 0.1), (20, accuracy))
    assert ("short_memory", severity) in names(short)
    enough = with_curve(recurrent(reach=50.0), "val/accuracy", (0, 0.1), (20, accuracy))
    assert names(enough) == [("healthy", "ok")]


def test_near_steps_are_enough_where_every_step_is_answered() -> None:
    per_step = replace(recurrent(reach=5.0), answer_per_step=True)
    assert names(per_step) == [("healthy", "ok"), ("short_memory", "note")]


def test_a_loss_that_is_not_finite_before_training_explodes() -> None:
    broken = with_curve(GOOD, "val/loss", (0, math.nan), (20, 0.2))
    assert names(broken) == [("exploding", "failure")]


def test_answers_that_are_numbers_are_held_against_the_best_constant() -> None:
    baseline = Baseline(untrained=7 / 6, constant=1 / 6, accuracy=None, words="7/6")
    numbers = replace(with_curve(GOOD, "val/loss", (0, 1.2), (20, 0.165)), baseline=baseline, steps=200)
    assert names(numbers)[0] == ("at_chance", "failure")
    assert names(with_curve(numbers, "val/loss", (0, 1.2), (20, 0.16))) == [("healthy", "ok")]


@pytest.mark.parametrize(
    ("losses", "name"),
    [
        ([2.31, 2.30, 2.29, 2.31, 2.30, 2.31, 2.29, 2.30], "at_chance"), ([2.3, 1.9, 1.2, 0.9], "healthy"),
        ([2.3, 2.3, 2.3], "healthy"), ([2.3, 2.3, 2.3, math.nan], "healthy"),
    ],
    ids=["at guessing", "learning", "too few to tell", "not a number"],
)  # fmt: skip
def test_where_no_validation_is_logged_the_training_loss_is_held_against_guessing(
    losses: list[float], name: str
) -> None:
    """A loop of one's own that logs its training loss alone."""
    curves = {"train/loss": tuple(enumerate(losses))}
    found = rules.judge(replace(GOOD, profile=replace(GOOD.profile, curves=curves)))
    assert found[0].name == name
    assert ("not known" in found[0].evidence) == (name == "healthy")
    unknown = Baseline(untrained=math.nan, constant=math.nan, accuracy=None, words="not known")
    told = rules.judge(replace(GOOD, baseline=unknown, profile=replace(GOOD.profile, curves=curves)))
    assert told[0].name == "healthy" and "not known" in told[0].evidence


def test_remedies_of_recurrent_networks_are_not_what_was_tried() -> None:
    for model, init in (
        ("lstm", "chrono"),
        ("lstm", "recurrent"),
        ("gru", "he"),
        ("rnn", "irnn"),
        ("rnn", "orthogonal"),
    ):
        stuck = replace(recurrent(reach=3.0, lag_peak=1e6), params={"model": model, "init": init, "activation": "relu"})
        overrides = {o for f in rules.judge(stuck) for r in f.remedies for o in r.overrides}
        assert overrides and f"init={init}" not in overrides


def test_a_sequence_that_is_answered_at_its_end_wants_a_longer_memory_first() -> None:
    lost = replace(with_curve(recurrent(), "val/accuracy", (0, 0.1), (20, 0.1)), steps=200)
    finding = rules.judge(lost)[0]
    assert finding.name == "at_chance" and finding.remedies[0].overrides == ("init=chrono",)
