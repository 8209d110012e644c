"""Intervals and verdicts: against scipy, against numbers worked out by hand, and over many simulated claims."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from initlab.errors import InitlabError
from initlab.papers.document import lines_of, markdown, measured
from initlab.papers.figure import figure_of
from initlab.papers.judge import Checked, Judged, interval, judge
from initlab.papers.numbers import share_step
from initlab.papers.page import papers_page
from initlab.papers.results import Row
from tests.papers.claims import claim, rows

HE, XAVIER = {"init": "he"}, {"init": "xavier"}
NORMAL = (0.71, 0.69, 0.742, 0.705, 0.688)


def checked(check: Mapping[str, Any], found: Sequence[Row]) -> Checked:
    """The only check of a claim."""
    return judge(claim(checks=[check]), found, 1.0).checks[0]


def student(values: Sequence[float], alpha: float) -> tuple[float, float]:
    low, high = stats.t.interval(1 - alpha, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
    return float(low), float(high)


# ------------------------------------------------------------------ intervals
@pytest.mark.parametrize("count", [1, 2, 4])
def test_an_interval_is_students_at_the_level_that_the_checks_share(count: int) -> None:
    check = {"metric": "test/loss", "arm": "init=he", "above": 0.5}
    found = judge(claim(checks=[check] * count), rows(HE, NORMAL, metric="test/loss"), 1.0)
    for c in found.checks:
        assert (c.low, c.high) == pytest.approx(student(NORMAL, 0.05 / count)) and c.mean == pytest.approx(
            np.mean(NORMAL)
        )
        assert c.seeds == found.seeds == 5


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=12).filter(lambda v: np.std(v) > 1e-6), st.floats(0.001, 0.2)
)
def test_any_interval_is_that_of_scipy(values: list[float], alpha: float) -> None:
    mean, low, high = interval(values, alpha=alpha)
    assert (low, high) == pytest.approx(student(values, alpha), rel=1e-6, abs=1e-6)
    assert low <= mean <= high


def test_one_seed_bounds_nothing() -> None:
    found = checked({"metric": "test/loss", "arm": "init=he", "above": 0.5}, rows(HE, [0.7], metric="test/loss"))
    assert (found.low, found.high, found.outcome) == (-math.inf, math.inf, "undecided")
    assert "[no bound, no bound]" in measured(found)


def test_a_difference_and_a_ratio_are_taken_seed_by_seed() -> None:
    first, second = (0.8, 0.7, 0.9, 0.85), (0.5, 0.41, 0.62, 0.54)
    found = [*rows(HE, first, metric="test/loss"), *rows(XAVIER, second, metric="test/loss")]
    less = checked({"metric": "test/loss", "arm": "init=he", "minus": "init=xavier", "above": 0.2}, found)
    assert (less.low, less.high) == pytest.approx(student(np.subtract(first, second).tolist(), 0.05))
    over = checked({"metric": "test/loss", "arm": "init=he", "over": "init=xavier", "above": 1}, found)
    logs = student(np.log(np.divide(first, second)).tolist(), 0.05)
    assert (over.low, over.high) == pytest.approx(tuple(map(math.exp, logs)))
    assert over.mean == pytest.approx(float(stats.gmean(np.divide(first, second))))
    assert less.outcome == over.outcome == "holds"


def test_arms_are_paired_by_the_seeds_that_both_have() -> None:
    found = [*rows(HE, (0.8, 0.7, 0.9)), *rows(XAVIER, (0.5, 0.4, 0.7, 0.1))]
    one = checked({"metric": "test/accuracy", "arm": "init=he", "minus": "init=xavier", "above": 0}, found)
    assert one.seeds == 3 and one.mean == pytest.approx(0.8 / 3)
    apart = [
        *rows(HE, (0.8, 0.7)),
        *(Row(part="main", params=XAVIER, seed=s, values={"test/accuracy": 0.5}) for s in (7, 8)),
    ]
    with pytest.raises(InitlabError, match="no seed in common"):
        checked({"metric": "test/accuracy", "arm": "init=he", "minus": "init=xavier", "above": 0}, apart)


@pytest.mark.parametrize(("bound", "holds", "fails"), [
    ({"above": 5}, (6, 6.1, 6.2), (4, 4.1, 4.2)), ({"below": 5}, (4, 4.1, 4.2), (6, 6.1, 6.2)),
    ({"near": 5, "within": 0.5}, (5, 5.1, 4.9), (6, 6.1, 6.2)),
    ({"near": 5, "within": 0.5}, (5, 5.1, 4.9), (4, 4.1, 3.9)),
])  # fmt: skip
def test_each_bound_holds_fails_and_is_left_open(bound: dict[str, float], holds: Any, fails: Any) -> None:
    check = {"metric": "test/loss", "arm": "init=he", **bound}
    for values, outcome in ((holds, "holds"), (fails, "fails"), ((3, 5, 7), "undecided")):
        assert checked(check, rows(HE, values, metric="test/loss")).outcome == outcome
    always = {"metric": "test/loss", "arm": "init=he", "above": -1e9}
    one = judge(claim(checks=[check, always]), rows(HE, holds, metric="test/loss"), 1.0)
    assert one.checks[0].outcome in ("holds", "undecided") and one.checks[1].outcome == "holds"


# ------------------------------------------------------------------ shares, and seeds that are all alike
def test_a_share_of_examples_has_the_width_of_its_steps() -> None:
    """All seeds of one arm have 36 of 359: the other arm's values tell the step, and rounding adds step²/12."""
    found = [*rows(HE, [k / 359 for k in (200, 215, 231)]), *rows(XAVIER, [36 / 359] * 3)]
    one = checked({"metric": "test/accuracy", "arm": "init=xavier", "below": 0.15}, found)
    half = float(stats.t.ppf(0.975, 2)) / 359 / math.sqrt(12 * 3)
    assert (one.low, one.high) == pytest.approx((36 / 359 - half, 36 / 359 + half)) and not one.same


