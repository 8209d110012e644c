"""Figures of the coordinate check and of learning-rate transfer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from initlab.report.charts import Band, Figure, Line, Panel, Scale, lines_panel

if TYPE_CHECKING:
    from initlab.scaling.coordinate_check import CoordinateCheck
    from initlab.scaling.slopes import ModuleSlope
    from initlab.scaling.transfer import Transfer

#: activations that have a line of their own; of many, the output, attention, and those of the steepest slopes
_LINES = 8


def movement_figure(check: CoordinateCheck) -> Figure:
    """Movement against size on logarithmic axes, and every slope with its interval."""
    sizes = [math.log2(n) for n in check.sizes]
    shown = _chosen(check.modules)
    lines = [
        Line(
            label=m.name, colour=k % 8, mark="dot",
            points=[(x, v if math.isfinite(v) and v > 0 else math.nan) for x, v in zip(sizes, m.moved, strict=True)],
        )
        for k, m in enumerate(shown)
    ]  # fmt: skip
    values = [v for line in lines for _, v in line.points if math.isfinite(v)]
    panels: list[Panel] = [
        lines_panel(
            lines, x_label=f"log2 of the {check.axis}", y_label=f"mean|x({check.steps}) - x(0)|",
            y=Scale.of(values, log=True, decades=1.0) if values else None, whole=True,
        )
    ]  # fmt: skip
    judged = [m for m in check.modules if math.isfinite(m.slope.mean)]
    if judged:
        panels.append(_slopes_panel(judged))
    return Figure(
        f"Movement of activations by {check.axis} after {check.steps} steps", tuple(panels),
        "Level lines, slopes near 0: every activation moves alike at every size, so that the learning rate carries "
        "over. "
        "Dotted: slopes of 0.3 in size, from which an activation fails.",
    )  # fmt: skip


def _slopes_panel(judged: list[ModuleSlope]) -> Panel:
    names = [m.name for m in judged]
    last = len(judged) - 1
    lines: list[Line] = []
    for verdict, colour in (("pass", 2), ("undecided", 1), ("fail", 3)):
        points = [(m.slope.mean, float(last - k)) for k, m in enumerate(judged) if m.verdict == verdict]
        if points:
            lines.append(Line(label=verdict, colour=colour, mark="dot", joined=False, points=points))
    for k, m in enumerate(judged):
        if math.isfinite(m.slope.low):
            ends = [(max(-3.0, m.slope.low), float(last - k)), (min(3.0, m.slope.high), float(last - k))]
            lines.append(Line(label="", colour=8, points=ends))
    every = [p[0] for line in lines for p in line.points]
    x = Scale.of([*every, -0.35, 0.35], margin=0.04)
    bands = [Band(label="0.3 in size" if v < 0 else "", low=v, high=v, across="x") for v in (-0.3, 0.3)]
    return lines_panel(
        lines, x_label="slope, with its 95 % interval", y_label="", x=x, bands=bands, names=names,
        height=max(120.0, 58 + 14.0 * len(names)),
    )  # fmt: skip


def _chosen(modules: tuple[ModuleSlope, ...]) -> list[ModuleSlope]:
    finite = [m for m in modules if any(math.isfinite(v) and v > 0 for v in m.moved)]
    if len(finite) <= _LINES:
        return finite

    def rank(m: ModuleSlope) -> tuple[bool, float]:
        return m.kind != "logits", -abs(m.slope.mean) if math.isfinite(m.slope.mean) else -9.0

    best = sorted(finite, key=rank)[:_LINES]
    return [m for m in finite if m in best]


def transfer_figure(transfer: Transfer) -> Figure:
    """Loss against learning rate, a line for each size, and the optimum by size with its uncertainty."""
    sizes = transfer.grid.sizes
    losses = [
        Line(
            label=f"{transfer.grid.axis} {size}", colour=k % 8, mark="dot",
            points=[(math.log2(lr), v) for lr, v in zip(transfer.grid.lrs, row, strict=True)],
        )
        for k, (size, row) in enumerate(zip(sizes, transfer.means, strict=True))
    ]  # fmt: skip
    known = [v for line in losses for _, v in line.points if math.isfinite(v)]
    top = min(known) + 3 * (sorted(known)[len(known) // 2] - min(known)) if known else 1.0
    y = Scale.of([v for v in known if v <= top] or [0.0, 1.0])
    optimum = [
        (math.log2(n), o.log2_lr) for n, o in zip(sizes, transfer.optima, strict=True) if math.isfinite(o.log2_lr)
    ]
    halves = [o.half_width if math.isfinite(o.half_width) else 0.0 for o in transfer.optima if math.isfinite(o.log2_lr)]
    spread = [(at - half, at + half) for (_, at), half in zip(optimum, halves, strict=True)]
    panels = (
        lines_panel(losses, x_label="log2 of the learning rate", y_label=transfer.grid.metric, y=y),
        lines_panel(
            [Line(label="best learning rate", points=optimum, ends=spread, mark="dot")],
            x_label=f"log2 of the {transfer.grid.axis}", y_label="log2 of the best learning rate", whole=True,
        ),
    )  # fmt: skip
    return Figure(
        f"Loss by learning rate and {transfer.grid.axis}", panels,
        "Left: the lowest points lie above one another where the learning rate carries over. Right: their place, with "
        "the 95 % interval over seeds.",
    )  # fmt: skip
