"""Which differences between arms are real: permutation tests within seeds, t beside them, corrected for their number.

All functions take values as arms × seeds, float64, NaN where an arm has no value under a seed, the higher the better.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from initlab.compare.intervals import MODERATED, Spread, spread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

#: up to so many seeds all 2ⁿ patterns of signs are gone through
EXACT_TO = 14
PERMUTATIONS, _FEWEST = 4999, 499
_SIGNS = 9999
#: numbers that the permutations of one round may be made of
_BUDGET = 40_000_000
#: level at which arms count as spread differently when they are tested
UNEQUAL_TESTED = 0.05
#: pairs of arms that are all tested; of more arms only those with the best are, corrected for all pairs
_PAIRS = 2000
_DRAWS = 20_000


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """The values in one row, sorted by arm, and what is exchanged with what.

    Attributes:
        value: each, the mean of its block taken away.
        arm: of each value.
        block: of each value: its seed; one for all where arms do not share their seeds.
        paired: whether blocks are seeds.
        raw: each value as it is.
    """

    value: Floats
    arm: Ints
    block: Ints
    paired: bool
    raw: Floats

    @property
    def freedom(self) -> int:
        """Of the residuals."""
        return len(self.value) - len(np.unique(self.arm)) - (len(np.unique(self.block)) - 1)


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One arm against another, the difference positive where the first is the better.

    Attributes:
        seeds: pairs of values, or the smaller number of values where they are not paired.
        difference: of the means, over common seeds where paired.
        low: end of its 95 % interval.
        high: other end.
        exact: p-value of the sign-flip permutation test; NaN where not paired.
        t: p-value of the paired t-test, or of Welch's.
        effect: Hedges' g; NaN where the differences do not scatter.
        least: smallest p-value that the exact test can give with so many seeds.
        paired: over common seeds.
    """

    seeds: int
    difference: float
    low: float
    high: float
    exact: float
    t: float
    effect: float
    least: float
    paired: bool


def blocks(values: Floats) -> Blocks:
    """Values by seed where every arm shares two seeds with the arm that has most, else all in one block."""
    finite = np.isfinite(values)
    most = finite[int(np.argmax(finite.sum(axis=1)))]
    paired = bool(((finite & most).sum(axis=1) >= np.minimum(2, finite.sum(axis=1))).all())
    arm, seed = np.nonzero(finite)
    block = seed if paired else np.zeros_like(seed)
    raw = values[arm, seed]
    # a seed that only one arm has tells of no difference
    centre = np.bincount(block, raw) / np.maximum(np.bincount(block), 1)
    return Blocks(value=raw - centre[block], arm=arm, block=block, paired=paired, raw=raw)


# ------------------------------------------------------------------ the winner set
def winner_set(
    values: Floats,
    *,
    alpha: float = 0.05,
    apart: NDArray[np.bool_] | None = None,
    seed: int = 0,
    permutations: int = PERMUTATIONS,
) -> Floats:
    """p-value of each arm, corrected for all arms: those above `alpha` cannot be told from the best.

    The distance to the best mean, in standard errors, is held against the largest distance between any two arms when
    the arms are exchanged within each seed, so that having picked the best of many is paid for (Westfall & Young, 1993;
    the range is Tukey's). Arms that fall are taken out and the rest are tested again, by themselves: step down, as in
    the model confidence set of Hansen, Lunde & Nason, 2011. Where arms and seeds are so few that no permutation could
    reach the level, Tukey's studentised range takes its place, and where arms scatter differently, which forbids to
    exchange them, a parametric bootstrap. NaN where the seeds leave nothing to tell by.

    Args:
        values: arms × seeds.
        alpha: level at which an arm falls.
        apart: arms of which seeds diverged. What these scatter says nothing of the others, which are tested among
            themselves; twice tested, every p-value counts twice (Bonferroni).
        seed: of the permutations.
        permutations: of each round, fewer where there are very many values.
    """
    rng = np.random.default_rng(seed)
    if apart is not None and apart.any() and not apart.all():
        means = np.array([-math.inf if not np.isfinite(row).any() else np.nanmean(row) for row in values])
        if not apart[int(means.argmax())]:
            p = 2 * _step_down(values, alpha / 2, rng, permutations)
            p[~apart] = 2 * _step_down(values[~apart], alpha / 2, rng, permutations)
            return np.minimum(p, 1.0)
    return _step_down(values, alpha, rng, permutations)