def test_the_same_in_every_seed_is_told_and_not_printed_as_an_interval() -> None:
    found = judge(
        claim(checks=[{"metric": "test/accuracy", "arm": "init=he", "below": 0.15}]), rows(HE, [0.1] * 5), 1.0
    )
    assert found.checks[0].same and measured(found.checks[0]) == "0.1, the same in all 5 seeds"
    for text in ("\n".join(lines_of(found)), markdown([found], figures={}, about=""), papers_page([found], again="x")):
        assert "the same in all 5 seeds" in text and "[0.1" not in text


@pytest.mark.parametrize("examples", [7, 100, 359, 1000, 10_000])
def test_the_step_of_shares_is_found_or_is_a_multiple(examples: int) -> None:
    rng = np.random.default_rng(examples)
    for _ in range(20):
        shares = rng.integers(0, examples + 1, 6) / examples
        if step := share_step(shares.tolist()):
            assert 1 / step == pytest.approx(round(1 / step)) and examples % round(1 / step) == 0


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 2**32))
def test_numbers_that_are_no_shares_have_no_step(seed: int) -> None:
    assert share_step(np.random.default_rng(seed).random(3).tolist()) == 0.0


# ------------------------------------------------------------------ lower bounds
def until(arm: Mapping[str, str], values: Sequence[float | None], budget: float = 1000) -> list[Row]:
    return rows(arm, values, metric="until/step", budget=budget)


@pytest.mark.parametrize(
    ("check", "he", "xavier", "outcome"),
    [
        # the first arm is known from below: it can hold "above", and fail "below"
        ({"above": 900}, (None,) * 4, None, "holds"),
        ({"above": 2000}, (None,) * 4, None, "undecided"),
        ({"below": 900}, (None,) * 4, None, "fails"),
        ({"below": 2000}, (None,) * 4, None, "undecided"),
        ({"near": 1000, "within": 100}, (None,) * 4, None, "undecided"),
        ({"near": 500, "within": 100}, (None,) * 4, None, "fails"),
        ({"below": 2000}, (100, 101, 102, None), None, "undecided"),
        # the second arm is known from below: the difference is known from above
        ({"minus": "init=xavier", "below": -500}, (100, 101, 103, 102), (None,) * 4, "holds"),
        ({"minus": "init=xavier", "above": -500}, (100, 101, 103, 102), (None,) * 4, "fails"),
        ({"minus": "init=xavier", "above": -5000}, (100, 101, 103, 102), (None,) * 4, "undecided"),
        ({"over": "init=xavier", "below": 0.5}, (100, 101, 103, 102), (None,) * 4, "holds"),
        ({"over": "init=xavier", "above": 0.01}, (100, 101, 103, 102), (None,) * 4, "undecided"),
        ({"minus": "init=xavier", "above": 0}, (None,) * 4, (None,) * 4, "undecided"),
        ({"over": "init=xavier", "near": 1, "within": 0.5}, (None,) * 4, (None,) * 4, "undecided"),
    ],
)
def test_a_target_that_was_not_reached_is_a_lower_bound(
    check: dict[str, Any], he: Any, xavier: Any, outcome: str
) -> None:
    found = [*until(HE, he), *(until(XAVIER, xavier) if xavier else [])]
    one = checked({"metric": "until/step", "arm": "init=he", **check}, found)
    assert one.outcome == outcome, measured(one)
    assert "did not reach the target" in one.note


