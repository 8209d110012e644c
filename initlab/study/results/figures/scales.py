"""Ranges, colour scales and ticks of objectives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

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


def colour_scale(values: Sequence[float], direction: Direction) -> tuple[Any, str]:
    """Matplotlib's norm for the values, and the ends at which the colour bar is extended."""
    from matplotlib.colors import LogNorm, Normalize

    low, high = bulk(values)
    below, above = min(values) < low, max(values) > high
    extend = "both" if below and above else "min" if below else "max" if above else "neither"
    if is_logarithmic(low, high, direction):
        return LogNorm(low, high), extend
    if low == high:
        # a single value: use a range around it, or it would get the colour of the worst
        low, high = low - (abs(low) or 1.0) * 0.01, high + (abs(high) or 1.0) * 0.01
    return Normalize(low, high), extend


def palette_of(direction: Direction) -> str:
    """Brighter is better in either direction, as in every figure."""
    return "viridis" if direction == "maximize" else "viridis_r"


def round_values(low: float, high: float, *, logarithmic: bool) -> list[float]:
    """Round numbers from `low` to `high`: powers of ten on a logarithmic axis."""
    from matplotlib.ticker import MaxNLocator

    if logarithmic and high / low >= 100:
        return [10.0**n for n in range(math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9) + 1)]
    return [float(t) for t in MaxNLocator(5).tick_values(low, high) if low <= t <= high]
