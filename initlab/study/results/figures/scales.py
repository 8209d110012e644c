"""Ranges and colour scales of objectives."""

from __future__ import annotations

from collections.abc import Sequence

from initlab.report.charts import Scale
from initlab.study.space.objectives import Direction


def bulk(values: Sequence[float]) -> tuple[float, float]:
    """Range of the values without extreme outliers, so that one outlier does not make all other arms look alike."""
    import numpy as np

    first, third = (float(q) for q in np.quantile(values, (0.25, 0.75)))
    reach = 6 * (third - first)
    if len(values) < 5 or reach == 0:
        return min(values), max(values)
    kept = [v for v in values if first - reach <= v <= third + reach]
    return min(kept), max(kept)


def is_logarithmic(low: float, high: float, direction: Direction) -> bool:
    # minimised values (loss, perplexity) may span decades; an accuracy is drawn on a linear scale
    return direction == "minimize" and low > 0 and high / low > 50


def colour_scale(values: Sequence[float], direction: Direction) -> Scale:
    """The scale of the colours; values beyond it get the colour of its ends."""
    low, high = bulk(values)
    if low == high:
        # a single value: use a range around it, or it would get the colour of the worst
        low, high = low - (abs(low) or 1.0) * 0.01, high + (abs(high) or 1.0) * 0.01
        return Scale(low, high)
    return Scale(low, high, is_logarithmic(low, high, direction))


def better(direction: Direction) -> str:
    """``more`` or ``less`` is better: brighter is better in either direction, as in every figure."""
    return "more" if direction == "maximize" else "less"
