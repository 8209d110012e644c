"""Equivalence of arms within a margin: two one-sided tests (Schuirmann, 1987)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from initlab.statistics.significance.pairs import holm

if TYPE_CHECKING:
    from initlab.statistics.significance.blocks import Floats


def equivalent_to_the_first(values: Floats, margin: float) -> Floats:
    """p-value of each arm's mean differing from that of the first arm by `margin` or more (Holm over the arms).

    Below the level the arm is equivalent to the first, within the margin. Paired over common seeds, else Welch's t;
    NaN with fewer than three seeds, and for the first arm itself.

    Args:
        values: arms × seeds, NaN for holes.
        margin: largest difference that does not matter, in units of the metric.
    """
    from scipy.stats import t, ttest_ind

    found = np.full(len(values), math.nan)
    for i in range(1, len(values)):
        common = np.isfinite(values[0]) & np.isfinite(values[i])
        d = values[i, common] - values[0, common]
        if len(d) >= 3:
            error = float(d.std(ddof=1)) / math.sqrt(len(d))
            gap = margin - abs(float(d.mean()))
            if error > 0:
                found[i] = float(t.sf(gap / error, len(d) - 1))
            continue
        one, other = (values[k][np.isfinite(values[k])] for k in (i, 0))
        if min(len(one), len(other)) >= 3:
            below: Any = ttest_ind(one, other - margin, equal_var=False, alternative="greater")
            above: Any = ttest_ind(one, other + margin, equal_var=False, alternative="less")
            found[i] = max(float(below.pvalue), float(above.pvalue))
    return holm(found.tolist())