def test_more_budget_can_only_confirm_what_a_small_one_decided() -> None:
    """Runs that reach their targets between 500 and 3000 updates: what is decided under a budget stays decided."""
    rng = np.random.default_rng(1)
    for _ in range(60):
        means = rng.uniform(500, 2500, 2)
        true = [rng.normal(m, 60, 5) for m in means]
        for check in ({"above": 1500}, {"minus": "init=xavier", "below": 0}, {"over": "init=xavier", "above": 1.5}):
            decided: set[str] = set()
            for budget in (600, 1200, 2000, 1e5):
                cut = [[float(v) if v <= budget else None for v in t] for t in true]
                found = [*until(HE, cut[0], budget), *until(XAVIER, cut[1], budget)]
                decided.add(checked({"metric": "until/step", "arm": "init=he", **check}, found).outcome)
            assert not {"holds", "fails"} <= decided


def test_a_budget_that_is_not_known_bounds_nothing() -> None:
    found = [*until(HE, [100, None, 90], math.inf)]
    assert checked({"metric": "until/step", "arm": "init=he", "above": 1}, found).outcome == "undecided"


def test_runs_without_a_value_leave_the_claim_open() -> None:
    """Those that survive are not a sample of all."""
    found = [
        *rows(HE, [1.0, 1.1, 1.2], metric="watch/x"),
        Row(part="main", params=HE, seed=3, values={}, ending="diverged"),
    ]
    one = checked({"metric": "watch/x", "arm": "init=he", "above": 0.5}, found)
    assert one.outcome == "undecided" and "1 of 4 runs have no watch/x, 1 of them diverged" in one.note
    assert measured(one).startswith("unknown")


# ------------------------------------------------------------------ slopes and best values
def over_depth(values: Mapping[float, Sequence[float | None]], **more: Any) -> list[Row]:
    return [r for d, v in values.items() for r in rows({"model.depth": f"{d:g}"}, v, **more)]


def test_a_slope_is_the_least_squares_line_of_logarithms() -> None:
    rng = np.random.default_rng(0)
    depths = (5, 10, 20, 40)
    table = {d: (d**-1.5 * rng.lognormal(0, 0.1, 4)).tolist() for d in depths}
    one = checked(
        {"metric": "loss", "slope": "model.depth", "near": -1.5, "within": 0.4}, over_depth(table, metric="loss")
    )
    slopes = [stats.linregress(np.log(depths), np.log([table[d][s] for d in depths])).slope for s in range(4)]
    assert (one.low, one.high) == pytest.approx(student(slopes, 0.05)) and one.outcome == "holds"


@pytest.mark.parametrize(("bound", "capped", "outcome"), [
    ({"above": 0.5}, 40, "holds"), ({"below": 1.5}, 40, "undecided"), ({"below": 0.5}, 40, "fails"),
    ({"below": 0.0}, 5, "undecided"), ({"above": 0.0}, 5, "undecided"),
])  # fmt: skip
def test_a_slope_knows_which_way_a_lower_bound_pulls(bound: dict[str, float], capped: int, outcome: str) -> None:
    noise = (1.0, 1.01, 0.99, 1.005)
    table = {d: [100 * d * e for e in noise] if d != capped else [None] * 4 for d in (5, 10, 20, 40)}
    budget = 4000 if capped == 40 else 500
    one = checked(
        {"metric": "until/step", "slope": "model.depth", **bound}, over_depth(table, metric="until/step", budget=budget)
    )
    assert one.outcome == outcome, measured(one)


