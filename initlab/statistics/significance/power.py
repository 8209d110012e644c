"""Number of seeds that a paired t-test needs to detect a difference (power analysis)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from initlab.statistics.significance.blocks import blocks, residual
from initlab.statistics.significance.pairs import compare_pair

if TYPE_CHECKING:
    from initlab.statistics.significance.blocks import Floats


def seeds_needed(values: Floats, one: int, other: int, *, alpha: float = 0.05, power: float = 0.8) -> float:
    """Seeds that a paired t-test needs to separate two arms with the observed difference.

    The scatter is that of all arms within seeds. Infinite where they do not differ or more than 10,000 would be needed;
    NaN where nothing scatters or too little is known.
    """
    b = blocks(values[[one, other]])
    everyone = blocks(values)
    pair = compare_pair(values, one, other)
    if pair is None or everyone.freedom < 1 or b.freedom < 1:
        return math.nan
    sd = math.sqrt(2 * residual(everyone))
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
