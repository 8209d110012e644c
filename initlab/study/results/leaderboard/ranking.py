"""Ranks the arms of a study: the order, intervals and best set of `statistics.judgement`, as `compare` shows them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median
from typing import TYPE_CHECKING

from initlab.core.text import to_one_line
from initlab.study.search.arms import ENDED, ORDER, ArmResult
from initlab.study.space.objectives import Directions, Metrics, each, fronts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from initlab.statistics.judgement import Judgement, Verdict


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of the leaderboard.

    Attributes:
        result: the arm.
        rank: 1 for the best; None for an arm without a value. With several objectives 1 for all arms of the Pareto
            front, 2 for the arms that only the front dominates, and so on.
        mean: over seeds with a value, where those that diverged have the value before training. With several
            objectives, this and all fields below are those of the first.
        low: lower end of the mean's 95 % interval over seeds; NaN for fewer than two.
        high: its upper end.
        seeds: with a value.
        failed: of these, how many did not learn where others of the arm did.
        verdict: "best", "not distinguishable" from it, or "worse", corrected for the number of arms; "" where nothing
            can be said, and with several objectives.
        others: the same row for each further objective.
        note: why it was pruned or failed, and which seeds have no value.
    """

    result: ArmResult
    rank: int | None
    mean: float
    low: float = math.nan
    high: float = math.nan
    seeds: int = 0
    failed: int = 0
    verdict: Verdict = ""
    others: tuple[Row, ...] = ()
    note: str = ""


def leaderboard(arms: Sequence[ArmResult], *, direction: Directions, metric: Metrics = "") -> list[Row]:
    """The best mean first; then running, waiting, pruned and failed arms without a value.

    With several objectives the order is front by front, and by the first of them within a front.

    Args:
        metric: of each objective; intervals of accuracies end at 0 and 1.
    """
    ways, names = each(direction), each(metric)
    if len(ways) == 1:
        return _judged(arms, ways[0], names[0])
    ordered, ranks = _sort_by_front(arms, direction)
    columns = [
        {r.result.trial: r for r in _judged([a.judged_by(k) for a in ordered], way, name)}
        for k, (way, name) in enumerate(zip(ways, names if len(names) == len(ways) else [""] * len(ways), strict=True))
    ]
    return [
        replace(
            columns[0][arm.trial], result=arm, rank=ranks[i] if i < len(ranks) else None, verdict="", note=_note(arm),
            others=tuple(replace(c[arm.trial], rank=None, verdict="") for c in columns[1:]),
        )
        for i, arm in enumerate(ordered)
    ]  # fmt: skip


def standings(arms: Sequence[ArmResult], *, direction: Directions) -> list[Row]:
    """The leaderboard without intervals: cheap enough for an update every second."""
    ways = each(direction)
    if len(ways) == 1:
        return _judged(arms, ways[0], "", intervals=False)
    ordered, ranks = _sort_by_front(arms, direction)
    rows: list[Row] = []
    for i, arm in enumerate(ordered):
        found = [_plain(arm.judged_by(k)) for k in range(len(ways))]
        rank = ranks[i] if i < len(ranks) else None
        rows.append(replace(found[0], result=arm, rank=rank, others=tuple(found[1:]), note=_note(arm)))
    return rows


# ------------------------------------------------------------------ one objective
def _judged(arms: Sequence[ArmResult], direction: str, metric: str, *, intervals: bool = True) -> list[Row]:
    import numpy as np

    from initlab.statistics.judgement import judge, order_of, verdict

    sign = 1.0 if direction == "maximize" else -1.0
    table, known, floor = _table(arms, sign)
    order = order_of(table, [f"{a.name} {a.trial:09}" for a in arms])
    able = [i for i in order if np.isfinite(table[i]).any()]
    rest = sorted((a for i, a in enumerate(arms) if i not in set(able)), key=lambda a: (ORDER.index(a.state), a.trial))
    found: Judgement | None = None
    if able and intervals:
        found = judge(table[able], floor=floor, known=known[able], thorough=False)
    low, high = (0.0, 1.0) if metric.endswith("accuracy") else (-math.inf, math.inf)
    rows: list[Row] = []
    for k, i in enumerate(able):
        own = table[i][np.isfinite(table[i])] * sign
        row = Row(
            result=arms[i],
            rank=k + 1,
            mean=float(own.mean()),
            seeds=len(own) if arms[i].replicas else 0,
            note=_note(arms[i]),
        )
        if found is not None:
            ends = sorted(float(np.clip(e[k] * sign, low, high)) for e in (found.intervals.low, found.intervals.high))
            row = replace(
                row, low=ends[0], high=ends[1], failed=int(found.intervals.failed[k].sum()),
                verdict=verdict(first=k == 0, in_best_set=found.in_best_set(k)),
            )  # fmt: skip
        rows.append(row)
    return [*rows, *(_plain(a) for a in rest)]


def _table(arms: Sequence[ArmResult], sign: float) -> tuple[NDArray[np.float64], NDArray[np.bool_], float]:
    """Arms × seeds, more is better: which of them diverged, and the value before training."""
    import numpy as np

    seeds = sorted({r.seed for a in arms for r in a.replicas})
    at = {s: k for k, s in enumerate(seeds)}
    table = np.full((len(arms), max(1, len(seeds))), math.nan)
    known = np.zeros(table.shape, bool)
    for i, arm in enumerate(arms):
        if arm.state not in ENDED:
            continue
        for r in arm.replicas:
            if r.status in ("finished", "stopped") and r.value is not None and math.isfinite(r.value):
                table[i, at[r.seed]] = sign * r.value
        if not arm.replicas and arm.state == "complete" and arm.finite is not None:
            table[i, 0] = sign * arm.finite
    starts = [r.start for a in arms for r in a.replicas if r.start is not None and math.isfinite(r.start)]
    floor = sign * median(starts) if starts else math.nan
    stand_in = floor if math.isfinite(floor) else float(np.nanmin(table)) if np.isfinite(table).any() else math.nan
    for i, arm in enumerate(arms):
        for r in arm.replicas:
            missed = r.status in ("finished", "stopped") and r.value is None  # a target that it did not reach
            if arm.state in ENDED and (r.status == "diverged" or missed):
                table[i, at[r.seed]], known[i, at[r.seed]] = stand_in, True
    return table, known & np.isfinite(table), floor


def _plain(arm: ArmResult) -> Row:
    values = arm.by_seed()
    mean = fmean(values.values()) if values else math.nan if arm.finite is None else arm.finite
    return Row(result=arm, rank=None, mean=mean, seeds=len(values), note=_note(arm))


# ------------------------------------------------------------------ several objectives
def _sort_by_front(arms: Sequence[ArmResult], direction: Directions) -> tuple[list[ArmResult], list[int]]:
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
    found = fronts([a.values for a in ranked], ways)
    order = sorted(range(len(ranked)), key=found.__getitem__)  # keeps the order by the first within a front
    return [*(ranked[i] for i in order), *rest], [found[i] for i in order]


# ------------------------------------------------------------------ pieces
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