def rates(best: Sequence[float], *, arm: Mapping[str, str] = HE, metric: str = "val/loss") -> list[Row]:
    """Losses that are parabolas in log(lr) about the best of each seed."""
    found: list[Row] = []
    for lr in (0.001, 0.01, 0.1, 1.0):
        values = [0.5 + (math.log(lr) - math.log(b)) ** 2 for b in best]
        found += rows({**arm, "optimizer.lr": f"{lr:g}"}, values, metric=metric)
    return found


def test_the_best_value_is_the_vertex_of_the_parabola() -> None:
    best = (0.02, 0.03, 0.025, 0.035)
    one = checked({"metric": "val/loss", "arm": "init=he", "best": "optimizer.lr", "below": 0.1}, rates(best))
    assert one.mean == pytest.approx(np.mean(best)) and (one.low, one.high) == pytest.approx(student(best, 0.05))
    found = [*rates(best), *rates([b / 4 for b in best], arm=XAVIER)]
    moved = checked(
        {
            "metric": "val/loss",
            "arm": "init=he",
            "over": "init=xavier",
            "best": "optimizer.lr",
            "near": 4,
            "within": 0.1,
        },
        found,
    )
    assert moved.mean == pytest.approx(4) and moved.outcome == "holds"


@pytest.mark.parametrize(("best", "bound", "outcome"), [
    (0.0001, {"below": 0.01}, "holds"), (0.0001, {"above": 0.0005}, "undecided"), (0.0001, {"above": 0.01}, "fails"),
    (30.0, {"above": 0.1}, "holds"), (30.0, {"below": 2}, "undecided"), (30.0, {"near": 1, "within": 0.5}, "undecided"),
])  # fmt: skip
def test_a_best_value_at_the_edge_is_known_from_one_side(best: float, bound: dict[str, float], outcome: str) -> None:
    one = checked({"metric": "val/loss", "arm": "init=he", "best": "optimizer.lr", **bound}, rates([best] * 4))
    assert one.outcome == outcome and "edge of its values in 4 of 4 seeds" in one.note


def test_at_best_is_the_metric_there() -> None:
    lows = checked({"metric": "val/loss", "arm": "init=he", "at_best": "optimizer.lr", "below": 2}, rates([0.01] * 3))
    assert lows.mean == pytest.approx(0.5)
    high = [
        r for lr, v in (("0.1", 0.3), ("0.2", 0.8), ("0.4", 0.6)) for r in rows({**HE, "optimizer.lr": lr}, [v] * 3)
    ]
    check = {"metric": "test/accuracy", "arm": "init=he", "at_best": "optimizer.lr", "above": 0.7}
    assert checked(check, high).mean == pytest.approx(0.8)


def test_a_slope_of_best_values() -> None:
    found = [
        Row(part=r.part, params={**r.params, "model.depth": str(d)}, seed=r.seed, values=r.values)
        for d in (5, 10, 20) for r in rates([0.1 / d] * 3)
    ]  # fmt: skip
    one = checked(
        {"metric": "val/loss", "slope": "model.depth", "best": "optimizer.lr", "near": -1, "within": 0.01}, found
    )
    assert one.mean == pytest.approx(-1, abs=1e-6)


# ------------------------------------------------------------------ arms
@pytest.mark.parametrize(("check", "told"), [
    ({"arm": "init=lecun"}, "no arm is init=lecun; there are: init=he (main), init=xavier (main)"),
    ({"arm": ""}, "2 arms fit where one is meant: init=he (main), init=xavier (main)"),
    ({"arm": "init=he", "metric": "test/acuracy"}, "no run has a value of test/acuracy; there are test/accuracy"),
    ({"arm": "init=he", "minus": "init=lecun"}, "no arm is init=lecun"),
    ({"arm": "init=he", "slope": "model.depth"}, "model.depth must have two values or more among the arms"),
    ({"arm": "", "slope": "init"}, "init must be a number in every arm"),
    ({"arm": "init=he", "over": "init=xavier", "metric": "test/loss"}, "needs values above 0; one is 0"),
])  # fmt: skip
def test_what_is_missing_is_told(check: dict[str, Any], told: str) -> None:
    found = [*rows(HE, NORMAL), *rows(XAVIER, (0.1, 0.1, 0.1))]
    if check.get("metric") == "test/loss":
        found = [*rows(HE, (1, 2), metric="test/loss"), *rows(XAVIER, (1, 0), metric="test/loss")]
    with pytest.raises(InitlabError) as raised:
        checked({"metric": "test/accuracy", "above": 0, **check}, found)
    assert told in str(raised.value), raised.value


