"""Pairwise tests of arms, effect sizes, and Holm's and Bonferroni's corrections for multiple comparisons."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from initlab.statistics.significance.sign_flip import sign_flips, smallest_p_value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from initlab.statistics.significance.blocks import Floats

#: up to so many pairs of arms all are tested; of more, only those with the best arm, corrected for all pairs
_PAIRS = 2000


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Comparison of two arms; the difference is positive where the first is better.

    Attributes:
        seeds: pairs of values, or the smaller number of values where they are not paired.
        difference: of the means, over common seeds where paired.
        low: end of its 95 % interval.
        high: other end.
        exact: p-value of the sign-flip permutation test; NaN where not paired.
        t: p-value of the paired t-test, or of Welch's.
        effect: Hedges' g; NaN where the differences do not scatter.
        least: smallest p-value that the exact test can give with so many seeds.
        paired: over common seeds.
    """

    seeds: int
    difference: float
    low: float
    high: float
    exact: float
    t: float
    effect: float
    least: float
    paired: bool


def compare_pair(values: Floats, one: int, other: int) -> Pair | None:
    """Compares arm number `one` with `other`; None where there are too few values."""
    from scipy.stats import t, ttest_ind

    common = np.isfinite(values[one]) & np.isfinite(values[other])
    d = values[one, common] - values[other, common]
    n = len(d)
    if n > 1:
        mean, sd = float(d.mean()), _sd(d)
        half = float(t.ppf(0.975, n - 1)) * sd / math.sqrt(n)
        p = _t_of(mean, sd, n)
        return Pair(
            seeds=n,
            difference=mean,
            low=mean - half,
            high=mean + half,
            exact=float(sign_flips(d[:, None])[0]),
            t=p,
            effect=hedges_g(mean, sd, n),
            least=smallest_p_value(n),
            paired=True,
        )
    a, b = (values[i][np.isfinite(values[i])] for i in (one, other))
    if min(len(a), len(b)) < 2:
        return None
    mean, sa, sb = float(a.mean() - b.mean()), _sd(a), _sd(b)
    if sa == sb == 0:
        return Pair(
            seeds=min(len(a), len(b)),
            difference=mean,
            low=mean,
            high=mean,
            exact=math.nan,
            t=1.0 if mean == 0 else 0.0,
            effect=math.nan,
            least=math.nan,
            paired=False,
        )
    found: Any = ttest_ind(a, b, equal_var=False)
    ends = found.confidence_interval()
    pooled = math.sqrt(((len(a) - 1) * sa**2 + (len(b) - 1) * sb**2) / (len(a) + len(b) - 2))
    return Pair(
        seeds=min(len(a), len(b)),
        difference=mean,
        low=float(ends.low),
        high=float(ends.high),
        exact=math.nan,
        t=float(found.pvalue),
        effect=hedges_g(mean, pooled, len(a) + len(b) - 1),
        least=math.nan,
        paired=False,
    )


def all_pairs(arms: int) -> int:
    return arms * (arms - 1) // 2


def corrected_p_values(values: Floats, best: int) -> tuple[Floats, Floats, str]:
    """p-values (exact, t) of each arm against arm `best`, corrected for the choice of it, and the correction's name.

    The best arm was chosen from the same numbers, so every pair may have been compared: Holm's correction over all
    pairs, or Bonferroni's where there are too many pairs.
    """
    arms = len(values)
    pairs = all_pairs(arms)
    if pairs <= _PAIRS:
        which = list(combinations(range(arms), 2))
        found = [compare_pair(values, a, b) for a, b in which]
        exact = holm([math.nan if f is None else f.exact for f in found])
        t = holm([math.nan if f is None else f.t for f in found])
        of = {pair: k for k, pair in enumerate(which)}
        at = [of[min(i, best), max(i, best)] if i != best else -1 for i in range(arms)]
        one = [math.nan if k < 0 else exact[k] for k in at]
        two = [math.nan if k < 0 else t[k] for k in at]
        return np.array(one), np.array(two), f"Holm over {pairs} pairs"
    found = [None if i == best else compare_pair(values, best, i) for i in range(arms)]
    one = np.array([math.nan if f is None else min(1.0, f.exact * pairs) for f in found])
    two = np.array([math.nan if f is None else min(1.0, f.t * pairs) for f in found])
    return one, two, f"Bonferroni over {pairs} pairs"


def holm(p: Sequence[float]) -> Floats:
    """Holm's step-down correction, 1979, of the p-values that there are.

    The k-th smallest of m is multiplied by m - k + 1, and none is below a smaller one.
    """
    found = np.array(p, float)
    known = np.flatnonzero(np.isfinite(found))
    order = known[np.argsort(found[known], kind="stable")]
    found[order] = np.minimum(1.0, np.maximum.accumulate(found[order] * np.arange(len(order), 0, -1)))
    return found


def hedges_g(mean: float, sd: float, n: int) -> float:
    """Cohen's d of n values with Hedges' correction for few, 1981: d · (1 - 3 / (4 (n-1) - 1)) in its exact form."""
    df = n - 1
    if sd <= 0 or df < 2:  # of a single degree of freedom it has no mean to correct
        return math.nan
    from scipy.special import gammaln

    return mean / sd * math.exp(gammaln(df / 2) - gammaln((df - 1) / 2)) * math.sqrt(2 / df)


# ------------------------------------------------------------------ pieces
def _sd(row: Floats) -> float:
    """Unbiased, and exactly 0 where all values are alike but for rounding."""
    sd = float(row.std(ddof=1))
    return 0.0 if np.ptp(row) <= 1e-12 * max(1e-300, float(np.abs(row).max())) else sd


def _t_of(mean: float, sd: float, n: int) -> float:
    if sd == 0:
        return 1.0 if mean == 0 else 0.0
    from scipy.stats import t

    return float(2 * t.sf(abs(mean) / sd * math.sqrt(n), n - 1))
