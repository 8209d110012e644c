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
    from scipy.stats import t

    half = float(t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)) * stdev(values) / math.sqrt(len(values))
    return Interval(mean=centre, low=centre - half, high=centre + half, draws=len(values))
