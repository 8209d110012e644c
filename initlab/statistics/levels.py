"""Which arms lie far below the others: those at chance, those that never trained."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from initlab.statistics.rows import count, mean, step, variance

if TYPE_CHECKING:
    from initlab.statistics.rows import Floats

#: a gap of so many standard deviations of a seed between two neighbouring means parts the arms
_SCATTERS = 8.0
#: share of what the best arm gained below which an arm is at chance
_CHANCE = 0.1


def separate(values: Floats, *, floor: float = math.nan) -> Floats:
    """0 for the arms of the upper level, and for those far below it a p-value.

    Two levels are apart where the gap between neighbouring means is 8 times the standard deviation of a seed: that of
    the arms above together, that of those below, and half that of any single arm. Where the value of an untrained
    network is known, arms none of whose seeds gained a tenth of what the best arm did are below as well.

    Args:
        values: arms × seeds without the seeds that failed, each arm with one at least.
        floor: value of an untrained network.
    """
    from scipy.stats import norm

    n, centre, own = count(values), mean(values), np.nan_to_num(variance(values))
    order = np.argsort(centre)
    scale = step(values)
    cut = 0
    for k in range(1, len(order)):
        low, high = order[:k], order[k:]
        gap = float(centre[high[0]] - centre[low[-1]])
        above, under = (
            math.sqrt(float((own[part] * (n[part] - 1)).sum() / max(1, (n[part] - 1).sum()))) for part in (high, low)
        )
        single = 0.5 * math.sqrt(float(own.max()))
        if above > 0 and gap > _SCATTERS * max(above, under, single) and gap > 4 * scale:
            cut = k
    found = np.zeros(len(values))
    found[order[:cut]] = 2 * float(norm.sf(_SCATTERS))
    top = float(centre[order[-1]])
    spread_above = math.sqrt(float(own[order[cut:]].max()))
    if math.isfinite(floor) and 0 < _SCATTERS * spread_above < top - floor:
        highest = np.nanmax(values, axis=1)
        found[highest < floor + _CHANCE * (top - floor)] = 2 * float(norm.sf(_SCATTERS))
    return found
