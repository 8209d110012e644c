"""Effects of two factors (main effects, interaction) by aligned ranks, and ranks of arms over several tasks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Effect:
    """A factor of a two-way layout, or the interaction of both.

    Attributes:
        name: the key, or both with ×.
        f: F statistic on aligned ranks, with degrees of freedom `df` and `df_residual`.
        p: its p-value.
        share: η² of the values, the fraction of the total variance that it explains.
        partial: partial η², without the variance that the other effects explain.
    """

    name: str
    f: float
    df: int
    df_residual: int
    p: float
    share: float
    partial: float


def two_way(values: Floats, a: Sequence[str], b: Sequence[str], *, names: tuple[str, str]) -> list[Effect]:
    """Main effects and interaction of two factors, with seeds as blocks. Empty where the layout is not complete.

    Aligned rank transform (Wobbrock, Findlater, Gergle & Higgins, 2011): for each effect all others are subtracted
    from the values, which are then ranked and analysed as usual; so one failing arm does not dominate, and ranks do not
    create spurious interactions. η² is of the values.

    Args:
        values: arms × seeds; seeds with a hole are left out.
        a: level of the first factor for each arm.
        b: of the second.
        names: of the factors.
    """
    whole = values[:, np.isfinite(values).all(axis=0)]
    levels = sorted(set(a)), sorted(set(b))
    cells = set(zip(a, b, strict=True))
    complete = len(cells) == len(a) == len(levels[0]) * len(levels[1])
    if not complete or min(map(len, levels)) < 2 or whole.shape[1] < 2 or np.ptp(whole) == 0:
        return []
    i = np.array([levels[0].index(x) for x in a])
    j = np.array([levels[1].index(x) for x in b])
    cell = np.zeros((len(levels[0]), len(levels[1])))
    cell[i, j] = whole.mean(axis=1)
    grand, rows, columns = cell.mean(), cell.mean(axis=1), cell.mean(axis=0)
    parts = {
        names[0]: (rows - grand)[i],
        names[1]: (columns - grand)[j],
        f"{names[0]} × {names[1]}": (cell - rows[:, None] - columns[None, :] + grand)[i, j],
    }
    rest = whole - whole.mean(axis=1)[:, None]
    plain = _anova(whole, i, j)
    total = sum(s for s, _ in plain.values())
    from scipy.stats import f as f_distribution
    from scipy.stats import rankdata

    found: list[Effect] = []
    for (name, part), which in zip(parts.items(), ("a", "b", "ab"), strict=True):
        # rounding: equal values must get equal ranks
        aligned = np.round(rest + part[:, None], 12)
        table = _anova(rankdata(aligned).reshape(aligned.shape), i, j)
        (own, df), (left, df_left) = table[which], table["residual"]
        f = own / df / (left / df_left) if left > 1e-9 * own else math.inf
        raw, raw_left = plain[which][0], plain["residual"][0]
        found.append(
            Effect(
                name=name, f=f, df=df, df_residual=df_left, p=float(f_distribution.sf(f, df, df_left)),
                share=raw / total, partial=raw / (raw + raw_left) if raw + raw_left > 0 else math.nan,
            )
        )  # fmt: skip
    return found


def _anova(values: Floats, i: NDArray[np.int64], j: NDArray[np.int64]) -> dict[str, tuple[float, int]]:
    """Sums of squares and degrees of freedom of a complete two-way layout with blocks.

    In that layout the parts are orthogonal, and each is a sum over means. A least-squares fit gives the same, but takes
    minutes for a thousand arms.
    """
    (rows, columns), seeds = (int(i.max()) + 1, int(j.max()) + 1), values.shape[1]
    cube = np.empty((rows, columns, seeds))
    cube[i, j] = values
    grand = cube.mean()
    a, b, s = (cube.mean(axis=axes) - grand for axes in ((1, 2), (0, 2), (0, 1)))
    ab = cube.mean(axis=2) - grand - a[:, None] - b[None, :]
    rest = cube - grand - a[:, None, None] - b[None, :, None] - ab[:, :, None] - s[None, None, :]
    return {
        "a": (float((a**2).sum()) * columns * seeds, rows - 1),
        "b": (float((b**2).sum()) * rows * seeds, columns - 1),
        "ab": (float((ab**2).sum()) * seeds, (rows - 1) * (columns - 1)),
        "seed": (float((s**2).sum()) * rows * columns, seeds - 1),
        "residual": (float((rest**2).sum()), (rows * columns - 1) * (seeds - 1)),
    }


# ------------------------------------------------------------------ several tasks
@dataclass(frozen=True, kw_only=True)
class Ranking:
    """Ranks of arms over tasks.

    Attributes:
        tasks: their labels.
        arms: names, best average rank first.
        ranks: average rank of each, 1 is the best.
        p: p-value of Friedman's test that all arms are equal; NaN for fewer than three arms.
        critical: Nemenyi's critical difference of average ranks at 5 %.
    """

    tasks: tuple[str, ...]
    arms: tuple[str, ...]
    ranks: tuple[float, ...]
    p: float
    critical: float


def ranking(means: Floats, arms: Sequence[str], tasks: Sequence[str]) -> Ranking | None:
    """Average ranks of the arms over tasks (tasks × arms, more is better). Demšar, JMLR 2006.

    None with fewer than two tasks or arms.
    """
    from scipy.stats import friedmanchisquare, rankdata, studentized_range

    count, many = means.shape
    if count < 2 or many < 2:
        return None
    ranks = np.array([rankdata(-row) for row in means])
    average = ranks.mean(axis=0)
    p = math.nan
    if many > 2 and not all(np.ptp(row) == 0 for row in means):
        p = float(friedmanchisquare(*means.T).pvalue)
    q = float(studentized_range.ppf(0.95, many, np.inf)) / math.sqrt(2)
    order = np.argsort(average, kind="stable")
    return Ranking(
        tasks=tuple(tasks), arms=tuple(str(arms[k]) for k in order), ranks=tuple(float(average[k]) for k in order), p=p,
        critical=q * math.sqrt(many * (many + 1) / (6 * count)),
    )  # fmt: skip


def profile(scores: Floats, levels: Floats) -> Floats:
    """Share of an arm's runs at or above each level: the performance profile of Agarwal et al., NeurIPS 2021."""
    finite = scores[np.isfinite(scores)]
    return (finite[None, :] >= levels[:, None]).mean(axis=1) if len(finite) else np.full(len(levels), math.nan)
