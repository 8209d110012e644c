"""Intervals against scipy, closed forms, and a small simulation of their coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from scipy.special import polygamma

from initlab.statistics import intervals as module
from initlab.statistics.intervals import (
    BCA,
    MODERATED,
    NO_SPREAD,
    NONE,
    POOLED,
    STUDENT,
    brown_forsythe,
    intervals,
    spread,
)
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


def test_arms_that_scatter_differently_keep_most_of_their_own() -> None:
    scale = np.array([0.01, 0.01, 0.01, 1.0, 1.0, 1.0])[:, None]
    values = scale * np.random.default_rng(3).normal(size=(6, 8))
    found = spread(values)
    own = values.var(axis=1, ddof=1)
    assert found.method == (MODERATED,) * 6
    prior, strength = module._prior(own, np.full(6, 7.0))  # pyright: ignore[reportPrivateUsage]
    assert found.variance == pytest.approx((strength * prior + 7 * own) / (strength + 7))
    assert (found.variance / own).min() > 0.5 and (found.variance / own).max() < 2


def test_the_prior_of_variances_is_found_again() -> None:
    # s² = s0² F(d, d0): the model of Smyth, 2004
    own = 0.04 * stats.f.rvs(4, 6, size=20_000, random_state=5)
    prior, strength = module._prior(own, np.full(20_000, 4.0))  # pyright: ignore[reportPrivateUsage]
    assert prior == pytest.approx(0.04, rel=0.05) and strength == pytest.approx(6, rel=0.15)


@pytest.mark.parametrize("x", [1e-3, 0.1, 1.6, 40.0])
def test_trigamma_is_inverted(x: float) -> None:
    assert float(polygamma(1, module._trigamma_inverse(x))) == pytest.approx(x, rel=1e-8)  # pyright: ignore[reportPrivateUsage]


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
@pytest.mark.parametrize("kind", ["normal", "skewed", "failures"])
def test_intervals_cover(seeds: int, kind: str) -> None:
    rng, studies = np.random.default_rng(seeds), 120
    hits = 0.0
    for _ in range(studies):
        if kind == "normal":
            values, truth = rng.normal(size=(18, seeds)), 0.0
        elif kind == "skewed":
            values, truth = -rng.exponential(size=(18, seeds)), -1.0
        else:
            failed = rng.random((18, seeds)) < 0.1
            values = np.where(failed, 0.1, 0.9) + 0.005 * rng.normal(size=(18, seeds))
            truth = 0.9 * 0.9 + 0.1 * 0.1
        found = intervals(values)
        hits += float(((found.low <= truth) & (truth <= found.high)).mean())
    # of 120 studies the share itself is known to about 0.015
    assert (0.87 if kind == "failures" else 0.925) < hits / studies < 0.975 + 0.025 * (kind == "failures")
