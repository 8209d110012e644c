"""The winner set: the arms that are not distinguishable from the best (step-down permutation test)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from initlab.statistics.intervals import MODERATED, Spread, spread
from initlab.statistics.significance.blocks import Blocks, blocks, centre_by_block

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from initlab.statistics.significance.blocks import Floats, Ints

PERMUTATIONS, _FEWEST = 4999, 499

#: most numbers in the permutations of one round
_BUDGET = 40_000_000

#: level at which arms count as spread differently when they are tested
UNEQUAL_TESTED = 0.05


def winner_set(
    values: Floats,
    *,
    alpha: float = 0.05,
    apart: NDArray[np.bool_] | None = None,
    seed: int = 0,
    permutations: int = PERMUTATIONS,
) -> Floats:
    """p-value of each arm, corrected for all arms: those above `alpha` are not distinguishable from the best.

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


def resolution(b: Blocks) -> float:
    """Smallest possible p-value, where one arm is the best under all seeds and the others are alike.

    It is how often chance gives any one arm all the best values.
    """
    arms = np.bincount(b.arm)
    if b.paired:
        ways = sum(math.log(k) for k in np.bincount(b.block) if k)
    else:
        total, own = len(b.value), int(arms.min())
        ways = math.lgamma(total + 1) - math.lgamma(own + 1) - math.lgamma(total - own + 1)
    return min(1.0, math.exp(math.log(len(arms)) - ways))


# ------------------------------------------------------------------ pieces
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
    of = spread(centre_by_block(values, b), level=UNEQUAL_TESTED)
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
    """The same test where arms scatter differently and cannot be exchanged: a parametric bootstrap.

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
