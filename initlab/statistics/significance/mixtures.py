"""Arms under which some seeds fail: those that fail more often than the others, those below an arm that fails."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from initlab.statistics.failures import mixture_interval
from initlab.statistics.rows import count, mean
from initlab.statistics.spread import spread

if TYPE_CHECKING:
    from initlab.statistics.rows import Floats, Mask
    from initlab.statistics.significance.blocks import Ints


def more_failures(failed: Mask, present: Mask) -> Floats:
    """p-value of each arm's failing no more often than the other arms together (Fisher's exact test, one-sided)."""
    from scipy.stats import hypergeom

    k, n = failed.sum(axis=1), present.sum(axis=1)
    return np.asarray(hypergeom.sf(k - 1, n.sum(), k.sum(), n), float)


def below_a_mixture(values: Floats, failed: Mask, lead: int, others: Ints) -> Floats:
    """p-value of each of `others` having the mean of arm `lead`, under which some seeds failed, or more.

    1 minus the confidence at which the two intervals just separate, by bisection. This is larger than the exact p-value
    (Schenker & Gentleman, 2001): a difference may be missed, but not invented.
    """
    from scipy.stats import t

    trained = np.where(failed, math.nan, values)
    of = spread(trained)
    n, centre = count(values), mean(values)

    def ends(i: int, confidence: float) -> tuple[float, float]:
        factor = float(t.ppf((1 + confidence) / 2, of.freedom[i])) if math.isfinite(of.freedom[i]) else math.inf
        one = factor * math.sqrt(float(np.nan_to_num(of.variance[i])))
        if failed[i].any():
            return mixture_interval(values[i], failed[i], one, confidence)
        half = one / math.sqrt(n[i])
        return float(centre[i]) - half, float(centre[i]) + half

    found = np.ones(len(others))
    for k, i in enumerate(others):
        low, high = 0.0, 9.0  # of -log10(1 - confidence)
        if ends(lead, 0.0)[0] <= ends(int(i), 0.0)[1]:
            continue
        for _ in range(24):
            middle = (low + high) / 2
            parted = ends(lead, 1 - 10**-middle)[0] > ends(int(i), 1 - 10**-middle)[1]
            low, high = (middle, high) if parted else (low, middle)
        found[k] = 10**-low
    return found
