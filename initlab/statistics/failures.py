"""Seeds of an arm that did not learn where its others did, and the interval of the mean of such a mixture."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from initlab.statistics.rows import step

if TYPE_CHECKING:
    from initlab.statistics.rows import Floats, Mask

#: a seed failed where it lies this share of what the best arm gained below the other seeds of its arm,
_SHARE = 0.25
#: this many times the usual scatter of a seed,
_SCATTERS = 10.0
#: and this many times the range of either group
_RANGES = 3.0

#: mean range of n normal values in standard deviations, n = 2 to 10
_RANGE_OF = (1.128, 1.693, 2.059, 2.326, 2.534, 2.704, 2.847, 2.970, 3.078)


def failed_seeds(values: Floats, *, floor: float = math.nan, known: Mask | None = None) -> Mask:
    """Which values are of seeds that failed, in arms of which other seeds learned; an arm that never learned has none.

    The values of an arm that fails under some seeds lie on two levels. A t interval does not fit its mean, and its
    variance says nothing about the other arms.

    Args:
        values: arms × seeds, more is better, NaN for holes.
        floor: value of an untrained network. Without it the lowest value of all stands in, and a seed has to stand out
            from the scatter of nearly all arms, not only of most.
        known: seeds that failed for sure, such as diverged ones.
    """
    found = np.zeros(values.shape, bool) if known is None else known.copy()
    rest = np.where(found, math.nan, values)
    able = np.isfinite(rest).any(axis=1)
    if not able.any():
        return np.zeros(values.shape, bool)
    best = max(float(np.nanmedian(row)) for row in rest[able])
    bottom = floor if math.isfinite(floor) else float(np.nanmin(values))
    span = best - bottom
    if not span > 0:
        span = math.inf  # nobody learned: only what is known counts
    halves = [_halves(row) for row in rest]
    scatter = max(_usual_scatter(halves, of=0.5 if math.isfinite(floor) else 0.9), step(values) / 2)
    for i, (lower, upper) in enumerate(halves):
        if not len(lower):
            continue
        gap = float(upper[0] - lower[-1])
        ranges = max(float(np.ptp(lower)), float(np.ptp(upper)))
        near = not math.isfinite(floor) or float(lower.mean()) < floor + span / 2
        if near and gap > _SHARE * span and gap > _SCATTERS * scatter and gap > _RANGES * ranges:
            found[i] |= rest[i] <= lower[-1]
    learned = np.asarray((~found & np.isfinite(values)).any(axis=1))
    found[~learned] = False
    return found


def _halves(row: Floats) -> tuple[Floats, Floats]:
    """The values below and above their largest gap."""
    some = np.sort(row[np.isfinite(row)])
    if len(some) < 2:
        return some[:0], some
    cut = int(np.diff(some).argmax()) + 1
    return some[:cut], some[cut:]


def _usual_scatter(halves: list[tuple[Floats, Floats]], of: float) -> float:
    """Standard deviation of a seed in the arm at the quantile `of` (half, or nearly all arms), by ranges.

    Where most arms have a seed that failed, the larger part of each stands for it; as the tighter part of its values
    it shows a third or so of the standard deviation.
    """
    whole = [_by_range(np.concatenate(h)) for h in halves if len(h[0])]
    larger = [_by_range(part) for h in halves if len(part := max(h, key=len)) > 1]
    if not whole:
        return 0.0
    return min(float(np.quantile(whole, of)), 3.5 * float(np.quantile(larger, of)) if larger else math.inf)


def _by_range(row: Floats) -> float:
    return float(np.ptp(row)) / _RANGE_OF[min(len(row), 10) - 2]


def share_interval(failed: int, of: int, confidence: float) -> tuple[float, float]:
    """Interval of the share of seeds that fail (Clopper & Pearson, 1934).

    Example:
        >>> [round(end, 3) for end in share_interval(1, 5, 0.95)]
        [0.005, 0.716]
    """
    from scipy.stats import beta

    tail = (1 - confidence) / 2
    low = 0.0 if failed == 0 else float(beta.ppf(tail, failed, of - failed + 1))
    high = 1.0 if failed == of else float(beta.ppf(1 - tail, failed + 1, of - failed))
    return low, high


def mixture_interval(row: Floats, failed: Mask, half: float, confidence: float) -> tuple[float, float]:
    """Interval of the mean of an arm some of whose seeds failed.

    The interval of the share that fails and those of both levels are put together by their distances from the estimate
    (MOVER: Zou & Donner, Statistics in Medicine 2008).

    Args:
        half: half the interval of one value's level, sd · t, of which a level of n values has half/√n.
    """
    low, high = row[failed & np.isfinite(row)], row[~failed & np.isfinite(row)]
    n = len(low) + len(high)
    share = len(low) / n
    a, b = share_interval(len(low), n, confidence)
    centre = float(np.concatenate([low, high]).mean())
    gap = float(high.mean() - low.mean())
    level = (1 - share) * half / math.sqrt(len(high))
    bottom = share * half / math.sqrt(len(low))
    rest = level**2 + bottom**2 if math.isfinite(half) else 0.0
    return centre - math.sqrt(((b - share) * gap) ** 2 + rest), centre + math.sqrt(((share - a) * gap) ** 2 + rest)
