"""Number of seeds that the best set needs to tell two arms apart (power analysis by simulation)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from initlab.statistics.failures import failed_seeds
from initlab.statistics.levels import separate
from initlab.statistics.rows import count, mean
from initlab.statistics.significance.blocks import blocks, centre_by_block
from initlab.statistics.significance.winners import SEEDS
from initlab.statistics.spread import cautious, spread

if TYPE_CHECKING:
    from initlab.statistics.rows import Mask
    from initlab.statistics.significance.blocks import Floats

_MOST = 10_000
_STUDIES, _DRAWS = 2000, 20_000
#: most numbers of one table of random numbers
_BUDGET = 2_000_000


def seeds_needed(
    values: Floats,
    one: int,
    other: int,
    *,
    alpha: float = 0.05,
    power: float = 0.8,
    floor: float = math.nan,
    known: Mask | None = None,
) -> float:
    """Seeds with which arm `other` leaves the best set that `one` is in, with probability `power`.

    The elimination of `winner_set` is simulated on the means and the scatter of all arms of the study: telling two arms
    of 18 apart takes more seeds than telling the same two alone. Infinite where the two do not differ or more than
    10,000 would be needed; NaN where nothing scatters or too little is known. The observed difference is taken as the
    true one. That is optimistic: the first two arms were chosen by the same numbers.

    Args:
        floor, known: of `failures.failed_seeds`.
    """
    failed = failed_seeds(values, floor=floor, known=known)
    trained = np.where(failed, math.nan, values)
    able = count(trained) > 0
    if not (able[one] and able[other]) or count(trained).max() < 2:
        return math.nan
    inside = np.flatnonzero(able)
    inside = inside[separate(trained[inside], floor=floor) == 0]
    inside = np.union1d(inside, [one, other])
    table = trained[inside]
    b = blocks(table)
    if b.freedom < 1:
        return math.nan
    centred = centre_by_block(table, b)
    together = spread(centred)
    scatter = together if together.alike else cautious(centred)
    arms = len(inside)
    variance = np.nan_to_num(scatter.variance) * (arms / (arms - 1) if b.paired else 1.0)
    centre = mean(table)
    first, second = (int(np.flatnonzero(inside == i)[0]) for i in (one, other))
    if not variance.max() > 0:
        return math.nan
    if centre[first] <= centre[second]:
        return math.inf
    simulation = _Elimination(centre, variance, second, paired=b.paired, alpha=alpha)
    high = SEEDS
    while simulation.power(high) < power:
        high *= 2
        if high > _MOST:
            return math.inf
    low = max(SEEDS - 1, high // 2)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if simulation.power(middle) >= power else (middle, high)
    return float(high)


class _Elimination:
    """How often an arm falls, with the same random numbers for every number of seeds."""

    def __init__(self, centre: Floats, variance: Floats, of: int, *, paired: bool, alpha: float) -> None:
        rng = np.random.default_rng(0)
        arms = len(centre)
        self.draws = min(_DRAWS, max(1000, _BUDGET // arms))
        studies = min(_STUDIES, max(200, _BUDGET // arms))
        self.centre, self.variance, self.of, self.paired, self.alpha = centre, variance, of, paired, alpha
        self.errors = rng.standard_normal((studies, arms))
        ranges = rng.standard_normal((self.draws, arms))
        # of the first 1, 2, ... arms
        self.ranges = np.maximum.accumulate(ranges, axis=1) - np.minimum.accumulate(ranges, axis=1)

    def power(self, seeds: int) -> float:
        rng = np.random.default_rng(1)
        left_over = np.arange(1, len(self.centre) + 1)  # arms that are still compared
        freedom = np.maximum((left_over - (1 if self.paired else 0)) * (seeds - 1), 1)
        chi = np.sqrt(rng.chisquare(freedom, (self.draws, len(freedom))) / freedom)
        critical = np.quantile(self.ranges / chi, 1 - self.alpha, axis=0) / math.sqrt(2)
        error = np.sqrt(self.variance / seeds)
        scales = np.sqrt(rng.chisquare(freedom, (len(self.errors), len(freedom))) / freedom)
        means = self.centre + error * self.errors
        left = np.ones(means.shape, bool)
        while True:
            shown = np.where(left, means, -math.inf)
            best = shown.argmax(axis=1)
            gap = shown.max(axis=1)[:, None] - means
            many = left.sum(axis=1) - 1
            far = gap / (np.take_along_axis(scales, many[:, None], axis=1) * np.hypot(error[best][:, None], error))
            falls = left & (far >= critical[many][:, None])
            falls[np.arange(len(means)), best] = False
            if not falls.any():
                return float((~left[:, self.of]).mean())
            left &= ~falls
