"""Optimisation history: the objective by trial number, with the best so far."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from initlab.report.drawing import COLOURS, axes_grid
from initlab.study.results.figures.choices import objective_of
from initlab.study.results.figures.labels import metric_label, short
from initlab.study.results.figures.scales import bulk, is_logarithmic
from initlab.study.search.arms import ArmResult
from initlab.study.space.objectives import Direction

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def history(arms: Sequence[ArmResult], *, metric: str, direction: Direction, name: str = "study") -> Figure | None:
    """Objective of each arm by trial number with the best so far; arms that were pruned or failed at the lower edge.

    A bar through a dot reaches from the worst to the best seed. None where no arm has ended.
    """
    done = sorted((a for a in arms if objective_of(a) is not None), key=lambda a: a.trial)
    lost = {s: sorted(a.trial for a in arms if a.state == s) for s in ("pruned", "failed")}
    if not done and not any(lost.values()):
        return None
    figure, (axis,) = axes_grid(1, 1, width=7.5, height=3.8)
    trials, values = [a.trial for a in done], [v for a in done if (v := objective_of(a)) is not None]
    if done:
        best = [values[0]]
        for value in values[1:]:
            best.append(max(best[-1], value) if direction == "maximize" else min(best[-1], value))
        last = max(a.trial for a in arms)
        axis.step(
            [*trials, last], [*best, best[-1]], where="post", color=COLOURS[1], linewidth=1.6, label="best so far"
        )
        spread = [(a.trial, a.by_seed().values()) for a in done if len(a.by_seed()) > 1]
        if spread:
            axis.vlines(
                [t for t, _ in spread], [min(v) for _, v in spread], [max(v) for _, v in spread],
                color=COLOURS[0], linewidth=1.0, alpha=0.45, label="range over seeds",
            )  # fmt: skip
        axis.plot(trials, values, "o", color=COLOURS[0], markersize=4, label="complete")
        low, high = bulk(values)
        if is_logarithmic(low, high, direction):
            axis.set_yscale("log")
        axis.margins(y=0.1)  # space for the marks at the lower edge
        far = [(t, v) for t, v in zip(trials, values, strict=True) if not low <= v <= high]
        if far:
            _frame(axis, low, high)
            for mark, y, where in (
                ("^", 0.975, [t for t, v in far if v > high]),
                ("v", 0.09, [t for t, v in far if v < low]),
            ):
                if where:
                    axis.plot(
                        where, [y] * len(where), mark, color=COLOURS[0], markersize=6, markerfacecolor="none",
                        transform=axis.get_xaxis_transform(), label="far above" if mark == "^" else "far below",
                    )  # fmt: skip
    else:
        axis.set_yticks([])
    edge = axis.get_xaxis_transform()  # x in trials, y from 0 to 1 over the height
    for (state, where), mark, colour in zip(lost.items(), ("x", "v"), (COLOURS[4], COLOURS[7]), strict=True):
        if where:
            axis.plot(where, [0.025] * len(where), mark, color=colour, markersize=5, transform=edge, label=state)
    axis.set_xlabel("trial number")
    axis.set_ylabel(metric_label(metric))
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.grid(alpha=0.25)
    figure.legend(*axis.get_legend_handles_labels(), loc="outside right upper", frameon=False, fontsize=8)
    figure.suptitle(f"{short(name)}: optimisation history", fontsize=10)
    return figure


# ------------------------------------------------------------------ pieces
def _frame(axis: Any, low: float, high: float) -> None:
    """Set the axis limits to `low` and `high`, plus a tenth on each side."""
    if axis.get_yscale() == "log":
        margin = (high / low) ** 0.1
        axis.set_ylim(low / margin, high * margin)
    else:
        margin = 0.1 * (high - low)
        axis.set_ylim(low - margin, high + margin)