def test_an_arm_is_the_same_however_its_number_is_written() -> None:
    found = rows({"optimizer.lr": "0.001"}, NORMAL)
    assert checked({"metric": "test/accuracy", "arm": "optimizer.lr=1e-3", "above": 0}, found).seeds == 5


# ------------------------------------------------------------------ verdicts
THREE = [
    {"metric": "test/loss", "arm": "init=he", "below": 1.0},
    {"metric": "test/loss", "arm": "init=xavier", "above": 2.0},
    {"metric": "test/loss", "arm": "init=he", "over": "init=xavier", "below": 0.5},
]  # fmt: skip


def simulated(rng: np.random.Generator, he: float, xavier: float, *, seeds: int = 5, spread: float = 0.02) -> Judged:
    found = [
        *rows(HE, rng.normal(he, spread, seeds).tolist(), metric="test/loss"),
        *rows(XAVIER, rng.normal(xavier, spread, seeds).tolist(), metric="test/loss"),
    ]
    return judge(claim(checks=THREE), found, 1.0)


@pytest.mark.parametrize(("he", "xavier", "spread", "verdict"), [
    (0.5, 3.0, 0.02, "reproduces"), (1.3, 3.0, 0.02, "does not reproduce"), (0.5, 1.5, 0.02, "does not reproduce"),
    (1.0, 3.0, 0.2, "undecided"), (0.5, 3.0, 1.5, "undecided"),
])  # fmt: skip
def test_a_claim_gets_the_verdict_that_its_data_have(he: float, xavier: float, spread: float, verdict: str) -> None:
    rng = np.random.default_rng(3)
    verdicts = []
    for _ in range(40):
        try:
            verdicts.append(simulated(rng, he, xavier, spread=spread).verdict)
        except InitlabError:  # a negative loss has no ratio
            verdicts.append("undecided")
    assert verdicts.count(verdict) >= 36 and (verdict == "undecided" or set(verdicts) <= {verdict, "undecided"})


@pytest.mark.parametrize("seeds", [3, 5, 8])
def test_a_claim_at_its_bound_is_decided_wrongly_in_five_per_cent_at_most(seeds: int) -> None:
    """The true numbers lie exactly on the bounds: neither side is right. Two checks, so that the level is shared."""
    rng = np.random.default_rng(seeds)
    checks = [{"metric": "x", "arm": "init=he", "above": 1.0}, {"metric": "x", "arm": "init=xavier", "below": 2.0}]
    chosen, count = claim(checks=checks), 1500
    verdicts: list[str] = []
    for _ in range(count):
        first, second = rng.normal(1, 0.1, seeds).tolist(), rng.normal(2, 0.1, seeds).tolist()
        found = [*rows(HE, first, metric="x"), *rows(XAVIER, second, metric="x")]
        verdicts.append(judge(chosen, found, 1.0).verdict)
    # 5 % and three standard errors of it
    most = 0.05 + 3 * math.sqrt(0.05 * 0.95 / count)
    assert verdicts.count("reproduces") / count <= most and verdicts.count("does not reproduce") / count <= most
    decided = verdicts.count("reproduces") + verdicts.count("does not reproduce")
    assert decided / count <= most


def test_one_check_at_its_bound_holds_at_the_level_that_it_has() -> None:
    rng, count = np.random.default_rng(0), 2000
    check = {"metric": "x", "arm": "init=he", "above": 1.0}
    held = sum(
        checked(check, rows(HE, rng.normal(1, 0.3, 5).tolist(), metric="x")).outcome == "holds" for _ in range(count)
    )
    assert held / count == pytest.approx(0.025, abs=3 * math.sqrt(0.025 * 0.975 / count))


