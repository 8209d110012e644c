"""How much the values of an arm scatter from seed to seed: alone, or together with the arms that scatter alike."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from initlab.statistics.rows import count, mean, step, variance

if TYPE_CHECKING:
    from initlab.statistics.rows import Floats, Mask

#: levels at which arms count as spread differently, and at which a single one scatters more or less than the rest;
#: with few seeds the tests have little power, so that their levels are higher
UNEQUAL, _MORE, _LESS = 0.05, 0.05, 0.01
_UNEQUAL_FEW, _MORE_FEW, _FEW = 0.25, 0.25, 6

STUDENT, POOLED, NO_SPREAD, NONE = "Student t", "pooled t", "no spread", "one seed"


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Scatter of values about the mean of their arm.

    Attributes:
        variance: of a single value of each arm.
        freedom: degrees of freedom of each variance.
        method: how each was estimated.
        alike: whether all arms with a spread share one variance.
    """

    variance: Floats
    freedom: Floats
    method: tuple[str, ...]
    alike: bool


def spread(values: Floats, *, apart: Mask | None = None, share_from: int = 2) -> Spread:
    """Variance of each arm: one for all arms that scatter alike, its own for each of the others.

    An arm takes part in the common variance only if its own fits: by an F test of each arm against the rest (Bonferroni
    over the arms), and where the arms left still differ (Brown & Forsythe, 1974, without the zeros that an odd number
    of seeds gives by itself: Hines & Hines, 2000) none does. Values that lie on a grid scatter by its step at least.

    Args:
        values: arms × seeds.
        share_from: number of arms from which on they share a variance.
        apart: arms that share nothing with the others, as those that never trained: all their seeds end alike.
    """
    n, own = count(values), variance(values)
    freedom = np.maximum(n - 1.0, 0.0)
    grid = step(values) ** 2 / 12
    method = [NONE if k < 2 else STUDENT for k in n]
    alone = np.zeros(len(n), bool) if apart is None else apart
    together = ~alone & (n > 0)
    some = np.flatnonzero(together & (n > 1))
    for i in np.flatnonzero(own == 0.0):
        method[i] = NO_SPREAD
    found, df = own.copy(), freedom.copy()
    alike = True
    if len(some) and own[some].max() > 0:
        found[together & (own < grid)] = grid
    if len(some) >= share_from and own[some].max() > 0:
        few = float(np.median(n[some])) < _FEW
        fit = _fitting(own[some], freedom[some], grid, more=_MORE_FEW if few else _MORE)
        alike = bool(fit.all())
        if fit.sum() > 1 and brown_forsythe(values[some[fit]]) < (_UNEQUAL_FEW if few else UNEQUAL):
            fit[:], alike = False, False
        if fit.sum() > 1:
            members = np.zeros(len(n), bool)
            members[some[fit]] = True
            # one value says nothing of its spread: it gets what the others have
            members |= together & (n < 2)
            pooled = float((own[some[fit]] * freedom[some[fit]]).sum() / freedom[some[fit]].sum())
            found[members], df[members] = max(pooled, grid), _effective(values[some[fit]])
            method = [POOLED if members[i] else m for i, m in enumerate(method)]
    df[df == 0] = math.nan
    return Spread(variance=found, freedom=df, method=tuple(method), alike=alike)


def cautious(values: Floats) -> Spread:
    """Variance of each arm for a test in which an arm with a small spread by chance must not look certain.

    The common variance of all arms, or an arm's own where it is larger. A smaller one is used only
    where the upper end of its confidence interval (5 % over all arms) is below the common one, and then that upper end.
    """
    from scipy.stats import chi2

    n, own = count(values), variance(values)
    freedom = np.maximum(n - 1.0, 0.0)
    grid = step(values) ** 2 / 12
    some = np.flatnonzero(n > 1)
    everyone = float(freedom[some].sum())
    pooled = max(float((own[some] * freedom[some]).sum()) / max(1.0, everyone), grid)
    found, df = np.full(len(n), pooled), np.full(len(n), max(1.0, everyone))
    for i in some:
        top = own[i] * freedom[i] / float(chi2.ppf(0.05 / len(some), freedom[i]))
        if own[i] > pooled:
            found[i], df[i] = own[i], freedom[i]
        elif top < pooled:
            found[i], df[i] = max(top, grid), freedom[i]
    return Spread(variance=found, freedom=df, method=(STUDENT,) * len(n), alike=False)


def _fitting(own: Floats, freedom: Floats, grid: float, *, more: float) -> Mask:
    """Which arms have a variance that fits the common one of the others; the worst is taken out, one by one."""
    from scipy.stats import f

    inside = np.ones(len(own), bool)
    while inside.sum() > 1:
        at = np.flatnonzero(inside)
        squares, df = own[at] * freedom[at], freedom[at]
        rest = (squares.sum() - squares) / (df.sum() - df)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.maximum(own[at], grid) / np.maximum(rest, grid)
        ratio = np.where(np.isfinite(ratio), ratio, np.where(own[at] > 0, math.inf, 1.0))
        above = f.sf(ratio, df, df.sum() - df) * len(at) / more
        below = f.cdf(ratio, df, df.sum() - df) * len(at) / _LESS
        worst = np.minimum(above, below)
        if not worst.min() < 1:
            break
        inside[at[int(worst.argmin())]] = False
    return inside


def brown_forsythe(values: Floats) -> float:
    """p-value of equal spread in all arms: analysis of variance of the distances to the arm's median.

    Of an odd number of seeds one distance is 0 whatever the spread; it is left out.
    """
    from scipy.stats import f_oneway

    distances = [_distances(row[np.isfinite(row)]) for row in values]
    distances = [d for d in distances if len(d) > 0]
    total = sum(map(len, distances))
    if len(distances) < 2 or total <= len(distances):
        return 1.0
    inside = sum(float(((d - d.mean()) ** 2).sum()) for d in distances)
    middle = float(np.concatenate(distances).mean())
    between = sum(len(d) * (float(d.mean()) - middle) ** 2 for d in distances)
    if inside <= 1e-12 * (between + inside):
        # every arm's distances are alike: two seeds each tell of no spread within
        return 1.0
    return float(f_oneway(*distances).pvalue)


def _distances(row: Floats) -> Floats:
    found = np.sort(np.abs(row - np.median(row)))
    return found[1:] if len(row) % 2 else found


def _effective(values: Floats) -> float:
    """Degrees of freedom of a pooled variance. Seeds that all arms share make their residuals say the same.

    With correlation ρ between arms, Σ(n-1) / (1 + (arms-1) ρ²): the variance of a mean of correlated chi-squares.
    """
    n = count(values)
    plain = float((n - 1).sum())
    arms = len(n)
    residuals = values - mean(values)[:, None]
    shared = np.isfinite(residuals).sum(axis=0)
    columns = residuals[:, shared > 1]
    if columns.shape[1] < 2 or arms < 2:
        return plain
    by_seed = np.nanmean(columns, axis=0)
    many = float(np.isfinite(columns).sum(axis=0).mean())
    between = many * float((by_seed**2).sum()) / (columns.shape[1] - 1)
    rest = float(np.nansum((columns - by_seed) ** 2)) / max(1.0, plain - (columns.shape[1] - 1))
    common = max(0.0, (between - rest) / many)
    rho = common / (common + rest) if common + rest > 0 else 0.0
    return plain / (1 + (arms - 1) * rho**2)
