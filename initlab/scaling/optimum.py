"""The best learning rate of a size, from the losses of a grid, and its shift over the sizes.

The best rate of a size is, for each seed, the lowest point of a parabola in log2(lr) through the logarithm of the loss
at the rate with the lowest mean and at its neighbours; further out losses often rise like a wall, which no parabola
fits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from initlab.statistics.student import interval

#: rates to both sides of the best that the parabola is fitted to
_WINDOW = 1
#: losses of one seed by learning rate; infinite where training diverged
Losses = Sequence[float]


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Final losses of a grid.

    Attributes:
        axis: what the sizes are.
        sizes, lrs, seeds: ascending.
        losses: size × learning rate × seed; infinite where training diverged.
        metric: what the loss is.
    """

    axis: Literal["width", "depth"]
    sizes: tuple[int, ...]
    lrs: tuple[float, ...]
    seeds: tuple[int, ...]
    losses: tuple[tuple[tuple[float, ...], ...], ...]
    metric: str = "validation loss"


@dataclass(frozen=True, kw_only=True)
class Optimum:
    """The best learning rate of a size.

    Attributes:
        log2_lr: mean over the seeds; NaN where every run diverged.
        half_width: of its 95 % interval over the seeds, and at least that of the resolution, a quarter of a step.
        by_seed: of each seed; NaN where all its runs diverged.
        at_edge: ``low`` or ``high`` where the best of the grid is its end: the optimum may lie beyond.
        loss: the lowest mean loss over the grid, with half the width of its 95 % interval.
        loss_half_width: likewise.
        losses: of each seed, at the rate of the lowest mean.
    """

    log2_lr: float
    half_width: float
    by_seed: tuple[float, ...]
    at_edge: Literal["", "low", "high"]
    loss: float
    loss_half_width: float
    losses: tuple[float, ...]


def find_optimum(logs: Sequence[float], row: Sequence[Sequence[float]], means: Sequence[float]) -> Optimum:
    """The best rate of a size.

    Args:
        logs: log2 of the rates, ascending.
        row: losses, rate × seed; infinite where training diverged.
        means: of the losses over the seeds, by rate.
    """
    best = min(range(len(logs)), key=lambda k: means[k])
    step = min((b - a for a, b in pairwise(logs)), default=1.0)
    if not math.isfinite(means[best]):
        none = tuple(math.nan for _ in row[0])
        return Optimum(
            log2_lr=math.nan, half_width=math.nan, by_seed=none, at_edge="", loss=math.inf, loss_half_width=math.nan,
            losses=none,
        )  # fmt: skip
    seeds = range(len(row[0]))
    places = [_lowest(logs, [cell[s] for cell in row], best) for s in seeds]
    known = [p for p in places if math.isfinite(p)]
    found, losses = interval(known), interval(list(row[best]))
    half = found.high - found.mean if math.isfinite(found.high) else 0.0
    edge: Literal["", "low", "high"] = ""
    if len(logs) > 1 and best in (0, len(logs) - 1):
        edge = "low" if best == 0 else "high"
    return Optimum(
        log2_lr=found.mean, half_width=max(half, step / 4), by_seed=tuple(places), at_edge=edge, loss=losses.mean,
        loss_half_width=losses.high - losses.mean, losses=tuple(row[best]),
    )  # fmt: skip


def shift_of(sizes: Sequence[float], places: Sequence[Sequence[float]]) -> tuple[float, float]:
    """Shift of the optimum over all sizes, by the line through the optima of all sizes and seeds.

    Returns:
        The shift, and half the width of its 95 % interval, from the scatter about the line: optima of all runs count,
        so that few seeds suffice. 0 where two points leave no scatter.
    """
    import numpy as np
    from scipy.stats import t

    pairs = [(x, p) for x, row in zip(sizes, places, strict=True) for p in row]
    if any(not any(map(math.isfinite, row)) for row in places):
        return math.nan, math.nan
    x, y = np.asarray([q for q in pairs if math.isfinite(q[1])]).T
    slope, intercept = np.polyfit(x, y, 1)
    reach, free = sizes[-1] - sizes[0], len(x) - 2
    if free < 1:
        return float(slope * reach), 0.0
    scatter = float(np.square(y - slope * x - intercept).sum()) / free
    error = math.sqrt(scatter / float(np.square(x - x.mean()).sum()))
    return float(slope * reach), float(t.ppf(0.975, free)) * error * reach


def difference_of(first: Sequence[float], last: Sequence[float]) -> tuple[float, float]:
    """Mean of the differences by seed, and half the width of its 95 % interval: 0 for a single seed."""
    pairs = [b - a for a, b in zip(first, last, strict=True) if math.isfinite(a) and math.isfinite(b)]
    if not pairs:
        return math.nan, math.nan
    found = interval(pairs)
    return found.mean, found.high - found.mean if math.isfinite(found.high) else 0.0


def _lowest(logs: Sequence[float], losses: Losses, best: int) -> float:
    """log2 of the rate at the lowest point of a parabola about the `best`; that rate itself at the edge of the grid."""
    near = [k for k in range(max(0, best - _WINDOW), min(len(logs), best + _WINDOW + 1)) if math.isfinite(losses[k])]
    if best in (0, len(logs) - 1) or len(near) < 3:
        return logs[best] if near else math.nan
    x = [logs[k] for k in near]
    y = [math.log(losses[k]) if min(losses) > 0 else losses[k] for k in near]
    curve, slope = _parabola(x, y)
    lowest = x[min(range(len(y)), key=lambda k: y[k])]
    return min(max(-slope / (2 * curve), x[0]), x[-1]) if curve > 0 else lowest


def _parabola(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """a and b of a x² + b x + c by least squares."""
    import numpy as np

    a, b, _ = np.polyfit(np.asarray(x), np.asarray(y), 2)
    return float(a), float(b)
