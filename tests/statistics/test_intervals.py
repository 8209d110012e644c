"""Intervals against scipy, closed forms, and a small simulation of their coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from initlab.statistics import intervals as module
from initlab.statistics.failures import failed_seeds
from initlab.statistics.intervals import BCA, MIXTURE, intervals
from initlab.statistics.rows import step
from initlab.statistics.spread import NO_SPREAD, NONE, POOLED, STUDENT, brown_forsythe, cautious, spread
from initlab.statistics.student import interval

RNG = np.random.default_rng(11)


def test_one_arm_has_student_s_interval() -> None:
    row = RNG.normal(size=7)
    found, oracle = intervals(row[None]), interval(row.tolist())
    assert found.method == (STUDENT,)
    assert (found.low[0], found.high[0]) == (pytest.approx(oracle.low), pytest.approx(oracle.high))


def test_arms_that_scatter_alike_share_one_variance() -> None:
    values = RNG.normal(size=(4, 6))
    found = intervals(values)
    pooled = math.sqrt(values.var(axis=1, ddof=1).mean() / 6)
    # between the t of independent arms and that of arms that say the same
    least, most = (stats.t.ppf(0.975, df) * pooled for df in (4 * 5, 5))
    half = (found.high - found.low) / 2
    assert found.method == (POOLED,) * 4 and np.ptp(half) < 1e-12
    assert least <= half[0] <= most


def test_arms_that_share_what_a_seed_brings_have_the_freedom_of_one() -> None:
    shared = RNG.normal(size=(1, 5))
    values = shared + 1e-6 * RNG.normal(size=(8, 5))
    assert spread(values).freedom == pytest.approx(np.full(8, 4.0), rel=1e-3)


def test_arms_that_scatter_differently_keep_their_own() -> None:
    scale = np.array([0.01, 0.01, 0.01, 1.0, 1.0, 1.0])[:, None]
    values = scale * np.random.default_rng(3).normal(size=(6, 8))
    found = spread(values)
    own = values.var(axis=1, ddof=1)
    assert not found.alike
    assert found.variance[:3] == pytest.approx(own[:3]) and found.method[:3] == (STUDENT,) * 3
    # the three that are left scatter alike
    assert found.variance[3:] == pytest.approx(np.full(3, own[3:].mean())) and found.method[3:] == (POOLED,) * 3


def test_one_arm_that_scatters_more_does_not_widen_the_others() -> None:
    values = 0.9 + 0.01 * np.random.default_rng(5).normal(size=(8, 5))
    alone = intervals(values)
    values[0] = 0.9 + 0.2 * np.random.default_rng(6).normal(size=5)
    beside = intervals(values)
    ratio = (beside.high - beside.low)[1:] / (alone.high - alone.low)[1:]
    assert beside.method == (STUDENT, *(POOLED,) * 7) and ratio.max() < 1.2


def test_what_an_arm_shows_by_chance_is_not_believed() -> None:
    values = np.random.default_rng(0).normal(size=(6, 3))
    values[0] = values[0].mean() + 1e-3 * (values[0] - values[0].mean())
    assert cautious(values).variance[0] > 100 * values[0].var(ddof=1)
    many = np.random.default_rng(0).normal(size=(6, 40)) * np.array([0.01, 1, 1, 1, 1, 1])[:, None]
    assert cautious(many).variance[0] < 3 * many[0].var(ddof=1)


def test_values_on_a_grid_scatter_by_its_step() -> None:
    values = np.array([[0.98, 0.98, 0.98], [0.98, 0.96, 0.98], [0.94, 0.96, 0.96]])
    found = intervals(values)
    assert step(values) == pytest.approx(0.02) and (found.high > found.low).all()
    assert step(np.random.default_rng(0).normal(size=(5, 5))) == 0


def test_an_arm_some_of_whose_seeds_failed_has_the_interval_of_a_mixture() -> None:
    rng = np.random.default_rng(2)
    values = 0.9 + 0.01 * rng.normal(size=(4, 5))
    values[0, 2] = 0.11
    found = intervals(values, floor=0.1)
    assert found.method[0] == MIXTURE and found.failed.sum() == 1 and found.failed[0, 2]
    # from 0.7 % to 72 % of seeds may fail (Clopper & Pearson), each 0.79 lower
    share = stats.binomtest(1, 5).proportion_ci(0.95, "exact")
    gap = np.delete(values[0], 2).mean() - 0.11
    assert found.low[0] == pytest.approx(values[0].mean() - (share.high - 0.2) * gap, abs=0.01)
    assert found.high[0] == pytest.approx(values[0].mean() + (0.2 - share.low) * gap, abs=0.01)
    without = intervals(values[1:], floor=0.1)
    assert (found.high - found.low)[1:] == pytest.approx(without.high - without.low, rel=0.2)


def test_what_counts_as_failed() -> None:
    values = np.array([[0.9, 0.1, 0.91], [0.9, 0.85, 0.88], [0.1, 0.1, 0.1], [0.5, 0.52, 0.51]])
    assert np.argwhere(failed_seeds(values, floor=0.1)).tolist() == [[0, 1]]
    known = np.zeros((4, 3), bool)
    known[3, 0] = True
    assert np.argwhere(failed_seeds(values, floor=0.1, known=known)).tolist() == [[0, 1], [3, 0]]
    # nothing stands out of what scatters
    rng = np.random.default_rng(1)
    assert not any(failed_seeds(rng.standard_t(3, size=(18, 3))).any() for _ in range(50))


def test_brown_and_forsythe_are_scipy_s_levene() -> None:
    values = RNG.normal(size=(5, 6)) * np.array([1, 1, 2, 3, 1])[:, None]
    assert brown_forsythe(values) == pytest.approx(stats.levene(*values, center="median").pvalue)


def test_of_an_odd_number_of_seeds_the_zero_is_left_out() -> None:
    values = np.array([[0.0, 1.0, 3.0], [0.0, 5.0, 6.0], [1.0, 1.5, 9.0]])
    oracle = stats.f_oneway([1.0, 2.0], [1.0, 5.0], [0.5, 7.5]).pvalue
    assert brown_forsythe(values) == pytest.approx(oracle)


def test_many_seeds_have_a_bootstrap() -> None:
    values = np.random.default_rng(0).gamma(2.0, size=(2, 60))
    found = intervals(values)
    oracle = stats.bootstrap((values[0],), np.mean, n_resamples=9999, method="BCa", rng=1).confidence_interval
    assert found.method == (BCA, BCA)
    assert (found.low[0], found.high[0]) == (pytest.approx(oracle.low, abs=0.05), pytest.approx(oracle.high, abs=0.05))


def test_what_has_no_spread_or_one_seed_says_so() -> None:
    values = np.array([[0.1, 0.1, 0.1], [0.9, 0.92, 0.89], [0.8, math.nan, math.nan]])
    apart = np.array([True, False, False])
    found = intervals(values, apart=apart)
    assert found.method[0] == NO_SPREAD and found.low[0] == found.high[0] == pytest.approx(0.1)
    # an arm that never trained does not lend its certainty
    assert found.high[1] - found.low[1] == pytest.approx(2 * interval([0.9, 0.92, 0.89]).high - 2 * values[1].mean())
    alone = intervals(np.array([[0.8], [0.7]]))
    assert alone.method == (NONE, NONE) and np.isnan(alone.low).all()


def test_interquartile_mean() -> None:
    assert module.interquartile_mean(np.array([0.0, 1, 2, 3, 4, 5, 6, 100])) == pytest.approx((2 + 3 + 4 + 5) / 4)
    assert module.interquartile_mean(np.array([0.5, math.nan, 0.7])) == pytest.approx(0.6)


@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("kind", ["normal", "skewed", "failures", "noisy", "calm"])
def test_intervals_cover(seeds: int, kind: str) -> None:
    rng, studies = np.random.default_rng(seeds), 120
    hits = list[bool]()
    for _ in range(studies):
        counted = np.ones(18, bool)
        if kind == "normal":
            values, truth = rng.normal(size=(18, seeds)), 0.0
        elif kind == "skewed":
            values, truth = -rng.exponential(size=(18, seeds)), -1.0
        elif kind == "failures":
            failed = rng.random((18, seeds)) < 0.1
            values = np.where(failed, 0.1, 0.9) + 0.005 * rng.normal(size=(18, seeds))
            truth = 0.9 * 0.9 + 0.1 * 0.1
            counted = failed.any(axis=1)  # a failure that no seed met cannot be known
        else:
            noisy = np.arange(18) % 2 == 0
            values, truth = rng.normal(size=(18, seeds)) * np.where(noisy, 10, 1)[:, None], 0.0
            counted = noisy == (kind == "noisy")
        found = intervals(values, floor=0.1 if kind == "failures" else math.nan)
        hits += ((found.low <= truth) & (truth <= found.high))[counted].tolist()
    low, high = (0.88, 1.0) if kind == "failures" else (0.9, 1.0) if seeds == 3 else (0.93, 0.97)
    slack = 2.5 * math.sqrt(0.05 * 0.95 / len(hits))
    assert low - slack < np.mean(hits) < high + slack