def _step_down(values: Floats, alpha: float, rng: np.random.Generator, permutations: int) -> Floats:
    p = np.full(len(values), math.nan)
    inside, floor = np.flatnonzero(np.isfinite(values).any(axis=1)), 0.0
    while len(inside) > 1:
        found = _single_step(values[inside], alpha, rng, permutations)
        if found is None:
            return p
        found = np.maximum(found, floor)
        p[inside] = found
        fallen = found <= alpha
        if not fallen.any():
            return p
        floor = float(found[fallen].max())
        inside = inside[~fallen]
    if len(inside) == 1:
        p[inside] = 1.0
    return p


def _single_step(values: Floats, alpha: float, rng: np.random.Generator, permutations: int) -> Floats | None:
    b = blocks(values)
    if b.freedom < 1:
        return None
    counts = np.bincount(b.arm).astype(float)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int64)
    total = float((b.value**2).sum())
    observed = _distances(b.value[None], starts, counts, total, b.freedom)[0]
    if resolution(b) > alpha:
        from scipy.stats import studentized_range

        return np.array([float(studentized_range.sf(math.sqrt(2) * d, len(values), b.freedom)) for d in observed])
    of = spread(_centred(values, b), level=UNEQUAL_TESTED)
    if MODERATED in of.method:
        return _unequal(b, of, counts, rng, permutations)
    times = int(np.clip(_BUDGET / max(1, len(b.value)), min(_FEWEST, permutations), permutations))
    exceed, left = np.zeros(len(values)), times
    chunk = max(1, 8_000_000 // max(1, len(b.value)))
    members = [np.flatnonzero(b.block == k) for k in np.unique(b.block)]
    while left > 0:
        size = min(chunk, left)
        left -= size
        permuted = np.empty((size, len(b.value)))
        for where in members:
            order = rng.random((size, len(where))).argsort(axis=1)
            permuted[:, where] = b.value[where][order]
        largest = _distances(permuted, starts, counts, total, b.freedom).max(axis=1)
        largest.sort()
        # what differs only by rounding is as far
        exceed += size - np.searchsorted(largest, observed * (1 - 1e-9), side="left")
    return (exceed + 1) / (times + 1)


def _unequal(b: Blocks, of: Spread, counts: Floats, rng: np.random.Generator, times: int) -> Floats:
    """The same where arms scatter differently, so that they cannot be exchanged: a parametric bootstrap.

    Means are drawn about a common one, each with the variance of its arm, and these variances as chi-squares.
    Krishnamoorthy, Lu & Mathew, 2007.
    """
    grown = len(counts) / (len(counts) - 1) if b.paired else 1.0
    variance, freedom = of.variance * grown / counts, of.freedom / grown
    means = np.bincount(b.arm, b.value) / counts

    def far(means: Floats, variance: Floats) -> Floats:
        best = means.argmax(axis=1)[:, None]
        error = np.sqrt(variance + np.take_along_axis(variance, best, axis=1))
        gap = np.take_along_axis(means, best, axis=1) - means
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(gap > 0, gap / error, 0.0)

    observed, exceed, left = far(means[None], variance[None])[0], np.zeros(len(means)), times
    chunk = max(1, 4_000_000 // len(means))
    while left > 0:
        shape = min(chunk, left), len(means)
        left -= shape[0]
        drawn = np.sqrt(variance) * rng.standard_normal(shape)
        largest = far(drawn, variance * rng.chisquare(np.broadcast_to(freedom, shape)) / freedom).max(axis=1)
        largest.sort()
        exceed += shape[0] - np.searchsorted(largest, observed * (1 - 1e-9), side="left")
    return (exceed + 1) / (times + 1)


def _centred(values: Floats, b: Blocks) -> Floats:
    """The values with the means of their blocks taken away, in their places."""
    found = np.full(values.shape, math.nan)
    found[np.nonzero(np.isfinite(values))] = b.value
    return found


def resolution(b: Blocks) -> float:
    """Smallest p-value where one arm is the best under all seeds and the others are alike.

    It is how often chance gives any one arm all the best values.
    """
    arms = np.bincount(b.arm)
    if b.paired:
        ways = sum(math.log(k) for k in np.bincount(b.block) if k)
    else:
        total, own = len(b.value), int(arms.min())
        ways = math.lgamma(total + 1) - math.lgamma(own + 1) - math.lgamma(total - own + 1)
    return min(1.0, math.exp(math.log(len(arms)) - ways))


def _distances(rows: Floats, starts: Ints, counts: Floats, total: float, freedom: int) -> Floats:
    """Of each arm to the best mean of the row, in standard errors of the difference."""
    means = np.add.reduceat(rows, starts, axis=1) / counts
    left = total - (counts * means**2).sum(axis=1)
    sd = np.sqrt(np.maximum(left, 0.0) / freedom)
    sd[left <= 1e-12 * total] = 0.0
    best = means.argmax(axis=1)
    gap = means[np.arange(len(rows)), best][:, None] - means
    gap[gap <= 1e-12 * math.sqrt(total)] = 0.0
    error = sd[:, None] * np.sqrt(1 / counts[None, :] + 1 / counts[best][:, None])
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(gap > 0, gap / error, 0.0)


# ------------------------------------------------------------------ pairs
def against(values: Floats, one: int, other: int) -> Pair | None:
    """Arm number `one` against `other`; None where there are too few values."""
    from scipy.stats import t, ttest_ind

    common = np.isfinite(values[one]) & np.isfinite(values[other])
    d = values[one, common] - values[other, common]
    n = len(d)
    if n > 1:
        mean, sd = float(d.mean()), _sd(d)
        half = float(t.ppf(0.975, n - 1)) * sd / math.sqrt(n)
        p = _t_of(mean, sd, n)
        return Pair(
            seeds=n, difference=mean, low=mean - half, high=mean + half, exact=float(sign_flips(d[:, None])[0]), t=p,
            effect=hedges_g(mean, sd, n), least=least(n), paired=True,
        )  # fmt: skip
    a, b = (values[i][np.isfinite(values[i])] for i in (one, other))
    if min(len(a), len(b)) < 2:
        return None
    mean, sa, sb = float(a.mean() - b.mean()), _sd(a), _sd(b)
    if sa == sb == 0:
        return Pair(
            seeds=min(len(a), len(b)), difference=mean, low=mean, high=mean, exact=math.nan,
            t=1.0 if mean == 0 else 0.0, effect=math.nan, least=math.nan, paired=False,
        )  # fmt: skip
    found: Any = ttest_ind(a, b, equal_var=False)
    ends = found.confidence_interval()
    pooled = math.sqrt(((len(a) - 1) * sa**2 + (len(b) - 1) * sb**2) / (len(a) + len(b) - 2))
    return Pair(
        seeds=min(len(a), len(b)), difference=mean, low=float(ends.low), high=float(ends.high), exact=math.nan,
        t=float(found.pvalue), effect=hedges_g(mean, pooled, len(a) + len(b) - 1), least=math.nan, paired=False,
    )  # fmt: skip


def all_pairs(arms: int) -> int:
    return arms * (arms - 1) // 2


def corrected_to(values: Floats, best: int) -> tuple[Floats, Floats, str]:
    """p-values (exact, t) of each arm against arm `best`, corrected for the choice of it, and the correction's name.

    Which arm is the best was seen in the same numbers, so that every pair might have been looked at: Holm's correction
    over all pairs, or Bonferroni's where these are too many to go through.
    """
    arms = len(values)
    pairs = all_pairs(arms)
    if pairs <= _PAIRS:
        which = list(combinations(range(arms), 2))
        found = [against(values, a, b) for a, b in which]
        exact = holm([math.nan if f is None else f.exact for f in found])
        t = holm([math.nan if f is None else f.t for f in found])
        of = {pair: k for k, pair in enumerate(which)}
        at = [of[min(i, best), max(i, best)] if i != best else -1 for i in range(arms)]
        one = [math.nan if k < 0 else exact[k] for k in at]
        two = [math.nan if k < 0 else t[k] for k in at]
        return np.array(one), np.array(two), f"Holm over {pairs} pairs"
    found = [None if i == best else against(values, best, i) for i in range(arms)]
    one = np.array([math.nan if f is None else min(1.0, f.exact * pairs) for f in found])
    two = np.array([math.nan if f is None else min(1.0, f.t * pairs) for f in found])
    return one, two, f"Bonferroni over {pairs} pairs"


def holm(p: Sequence[float]) -> Floats:
    """Holm's step-down correction, 1979, of the p-values that there are."""
    found = np.array(p, float)
    known = np.isfinite(found)
    if known.any():
        from statsmodels.stats.multitest import multipletests

        found[known] = multipletests(found[known], method="holm")[1]
    return found


def sign_flips(differences: Floats, *, seed: int = 0) -> Floats:
    """Two-sided p-value of each column of paired differences (seeds × comparisons): is their mean 0?

    Under the null each difference might as well have had the other sign. All 2ⁿ patterns up to 14 seeds, else 9,999
    drawn ones and (b + 1) / (m + 1). Fisher, 1935; Phipson & Smyth, 2010.
    """
    n = len(differences)
    exact = n <= EXACT_TO
    if exact:
        signs = 1.0 - 2.0 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
    else:
        signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=(_SIGNS, n))
    observed = np.abs(differences.sum(axis=0))
    scale = np.abs(differences).sum(axis=0)
    as_far = (np.abs(signs @ differences) >= observed - 1e-12 * scale).sum(axis=0)
    return as_far / len(signs) if exact else (as_far + 1) / (len(signs) + 1)


def least(n: int) -> float:
    """Smallest two-sided p-value that the sign-flip test can give."""
    return 2.0 / 2**n if n <= EXACT_TO else 1.0 / (_SIGNS + 1)


def seeds_for_exact(alpha: float, tests: int) -> int:
    """Seeds from which on the exact test can reach `alpha` after a correction for so many tests."""
    return max(1, math.ceil(math.log2(2 * tests / alpha)))


def hedges_g(mean: float, sd: float, n: int) -> float:
    """Cohen's d of n values with Hedges' correction for few, 1981: d · (1 - 3 / (4 (n-1) - 1)) in its exact form."""
    df = n - 1
    if sd <= 0 or df < 2:  # of a single degree of freedom it has no mean to correct
        return math.nan
    from scipy.special import gammaln

    return mean / sd * math.exp(gammaln(df / 2) - gammaln((df - 1) / 2)) * math.sqrt(2 / df)


def seeds_needed(values: Floats, one: int, other: int, *, alpha: float = 0.05, power: float = 0.8) -> float:
    """Seeds from which on a paired t-test would tell two arms apart, if they differ by what was seen.

    The scatter is that of all arms within seeds. Infinite where they do not differ or more than 10,000 would be needed;
    NaN where nothing scatters or too little is known.
    """
    b = blocks(values[[one, other]])
    everyone = blocks(values)
    pair = against(values, one, other)
    if pair is None or everyone.freedom < 1 or b.freedom < 1:
        return math.nan
    sd = math.sqrt(2 * _residual(everyone))
    if sd == 0 or not math.isfinite(sd):
        return math.nan
    size = abs(pair.difference) / sd
    if size < 0.028:  # beyond 10,000 seeds
        return math.inf
    from statsmodels.stats.power import TTestPower

    solver = TTestPower()

    def enough(n: int) -> bool:
        return bool(solver.power(size, n, alpha) >= power)

    high = 2
    while not enough(high):
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return float(high)


def probability_of_best(values: Floats, *, apart: NDArray[np.bool_] | None = None, seed: int = 0) -> Floats:
    """How probable it is that each arm has the best mean: posterior under flat priors, Student's t for each mean.

    What all arms share under a seed is taken out first; the scatter is borrowed as `intervals.spread` does.
    """
    b = blocks(values)
    centred = _centred(values, b)
    able = np.isfinite(values).any(axis=1)
    found = np.zeros(len(values))
    if able.sum() < 2:
        found[able] = 1.0
        return found
    of = spread(centred[able], apart=None if apart is None else apart[able])
    n = np.isfinite(values[able]).sum(axis=1)
    if not np.isfinite(of.freedom).all() or not np.isfinite(of.variance).all():
        return np.full(len(values), math.nan)
    rng = np.random.default_rng(seed)
    means = np.nansum(centred[able], axis=1) / n
    # taking the seeds' means out leaves residuals smaller than they were
    arms = int(able.sum())
    grown = arms / (arms - 1) if b.paired else 1.0
    error, freedom = np.sqrt(of.variance * grown / n), np.maximum(of.freedom / grown, 1.0)
    tally, left = np.zeros(arms), _DRAWS
    chunk = max(1, 4_000_000 // arms)
    while left > 0:
        size = min(chunk, left)
        left -= size
        drawn = means + error * rng.standard_t(np.broadcast_to(freedom, (size, arms)))
        tally += np.bincount(drawn.argmax(axis=1), minlength=arms)
    found[able] = tally / _DRAWS
    return found


# ------------------------------------------------------------------ pieces
def _residual(b: Blocks) -> float:
    """Variance of what neither arm nor seed explains."""
    counts = np.bincount(b.arm)
    means = np.bincount(b.arm, b.value) / np.maximum(counts, 1)
    return max(0.0, float((b.value**2).sum() - (counts * means**2).sum())) / b.freedom


def _sd(row: Floats) -> float:
    """Unbiased, and exactly 0 where all values are alike but for rounding."""
    sd = float(row.std(ddof=1))
    return 0.0 if np.ptp(row) <= 1e-12 * max(1e-300, float(np.abs(row).max())) else sd


def _t_of(mean: float, sd: float, n: int) -> float:
    if sd == 0:
        return 1.0 if mean == 0 else 0.0
    from scipy.stats import t

    return float(2 * t.sf(abs(mean) / sd * math.sqrt(n), n - 1))
