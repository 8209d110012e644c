"""Pareto front: the first objective against each other one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from initlab.report.drawing import COLOURS, GREY, axes_grid
from initlab.study.results.figures.choices import objective_of
from initlab.study.results.figures.labels import metric_label, short
from initlab.study.results.figures.scales import is_logarithmic
from initlab.study.search.arms import ArmResult
from initlab.study.space.objectives import Direction, fronts

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: number of arms of a front that are labelled with their trial number
_NUMBERED = 25


def pareto(
    arms: Sequence[ArmResult], *, metrics: Sequence[str], directions: Sequence[Direction], name: str = "study"
) -> Figure | None:
    """The first objective against each other one, one mark an arm; arms on the front are filled and numbered by trial.

    With two objectives a staircase bounds the dominated region. None where no arm has all objectives.
    """
    done = sorted((a for a in arms if objective_of(a) is not None and a.values), key=lambda a: a.trial)
    if not done or len(metrics) < 2:
        return None
    rank = fronts([a.values for a in done], directions)
    best = [a for a, r in zip(done, rank, strict=True) if r == 1]
    rest = [a for a, r in zip(done, rank, strict=True) if r > 1]
    others = range(1, len(metrics))
    figure, axes = axes_grid(1, len(others), width=min(18.0, 1.6 + 4.6 * len(others)), height=4.6)
    for axis, k in zip(axes, others, strict=True):
        if rest:
            axis.plot(
                [a.values[k] for a in rest], [a.values[0] for a in rest], "o", color=GREY, markersize=5,
                markerfacecolor="none", label="another is as good in all, or better",
            )  # fmt: skip
        stairs = sorted((a.values[k], a.values[0]) for a in best)
        if len(metrics) == 2 and len(best) > 1:
            # an arm is at least as good up to the next one's cost: the step lies where the cost is the worse
            where = "post" if directions[1] == "minimize" else "pre"
            axis.step(*zip(*stairs, strict=True), where=where, color=COLOURS[0], linewidth=1.0, alpha=0.6)
        axis.plot(
            [a.values[k] for a in best], [a.values[0] for a in best], "o", color=COLOURS[0], markersize=7,
            label="on the front, with trial number",
        )  # fmt: skip
        for arm in best[:_NUMBERED]:
            axis.annotate(
                str(arm.trial), (arm.values[k], arm.values[0]), xytext=(5, 5), textcoords="offset points", fontsize=8
            )
        for which, scale in ((k, axis.set_xscale), (0, axis.set_yscale)):
            values = [a.values[which] for a in done]
            if is_logarithmic(min(values), max(values), directions[which]):
                scale("log")
        axis.margins(0.08)
        axis.set_xlabel(f"{metric_label(metrics[k])}, {_better(directions[k])} is better")
        axis.set_ylabel(f"{metric_label(metrics[0])}, {_better(directions[0])} is better")
        axis.grid(alpha=0.25)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    figure.suptitle(f"{short(name)}: {len(best)} of {len(done)} arms on the front", fontsize=10)
    return figure


# ------------------------------------------------------------------ pieces
def _better(direction: Direction) -> str:
    return "more" if direction == "maximize" else "less"
