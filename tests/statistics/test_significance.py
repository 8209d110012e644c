"""Tests between arms against scipy, statsmodels, brute force and closed forms."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower

from initlab.statistics import significance as tests
from initlab.statistics.significance import compare_pair, holm, sign_flips, winner_set

RNG = np.random.default_rng(7)


@pytest.mark.parametrize("n", [3, 6, 9])
def test_sign_flips_are_scipy_s_exact_permutation_test(n: int) -> None:
    d = RNG.normal(0.5, size=(n, 3))
    for k in range(3):
        oracle = stats.permutation_test((d[:, k],), np.mean, permutation_type="samples", n_resamples=np.inf).pvalue
        assert sign_flips(d)[k] == pytest.approx(oracle)


def test_sign_flips_of_many_seeds_are_drawn() -> None:
    d = RNG.normal(0.4, size=(30, 1))
    assert sign_flips(d)[0] == pytest.approx(stats.ttest_1samp(d[:, 0], 0).pvalue, abs=0.02)
    assert sign_flips(d + 100.0)[0] == 1 / 10_000


def test_the_smallest_p_is_reached_by_differences_of_one_sign() -> None:
    for n in (2, 5, 14):
        assert sign_flips(np.ones((n, 1)))[0] == tests.smallest_p_value(n) == 2 / 2**n
    assert tests.seeds_for_exact(0.05, 153) == 13 and 2 * 153 / 2**13 <= 0.05 < 2 * 153 / 2**12


def test_paired_and_unpaired_t_are_scipy_s() -> None:
    a, b = RNG.normal(size=(2, 8))
    pair = compare_pair(np.stack([a, b]), 0, 1)
    oracle = stats.ttest_rel(a, b)
    assert pair is not None and pair.paired and pair.t == pytest.approx(oracle.pvalue)
    assert (pair.low, pair.high) == pytest.approx(tuple(oracle.confidence_interval()))
    apart = np.full((2, 16), math.nan)
    apart[0, :8], apart[1, 8:] = a, b
    pair = compare_pair(apart, 0, 1)
    welch = stats.ttest_ind(a, b, equal_var=False)
    assert pair is not None and not pair.paired and pair.t == pytest.approx(welch.pvalue) and math.isnan(pair.exact)


def test_differences_without_spread_have_no_effect_size() -> None:
    pair = compare_pair(np.array([[0.9, 0.8, 0.7], [0.8, 0.7, 0.6]]), 0, 1)
    assert pair is not None and math.isnan(pair.effect) and pair.t == 0.0 and pair.exact == 0.25
    same = compare_pair(np.array([[0.9, 0.8], [0.9, 0.8]]), 0, 1)
    assert same is not None and same.t == 1.0 and same.exact == 1.0


@pytest.mark.parametrize("n", [3, 5, 20])
def test_hedges_correction_takes_the_bias_away(n: int) -> None:
    drawn = np.random.default_rng(0).normal(0.5, size=(40_000, n))
    found = np.array(
        [tests.hedges_g(m, s, n) for m, s in zip(drawn.mean(axis=1), drawn.std(axis=1, ddof=1), strict=True)]
    )
    assert found.mean() == pytest.approx(0.5, abs=0.02)


def test_holm_is_statsmodels() -> None:
    rng = np.random.default_rng(0)
    for m in (1, 2, 7, 40):
        p = np.round(rng.uniform(size=m) ** 3, 2)  # with ties
        assert holm(p.tolist()) == pytest.approx(multipletests(p, method="holm")[1], abs=1e-15)
    assert np.isnan(holm([math.nan])).all()


def test_holm_by_hand() -> None:
    found = holm([0.01, 0.04, math.nan, 0.03])
    assert found[[0, 1, 3]] == pytest.approx([0.03, 0.06, 0.06]) and math.isnan(found[2])


def exact_study(means: list[float], seeds: int) -> np.ndarray:
    """Means as given, standard deviations of 1, no correlation."""
    noise = np.random.default_rng(3).normal(size=(len(means), seeds))
    noise = np.linalg.qr((noise - noise.mean(axis=1, keepdims=True)).T)[0].T
    return np.array(means)[:, None] + math.sqrt(seeds - 1) * noise


@pytest.mark.parametrize("difference", [0.6, 1.0, 2.0])
def test_seeds_needed_of_two_arms_is_the_power_of_a_paired_t_test(difference: float) -> None:
    values = exact_study([difference, 0.0], 30)
    oracle = TTestPower().solve_power(effect_size=difference / math.sqrt(2), alpha=0.05, power=0.8)
    assert tests.seeds_needed(values, 0, 1) == pytest.approx(math.ceil(oracle), rel=0.08, abs=0.6)


def test_seeds_needed_among_many_arms_is_what_the_best_set_needs() -> None:
    means = [1.0, 0.0, *[0.0] * 6, *[-90.0] * 6]
    said = tests.seeds_needed(exact_study(means, 40), 0, 1)
    assert said > 1.2 * tests.seeds_needed(exact_study(means[:2], 40), 0, 1)
    rng = np.random.default_rng(0)
    power = [
        float(np.mean([
            winner_set(np.array(means)[:, None] + rng.normal(size=(14, n)), permutations=199)[1] <= 0.05
            for _ in range(150)
        ]))
        for n in (round(said / 1.15), round(1.15 * said))
    ]  # fmt: skip
    # 80 % between the two, to within the simulation
    assert power[0] < 0.8 + 0.07 and power[1] > 0.8 - 0.07


def test_seeds_needed_where_there_is_no_answer() -> None:
    values = RNG.normal(size=(4, 12))
    assert tests.seeds_needed(values, 0, 0) == math.inf
    assert math.isnan(tests.seeds_needed(np.array([[0.1, 0.1], [0.2, 0.2]]), 0, 1))


def brute_force(values: np.ndarray) -> np.ndarray:
    """The first step over all arrangements of three arms within each seed."""
    arms, seeds = values.shape

    def distances(table: np.ndarray) -> np.ndarray:
        centred = table - table.mean(axis=0)
        residual = centred - centred.mean(axis=1, keepdims=True)
        sd = math.sqrt((residual**2).sum() / ((arms - 1) * (seeds - 1)))
        means = table.mean(axis=1)
        return (means.max() - means) / (sd * math.sqrt(2 / seeds))

    observed, orders = distances(values), list(itertools.permutations(range(arms)))
    largest = np.array([
        distances(np.stack([values[list(o), s] for s, o in enumerate(choice)], axis=1)).max()
        for choice in itertools.product(orders, repeat=seeds)
    ])  # fmt: skip
    return np.array([(largest >= d - 1e-9).mean() for d in observed])


def test_the_winner_set_is_what_brute_force_gives() -> None:
    values = np.random.default_rng(2).normal(size=(3, 4)) + np.array([0.5, 0.3, 0.0])[:, None]
    found, oracle = winner_set(values), brute_force(values)
    assert (oracle > 0.05).all()  # nothing falls, so that one step is all
    assert found == pytest.approx(oracle, abs=0.02)


def test_arms_fall_step_by_step() -> None:
    rng = np.random.default_rng(4)
    values = np.concatenate(
        [0.9 + 0.005 * rng.normal(size=(3, 5)), 0.5 + 0.005 * rng.normal(size=(4, 5)), np.full((2, 5), 0.1)]
    )
    p = winner_set(values)
    assert (p[:3] > 0.05).all() and (p[3:] <= 0.05).all()
    assert int(p.argmax()) == int(values.mean(axis=1).argmax())


def test_two_arms_that_no_permutation_could_tell_apart_are_told_by_the_range() -> None:
    values = np.array([[0.94, 0.95, 0.945], [0.60, 0.612, 0.605]])
    assert tests.resolution(tests.blocks(values)) == pytest.approx(0.25)
    close = np.array([[0.94, 0.95, 0.945], [0.93, 0.941, 0.915]])
    # with two arms Tukey's studentised range is the paired t
    assert winner_set(close)[1] == pytest.approx(stats.ttest_rel(*close).pvalue, rel=1e-3)
    assert tests.resolution(tests.blocks(np.zeros((2, 6)) + np.arange(6))) == pytest.approx(2**-5)


def test_one_good_arm_among_equals_is_told_with_few_seeds() -> None:
    values = np.array([[0.875, 0.96, 0.91], [0.104, 0.097, 0.097], [0.097, 0.097, 0.104], [0.097, 0.097, 0.097]])
    # whichever arm it is called, it has all the best values once in 16 arrangements
    assert tests.resolution(tests.blocks(values)) == pytest.approx(4**-2)
    assert (winner_set(values)[1:] < 0.001).all()


def test_an_arm_with_seeds_that_failed_does_not_hide_the_others() -> None:
    rng = np.random.default_rng(1)
    values = np.array([[0.95], [0.93], [0.94]]) + 0.004 * rng.normal(size=(3, 6))
    steady = winner_set(values[:2])
    values[2, :1] = 0.1
    assert winner_set(values, floor=0.1)[1] <= 0.05 and steady[1] <= 0.05
    # one failure of six may be chance; four are not
    assert winner_set(values, floor=0.1)[2] == pytest.approx(winner_set(values)[2])
    values[2, :4] = 0.1
    assert winner_set(values, floor=0.1)[2] <= 0.05


def test_an_arm_that_fails_sometimes_can_lead() -> None:
    rng = np.random.default_rng(1)
    values = np.array([[0.95], [0.3], [0.31]]) + 0.004 * rng.normal(size=(3, 12))
    values[0, 3] = 0.1
    p = winner_set(values, floor=0.1)
    assert p[0] == 1 and (p[1:] <= 0.05).all()


def test_arms_at_chance_do_not_move_the_verdict_on_the_others() -> None:
    rng = np.random.default_rng(8)
    good = 0.9 + 0.01 * rng.normal(size=(9, 3))
    chance = np.concatenate([np.full((5, 3), 0.098), 0.1 + 0.005 * rng.normal(size=(4, 3))])
    p = winner_set(np.concatenate([good, chance]), floor=0.1)
    assert p[:9] == pytest.approx(winner_set(good), abs=0.02) and (p[9:] < 0.001).all()


def test_nothing_is_worse_below_three_seeds_or_without_spread() -> None:
    assert np.isnan(winner_set(np.array([[0.9, 0.91], [0.1, 0.11]]))).all()
    assert np.isnan(winner_set(np.array([[0.9] * 4, [0.8] * 4, [0.1] * 4]))).all()
    p = winner_set(np.array([[0.9, 0.91, 0.9], [0.1, math.nan, math.nan], [0.1, 0.1, 0.1]]))
    assert p[0] == 1 and math.isnan(p[1]) and p[2] < 0.001


def test_holes_leave_what_is_common() -> None:
    values = np.array([[0.9, 0.91, 0.89, 0.9], [0.5, 0.52, math.nan, 0.51], [0.7, 0.69, 0.71, math.nan]])
    assert tests.blocks(values).paired
    assert (winner_set(values)[1:] <= 0.05).all()
    apart = np.array([[0.9, 0.91, math.nan, math.nan], [math.nan, math.nan, 0.5, 0.51]])
    assert not tests.blocks(apart).paired
    assert np.isnan(winner_set(np.array([[0.9], [0.8]]))).all()


def test_the_probability_of_the_best_is_a_t_distribution_s() -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(size=(2, 9)) + np.array([[0.4], [0.0]])
    d = values[0] - values[1]
    oracle = stats.t.cdf(d.mean() / d.std(ddof=1) * 3, 8)
    assert tests.probability_of_best(values)[0] == pytest.approx(oracle, abs=0.02)
    assert tests.probability_of_best(rng.normal(size=(5, 4))).sum() == pytest.approx(1)


def test_against_the_best_every_pair_is_paid_for() -> None:
    values = RNG.normal(size=(4, 7))
    exact, t, name = tests.corrected_p_values(values, 2)
    plain = [stats.ttest_rel(values[a], values[b]).pvalue for a, b in itertools.combinations(range(4), 2)]
    oracle = dict(zip(itertools.combinations(range(4), 2), holm(plain), strict=True))
    assert [t[i] for i in (0, 1, 3)] == pytest.approx([oracle[0, 2], oracle[1, 2], oracle[2, 3]])
    assert math.isnan(t[2]) and name == "Holm over 6 pairs" and (exact[[0, 1, 3]] >= 2 / 2**7).all()


@pytest.mark.parametrize("kind", ["normal", "skewed", "failures", "shared seeds", "chance", "noisy", "ties", "tails"])
def test_among_equals_nobody_falls(kind: str) -> None:
    rng, studies, fell = np.random.default_rng(9), 200, 0
    for _ in range(studies):
        shape, floor = (18, 3), math.nan
        values = rng.normal(size=shape)
        if kind == "skewed":
            values = rng.exponential(size=shape)
        elif kind == "failures":
            values, floor = np.where(rng.random(shape) < 0.1, 0.1, 0.9) + 0.005 * values, 0.1
        elif kind == "shared seeds":
            values += 3 * rng.normal(size=(1, 3))
        elif kind == "chance":
            values = np.concatenate([values[:9], -80 + 0.5 * values[9:]])
        elif kind == "noisy":
            values *= np.where(np.arange(18) % 2, 10, 1)[:, None]
        elif kind == "ties":
            values = 1 - rng.poisson(1.0, size=shape) / 500
        elif kind == "tails":
            values = rng.standard_t(3, size=shape)
        p = winner_set(values, floor=floor, permutations=199)
        fell += bool((p[: 9 if kind == "chance" else 18] <= 0.05).any())
    # at 5 % more than 20 of 200 happen once in a thousand
    assert fell <= 20
