"""Confidence intervals of the means of arms; the method depends on the number of seeds and on their shape.

All functions take values as arms × seeds, float64, NaN where an arm has no value under a seed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from initlab.statistics.failures import failed_seeds, mixture_interval
from initlab.statistics.levels import separate
from initlab.statistics.rows import count, mean
from initlab.statistics.spread import Spread, spread

if TYPE_CHECKING:
    from initlab.statistics.rows import Floats, Mask

CONFIDENCE = 0.95
#: from so many seeds on an arm's own values say enough of its distribution for a bootstrap
BOOTSTRAP_FROM = 50
_RESAMPLES = 1999
#: number of arms from which on they share a variance: whether two scatter alike is not seen from a few seeds
_SHARE_FROM = 3

BCA, MIXTURE = "BCa bootstrap", "failures"


@dataclass(frozen=True, kw_only=True)
class Intervals:
    """Mean of each arm with its 95 % interval; NaN where the seeds do not tell one.

    Attributes:
        method: of each interval.
        failed: arms × seeds: the seeds that failed, in arms of which others learned.
    """

    mean: Floats
    low: Floats
    high: Floats
    method: tuple[str, ...]
    failed: Mask


def intervals(
    values: Floats, *, apart: Mask | None = None, floor: float = math.nan, known: Mask | None = None
) -> Intervals:
    """The 95 % interval of each arm's mean.

    From 50 seeds on the bias-corrected and accelerated bootstrap (Efron, 1987) of the arm alone. Below, Student's t
    with the variance that `spread` gives; and where some seeds of an arm failed, the interval of a mixture: of the
    share that fails, and of the level where it learns. A failure that none of the seeds met cannot be in the interval.

    Args:
        apart: arms that share no variance with the others.
        floor, known: of `failures.failed_seeds`.
    """
    from scipy.stats import t

    n, centre = count(values), mean(values)
    failed = failed_seeds(values, floor=floor, known=known)
    trained = np.where(failed, math.nan, values)
    found = _spread_by_level(trained, apart, floor)
    with np.errstate(invalid="ignore", divide="ignore"):
        one = t.ppf((1 + CONFIDENCE) / 2, found.freedom) * np.sqrt(found.variance)
        half = one / np.sqrt(n)
    low, high, method = centre - half, centre + half, list(found.method)
    for i in np.flatnonzero(failed.any(axis=1)):
        low[i], high[i] = mixture_interval(values[i], failed[i], float(one[i]), CONFIDENCE)
        method[i] = MIXTURE
    for i in np.flatnonzero(n >= BOOTSTRAP_FROM):
        ends = _bca(values[i][np.isfinite(values[i])])
        if ends is not None:
            low[i], high[i], method[i] = *ends, BCA
    return Intervals(mean=centre, low=low, high=high, method=tuple(method), failed=failed)


def _spread_by_level(values: Floats, apart: Mask | None, floor: float) -> Spread:
    """`spread`, of the arms at chance and of the others apart: what those scatter says nothing of these."""
    able = np.isfinite(values).any(axis=1)
    low = np.zeros(len(values), bool)
    if able.sum() > 1:
        low[able] = separate(values[able], floor=floor) > 0
    alone = np.zeros(len(values), bool) if apart is None else apart
    upper = spread(values, apart=alone | low, share_from=_SHARE_FROM)
    if not low.any():
        return upper
    lower = spread(values, apart=alone | ~low, share_from=_SHARE_FROM)
    return Spread(
        variance=np.where(low, lower.variance, upper.variance), freedom=np.where(low, lower.freedom, upper.freedom),
        method=tuple((lower if i else upper).method[k] for k, i in enumerate(low)), alike=upper.alike,
    )  # fmt: skip


def _bca(row: Floats) -> tuple[float, float] | None:
    """Ends of the bootstrap's interval; None where it has none, as for values that are all alike."""
    if np.ptp(row) == 0:
        return None
    from scipy.stats import bootstrap

    found = bootstrap(
        (row,),
        np.mean,
        confidence_level=CONFIDENCE,
        n_resamples=_RESAMPLES,
        method="BCa",
        vectorized=True,
        rng=np.random.default_rng(0),
    ).confidence_interval
    ends = float(found.low), float(found.high)
    return ends if all(map(math.isfinite, ends)) else None


def interquartile_mean(row: Floats) -> float:
    """Mean of the middle half, which one seed that failed does not move. Agarwal et al., NeurIPS 2021."""
    from scipy.stats import trim_mean

    finite = row[np.isfinite(row)]
    return float(trim_mean(finite, 0.25)) if len(finite) else math.nan
