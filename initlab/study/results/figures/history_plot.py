"""Optimisation history: the objective by trial number, with the best so far."""

from __future__ import annotations

from collections.abc import Sequence

from initlab.report.charts import Figure, Line, Scale, lines_panel
from initlab.study.results.figures.choices import objective_of
from initlab.study.results.figures.labels import metric_label
from initlab.study.results.figures.scales import bulk, is_logarithmic
from initlab.study.search.arms import ArmResult
from initlab.study.space.objectives import Direction


def history(arms: Sequence[ArmResult], *, metric: str, direction: Direction) -> Figure | None:
    """Objective of each arm by trial number with the best so far; arms that were pruned or failed at the lower edge.

    A bar through a dot reaches from the worst to the best seed. None where no arm has ended.
    """
    lines, y = history_lines(arms, direction)
    if not lines:
        return None
    last = max(a.trial for a in arms)
    panel = lines_panel(
        lines, x_label="trial number", y_label=metric_label(metric), x=Scale(-0.5, last + 0.5), y=y, height=230,
        whole=True,
    )  # fmt: skip
    reading = "Each arm by trial number, with the range over its seeds, and the best so far."
    return Figure("Optimisation history", (panel,), reading)


def history_lines(arms: Sequence[ArmResult], direction: Direction) -> tuple[list[Line], Scale]:
    """The series of the history, and the scale of the objective; marks beyond the bulk lie at its edges."""
    done = sorted((a for a in arms if objective_of(a) is not None), key=lambda a: a.trial)
    lost = {s: sorted(a.trial for a in arms if a.state == s) for s in ("pruned", "failed")}
    lines: list[Line] = []
    y = Scale(0.0, 1.0)
    if done:
        points = [(float(a.trial), v) for a in done if (v := objective_of(a)) is not None]
        low, high = bulk([v for _, v in points])
        spread = {a.trial: list(a.by_seed().values()) for a in done if len(a.by_seed()) > 1}
        ends = bulk([v for _, v in points] + [v for values in spread.values() for v in (min(values), max(values))])
        y = Scale.of([low, high, *ends], log=is_logarithmic(low, high, direction), margin=0.1)
        lines.append(_best_so_far(points, max(a.trial for a in arms), direction))
        lines += [
            Line(label="range over seeds" if k == 0 else "", points=[(t, max(min(v), y.low)), (t, min(max(v), y.high))])
            for k, (t, v) in enumerate(spread.items())
        ]
        lines.append(
            Line(label="complete", points=[p for p in points if low <= p[1] <= high], mark="dot", joined=False)
        )
        lines += [
            Line(label=words, points=[(t, edge) for t, v in points if beyond(v)], mark="ring", joined=False)
            for words, edge, beyond in (
                ("far above", y.high, lambda v: v > high),
                ("far below", y.low, lambda v: v < low),
            )
            if any(beyond(v) for _, v in points)
        ]
    lines += [
        Line(label=state, points=[(float(t), y.low) for t in where], mark="cross", joined=False, colour=colour)
        for (state, where), colour in zip(lost.items(), (4, 7), strict=True)
        if where
    ]
    return lines, y


def _best_so_far(points: Sequence[tuple[float, float]], last: int, direction: Direction) -> Line:
    """A staircase through the best of the arms up to each one."""
    pick = max if direction == "maximize" else min
    stairs, best = [points[0]], points[0][1]
    for trial, value in points[1:]:
        stairs.append((trial, best))
        if pick(best, value) != best:
            best = value
            stairs.append((trial, best))
    return Line(label="best so far", points=[*stairs, (float(last), best)], colour=1)
