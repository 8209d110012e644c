"""Pareto front: the first objective against each other one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from initlab.report.charts import Figure, Line, Panel, Scale, lines_panel
from initlab.study.results.figures.choices import objective_of
from initlab.study.results.figures.labels import metric_label
from initlab.study.results.figures.scales import better, is_logarithmic
from initlab.study.search.arms import ArmResult
from initlab.study.space.objectives import Direction, fronts

#: number of arms of a front that are labelled with their trial number
_NUMBERED = 25


def pareto(arms: Sequence[ArmResult], *, metrics: Sequence[str], directions: Sequence[Direction]) -> Figure | None:
    """The first objective against each other one, one mark an arm; arms on the front are filled and numbered by trial.

    With two objectives a staircase bounds the dominated region. None where no arm has all objectives.
    """
    done = sorted((a for a in arms if objective_of(a) is not None and a.values), key=lambda a: a.trial)
    if not done or len(metrics) < 2:
        return None
    panels: list[Panel] = []
    for k in range(1, len(metrics)):
        x, y = (_scale([a.values[i] for a in done], directions[i]) for i in (k, 0))
        panels.append(
            lines_panel(
                front_lines(done, k, directions), x=x, y=y, height=270,
                x_label=f"{metric_label(metrics[k])}, {better(directions[k])} is better",
                y_label=f"{metric_label(metrics[0])}, {better(directions[0])} is better",
            )
        )  # fmt: skip
    best = sum(r == 1 for r in fronts([a.values for a in done], directions))
    reading = (
        f"{best} of {len(done)} arms on the front (filled, with trial number):"
        " no other arm is as good in all objectives and better in one."
    )
    return Figure("The front", tuple(panels), reading)


def front_lines(done: Sequence[ArmResult], k: int, directions: Sequence[Direction]) -> list[Line]:
    """The series of a panel: the rest, the staircase of the front, and its arms, objective `k` across and 0 up."""
    rank = fronts([a.values for a in done], directions)
    best = [a for a, r in zip(done, rank, strict=True) if r == 1]
    rest = [(a.values[k], a.values[0]) for a, r in zip(done, rank, strict=True) if r > 1]
    lines: list[Line] = []
    if rest:
        lines.append(Line(label="another is as good in all", points=rest, mark="ring", joined=False, colour=8))
    if len(directions) == 2 and len(best) > 1:
        lines.append(Line(label="", points=_stairs(sorted((a.values[k], a.values[0]) for a in best), directions[1])))
    marks = [(a.values[k], a.values[0]) for a in best]
    texts = [str(a.trial) for a in best[:_NUMBERED]] + [""] * max(0, len(best) - _NUMBERED)
    lines.append(Line(label="on the front, with trial number", points=marks, mark="dot", joined=False, texts=texts))
    return lines


def _stairs(points: Sequence[tuple[float, float]], direction: Direction) -> list[tuple[float, float]]:
    """A staircase through points in ascending order: the step lies where the cost is the worse."""
    found = [points[0]]
    for (x0, y0), (x1, y1) in pairwise(points):
        # an arm is at least as good up to the next one's cost
        found += [(x1, y0) if direction == "minimize" else (x0, y1), (x1, y1)]
    return found


def _scale(values: Sequence[float], direction: Direction) -> Scale:
    return Scale.of(values, log=is_logarithmic(min(values), max(values), direction), margin=0.08)
