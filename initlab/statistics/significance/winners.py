"""The best set: the arms that are not distinguishable from the best (elimination by permutation tests)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from initlab.statistics.failures import failed_seeds
from initlab.statistics.levels import separate
from initlab.statistics.rows import count, mean
from initlab.statistics.significance.blocks import Blocks, blocks, centre_by_block
from initlab.statistics.significance.mixtures import below_a_mixture, more_failures
from initlab.statistics.spread import Spread, cautious, spread

if TYPE_CHECKING:
    from initlab.statistics.rows import Mask
    from initlab.statistics.significance.blocks import Floats, Ints

PERMUTATIONS, _FEWEST = 4999, 499
#: seeds below which nothing is called worse
SEEDS = 3
#: part of the level that is spent on the share of failed seeds
_FOR_FAILURES = 0.25

#: most numbers in the permutations of one round
_BUDGET = 40_000_000


def winner_set(
    values: Floats,
    *,
    alpha: float = 0.05,
    floor: float = math.nan,
    known: Mask | None = None,
    seed: int = 0,
    permutations: int = PERMUTATIONS,
) -> Floats:
    """p-value of each arm, corrected for all arms: those above `alpha` are not distinguishable from the best.

    In three parts, so that arms that did not learn, or not always, do not move the verdict on the others:

    1. Arms that lie far below the others (`statistics.levels`) are out: arms at chance, arms that diverged.
    2. Arms under which some seeds failed: by their share of failures (Fisher's exact test against all other arms), and
       by the level of the seeds that learned.
    3. The rest: the distance to the best mean, in standard errors, is held against the largest distance between any two
       arms when the arms are exchanged within each seed, so that having picked the best of many is paid for (Westfall &
       Young, 1993; the range is Tukey's). Arms that fall are taken out and the rest are tested again by themselves,
       as in the model confidence set of Hansen, Lunde & Nason, 2011. Where arms and seeds are so few that no
       permutation could reach the level, Tukey's studentised range takes its place. Arms that scatter
       differently cannot be exchanged: there each error is a t variable with the freedom of its own variance.

    NaN, and so no verdict, for arms with fewer than three seeds, and where nothing scatters.

    Args:
        values: arms × seeds.
        alpha: level at which an arm falls.
        floor, known: of `failures.failed_seeds`.
        seed: of the permutations.
        permutations: of each round, fewer where there are very many values.
    """
    rng = np.random.default_rng(seed)
    n, centre = count(values), mean(values)
    p = np.full(len(values), math.nan)
    able = np.flatnonzero(n >= SEEDS)
    if len(able) < 2:
        return p
    failed = failed_seeds(values, floor=floor, known=known)
    trained = np.where(failed, math.nan, values)
    below = separate(trained[able], floor=floor)
    p[able[below > 0]] = below[below > 0]
    inside = able[below == 0]
    if len(inside) == 1:
        p[inside] = 1.0
        return p
    fails = failed[inside].any(axis=1)
    steady = inside[~fails]
    if len(steady):
        p[steady] = _step_down(trained[steady], alpha, rng, permutations) if len(steady) > 1 else 1.0
    if fails.any():
        level = _step_down(trained[inside], alpha, rng, permutations)
        share = more_failures(failed[inside], np.isfinite(values[inside])) * int(fails.sum()) / _FOR_FAILURES
        p[inside[fails]] = np.minimum(np.nan_to_num(level[fails], nan=1.0), np.minimum(share[fails], 1.0))
        lead = inside[int(np.nanargmax(centre[inside]))]
        if failed[lead].any():
            p[lead] = 1.0
            others = inside[inside != lead]
            told = below_a_mixture(values, failed, int(lead), others) * len(inside)
            p[others] = np.where(np.isnan(p[others]), told, np.minimum(p[others], told))
            p[others] = np.minimum(p[others], 1.0)
    return p


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
    if not total - float((counts * (np.bincount(b.arm, b.value) / counts) ** 2).sum()) > 1e-12 * total:
        return None  # nothing scatters
    observed = _distances(b.value[None], starts, counts, total, b.freedom)[0]
    centred = centre_by_block(values, b)
    if not spread(centred).alike:
        return _unequal(b, cautious(centred), counts, rng, permutations)
    if resolution(b) > alpha:
        from scipy.stats import studentized_range

        return np.array([float(studentized_range.sf(math.sqrt(2) * d, len(values), b.freedom)) for d in observed])
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
    """The same test where arms scatter differently and cannot be exchanged.

    The largest distance to the best of arms of equal means, when the error of each is its standard error times a t
    variable of its own degrees of freedom: with few seeds a standard error may be small by chance.
    """
    grown = len(counts) / (len(counts) - 1) if b.paired else 1.0
    error = np.sqrt(np.nan_to_num(of.variance) * grown / counts)
    freedom = np.nan_to_num(np.maximum(of.freedom, 1.0), nan=1.0)
    means = np.bincount(b.arm, b.value) / counts

    def far(means: Floats) -> Floats:
        best = means.argmax(axis=1)[:, None]
        gap = np.take_along_axis(means, best, axis=1) - means
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(gap > 0, gap / np.hypot(error[best], error), 0.0)

    observed, exceed, left = far(means[None])[0], np.zeros(len(means)), times
    chunk = max(1, 4_000_000 // len(means))
    while left > 0:
        size = min(chunk, left)
        left -= size
        largest = far(error * rng.standard_t(np.broadcast_to(freedom, (size, len(means))))).max(axis=1)
        largest.sort()
        exceed += size - np.searchsorted(largest, observed * (1 - 1e-9), side="left")
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
