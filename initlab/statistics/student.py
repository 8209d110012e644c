"""Student's t interval for the mean of a few independent values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, stdev

#: confidence of the interval over draws
CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Interval:
    """Mean over draws with its Student-t interval; a single draw has no interval (NaN)."""

    mean: float
    low: float
    high: float
    draws: int


def interval(values: Sequence[float]) -> Interval:
    """95 % interval of the mean of independent `values`, mean ± t·s/√n. Student, 1908."""
    centre = mean(values)
    if len(values) < 2:
        return Interval(mean=centre, low=math.nan, high=math.nan, draws=len(values))
    half = half_width(values)
    return Interval(mean=centre, low=centre - half, high=centre + half, draws=len(values))


def half_width(values: Sequence[float], *, confidence: float = CONFIDENCE, step: float = 0.0) -> float:
    """Half the width of the interval of the mean of two or more independent `values`, t·s/√n. Student, 1908.

    Args:
        values: any unit.
        confidence: of the interval.
        step: of values that are rounded; step²/12 is the variance of rounding (Sheppard, 1898), and s² is no smaller.
    """
    from scipy.stats import t

    spread = max(stdev(values), step / math.sqrt(12))
    return float(t.ppf((1 + confidence) / 2, len(values) - 1)) * spread / math.sqrt(len(values))
