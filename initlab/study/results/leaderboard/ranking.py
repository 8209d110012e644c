"""Ranks the arms of a study, with 95 % intervals over seeds and paired differences to the best."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from initlab.core.text import to_one_line
from initlab.study.search.arms import ORDER, ArmResult
from initlab.study.space.objectives import Directions, each, fronts


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of the leaderboard.

    Attributes:
        result: the arm.
        rank: 1 for the best; None for an arm that is not complete or has no finite objective. With several objectives
            1 for all arms of the Pareto front, 2 for the arms that only the front dominates, and so on.
        mean: over seeds with a value, else the objective; NaN where there is neither. With several objectives, this and
            all fields below are those of the first.
        low: lower end of the mean's 95 % Student interval over seeds; NaN for fewer than two.
        high: its upper end.
        seeds: with a value.
        tied: whether the 95 % interval of the paired difference to the best arm, over common seeds, includes 0. True
            for the best itself; None for arms without rank and where fewer than two seeds are common. Not corrected
            for the number of arms. None with several objectives.
        others: the same row for each further objective.
        note: why it was pruned or failed, and which seeds have no value.
    """

    result: ArmResult
    rank: int | None
    mean: float
    low: float = math.nan
    high: float = math.nan
    seeds: int = 0
    tied: bool | None = None
    others: tuple[Row, ...] = ()
    note: str = ""

    @property
    def half(self) -> float:
        """Half the width of the interval."""
        return (self.high - self.low) / 2


def leaderboard(arms: Sequence[ArmResult], *, direction: Directions) -> list[Row]:
    """Best objective first, the lower trial number first among equals; then running, waiting, pruned and failed arms.

    The order is that of the objective, which need not be the mean. With several objectives it is front by front, and
    by the first of them within a front. Source: Student, 1908; pairs over common seeds remove the variance that arms
    share through the seed.
    """
    ordered, ranks = _sort_arms(arms, direction)
    several = len(each(direction)) > 1
    best = ordered[0].by_seed() if ranks and not several else {}
    rows: list[Row] = []
    for i, arm in enumerate(ordered):
        row = _row(arm.judged_by(0), ranks[i] if i < len(ranks) else None, best=best, first=i == 0)
        others = [_row(arm.judged_by(k), None, best={}, first=False) for k in range(1, len(each(direction)))]
        rows.append(replace(row, result=arm, others=tuple(others), tied=None if several else row.tied, note=_note(arm)))
    return rows


def standings(arms: Sequence[ArmResult], *, direction: Directions) -> list[Row]:
    """The leaderboard without intervals: cheap enough for an update every second."""
    ordered, ranks = _sort_arms(arms, direction)

    def row(arm: ArmResult, rank: int | None) -> Row:
        return Row(result=arm, rank=rank, mean=_mean(arm), seeds=len(arm.by_seed()), note=_note(arm))

    return [
        replace(
            row(arm.judged_by(0), ranks[i] if i < len(ranks) else None), result=arm, note=_note(arm),
            others=tuple(row(arm.judged_by(k), None) for k in range(1, len(each(direction)))),
        )
        for i, arm in enumerate(ordered)
    ]  # fmt: skip


# ------------------------------------------------------------------ pieces
def _row(arm: ArmResult, rank: int | None, *, best: Mapping[int, float], first: bool) -> Row:
    # initlab.run.episodes imports torch, which takes too long for a table of waiting arms
    from initlab.statistics.student import interval

    values = arm.by_seed()
    found = interval(list(values.values())) if len(values) > 1 else None
    tied: bool | None = None
    if rank is not None and first:
        tied = True
    elif rank is not None:
        common = [values[s] - best[s] for s in values if s in best]
        if len(common) > 1:
            difference = interval(common)
            tied = difference.low <= 0 <= difference.high
    return Row(
        result=arm, rank=rank, mean=_mean(arm), low=found.low if found else math.nan,
        high=found.high if found else math.nan, seeds=len(values), tied=tied, note=_note(arm),
    )  # fmt: skip


def _sort_arms(arms: Sequence[ArmResult], direction: Directions) -> tuple[list[ArmResult], list[int]]:
    """The arms in order, and the ranks of those that have one, which come first."""
    ways = each(direction)
    sign = -1.0 if ways[0] == "maximize" else 1.0
    # ties in the objective are broken by the trial number
    able = sorted(
        (sign * value, a.trial, i)
        for i, a in enumerate(arms)
        if a.state == "complete" and (value := a.finite) is not None
    )
    rest = sorted(
        (a for a in arms if a.state != "complete" or a.finite is None), key=lambda a: (ORDER.index(a.state), a.trial)
    )
    ranked = [arms[i] for _, _, i in able]
    if len(ways) == 1:
        return [*ranked, *rest], list(range(1, len(ranked) + 1))
    found = fronts([a.values for a in ranked], ways)
    order = sorted(range(len(ranked)), key=found.__getitem__)  # keeps the order by the first within a front
    return [*(ranked[i] for i in order), *rest], [found[i] for i in order]


def _mean(arm: ArmResult) -> float:
    values = arm.by_seed()
    if values:
        return fmean(values.values())
    return math.nan if arm.finite is None else arm.finite


def _note(arm: ArmResult) -> str:
    """Note for an arm whose mean is over fewer seeds than it was given: the mean of the survivors is too good."""
    bad = Counter(r.status for r in arm.replicas if r.status not in ("finished", "stopped"))
    of = len(arm.replicas)
    told = [arm.reason] if arm.reason else []
    if arm.sweep is not None and arm.sweep.note and arm.sweep.note != arm.reason:
        told.append(arm.sweep.note)
    told += [f"{n} of {of} seed{'' if of == 1 else 's'} {status}" for status, n in bad.items()]
    if arm.state == "complete" and arm.finite is None:
        told.append("no finite objective")
    return to_one_line("; ".join(told))