# ------------------------------------------------------------------ figures
@pytest.mark.parametrize("figure", [
    {"kind": "lines", "metric": "val/loss", "x": "optimizer.lr", "by": ["init"], "log": "xy"},
    {"kind": "lines", "metric": "val/loss", "x": "optimizer.lr", "log": "x"},
    {"kind": "bars", "metric": "val/loss"},
    {"kind": "curves", "metric": "val/loss", "by": "init"},
])  # fmt: skip
def test_a_figure_shows_every_arm(figure: dict[str, Any]) -> None:
    found = [*rates((0.02, 0.03)), *rates((0.05, 0.06), arm=XAVIER)]
    found = [
        Row(part=r.part, params=r.params, seed=r.seed, values=r.values, curve=((0.0, 2.0), (9.0, 1.0))) for r in found
    ]
    check = {"metric": "val/loss", "arm": "init=he", "at_best": "optimizer.lr", "below": 2}
    drawn = figure_of(judge(claim(checks=[check], figure=figure), found, 1.0))
    assert drawn is not None
    text = drawn.standalone()
    assert "he" in text and "xavier" in text and "nan" not in text.lower().replace("nano", "")


def test_a_curve_ends_where_the_first_of_its_runs_does() -> None:
    """The mean of the runs that have not reached a target yet is not the mean of all."""
    curves = [[(0.0, 2.0), (5.0, 1.0)], [(0.0, 2.2), (5.0, 1.4), (9.0, 90.0)]]
    found = [
        Row(part="main", params={"init": "he"}, seed=s, values={"val/loss": 1.0}, curve=tuple(c))
        for s, c in enumerate(curves)
    ]
    figure = {"kind": "curves", "metric": "val/loss", "by": ["init"]}
    drawn = figure_of(judge(claim(checks=[{"metric": "val/loss", "below": 2}], figure=figure), found, 1.0))
    assert drawn is not None and "from 2.1 to 1.2" in drawn.panels[0].label


def test_intervals_on_a_logarithmic_axis_are_those_of_logarithms() -> None:
    found = [*rows({"model.depth": "1"}, (1.0, 100.0), metric="x"), *rows({"model.depth": "2"}, (2.0, 2.0), metric="x")]
    figure = {"kind": "lines", "metric": "x", "x": "model.depth", "log": "y"}
    drawn = figure_of(
        judge(claim(checks=[{"metric": "x", "slope": "model.depth", "above": 0}], figure=figure), found, 1)
    )
    assert drawn is not None and "spread" in drawn.panels[0].body
    assert "mean over seeds from 10 to 2" in drawn.panels[0].label  # the geometric mean of 1 and 100


def test_a_border_lies_between_the_cells_of_a_grid() -> None:
    found = [
        r for x in (1, 2) for y in (10, 20, 30)
        for r in rows({"init.sigma_w": str(x), "model.depth": str(y)}, [0.5, 0.6], metric="x")
    ]  # fmt: skip
    figure = {"kind": "grid", "metric": "x", "x": "init.sigma_w", "y": "model.depth", "border": {1: 15, 2.0: math.inf}}
    drawn = figure_of(judge(claim(checks=[{"metric": "x", "arm": "init.sigma_w=1 model.depth=10", "above": 0}],
                                  figure=figure), found, 1.0))  # fmt: skip
    assert drawn is not None
    (path,) = re.findall(r'class="border" d="([^"]*)"', drawn.panels[0].body)
    assert path.count("h") == 1 and path.count("v") == 2  # below the first cell of one column, beside its other two


def test_a_grid_shows_every_cell() -> None:
    found = [
        r for x in (1, 2, 3) for y in (10, 20)
        for r in rows({"model.depth": str(x), "model.width": str(y)}, [x / y, x / y + 0.01], metric="loss")
    ]  # fmt: skip
    figure = {"kind": "grid", "metric": "loss", "x": "model.depth", "y": "model.width"}
    check = {"metric": "loss", "arm": "model.width=10", "slope": "model.depth", "above": 0}
    drawn = figure_of(judge(claim(checks=[check], figure=figure), found, 1.0))
    assert drawn is not None and all(
        f">{x / y + 0.005:.2f}<" in drawn.standalone() for x in (1, 2, 3) for y in (10, 20)
    )
