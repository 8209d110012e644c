"""Figures of a network before training: theory as lines, measurement as dots, by layer; and the grid of a sweep."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from initlab.report.charts import Figure, Line, Panel, Scale, lines_panel, matrix_panel
from initlab.spec import Prediction, Profile

if TYPE_CHECKING:
    from initlab.probes import Snapshot

#: statistic → (axis label, logarithmic, range of the axis)
_PANELS: dict[str, tuple[str, bool, tuple[float, float] | None]] = {
    "q": ("mean square of the pre-activation h", True, None),
    "log10_gradient": ("squared gradient ‖∂E/∂h‖², last layer = 1", True, None),
    "c": ("correlation of two inputs", False, (-0.02, 1.02)),
    "saturated": ("share of saturated units", False, (-0.02, 1.02)),
}
_READING = (
    "Level lines are healthy. A mean square or gradient that falls or rises by a constant factor a layer vanishes or "
    "explodes with depth; a correlation that reaches 1 means that the network no longer tells its inputs apart."
)


def inspection_figure(prediction: Prediction, seen: Snapshot) -> Figure | None:
    """Theory and measurement by layer, of an inspection."""
    return predicted_and_measured(
        {
            f"{source}_{key}": [(r.order, float(getattr(r, key))) for r in rows]
            for source, rows in (("predicted", prediction.layers), ("measured", seen.layers))
            for key in _PANELS
        }
    )


def figure_from_profile(profile: Profile) -> Figure | None:
    """The same figure from the profile of a training run, step 0."""
    series: dict[str, list[tuple[int, float]]] = {}
    for row in profile.rows:
        if row.statistic.startswith(("predicted_", "measured_")) and row.site:
            series.setdefault(row.statistic, []).append((row.order, row.value))
    return predicted_and_measured(series)


def predicted_and_measured(series: Mapping[str, Sequence[tuple[int, float]]]) -> Figure | None:
    """Four panels over the hidden layers. None where there are fewer than two layers."""
    if max((len(v) for v in series.values()), default=0) < 2:
        return None
    panels: list[Panel] = []
    for key, (label, log, ends) in _PANELS.items():
        lines: list[Line] = []
        for source, words, colour in (("predicted", "theory", 0), ("measured", "measured on one batch", 1)):
            points = sorted(series.get(f"{source}_{key}", ()))
            values = [_shown(v) if key == "log10_gradient" else v for _, v in points]
            lines.append(
                Line(
                    label=words, colour=colour, joined=source == "predicted",
                    mark="dot" if source == "measured" else "",
                    points=[(i + 1.0, v) for i, v in enumerate(values)],
                )
            )  # fmt: skip
        values = [v for line in lines for _, v in line.points]
        y = Scale.of(values, log=log, decades=2.0)
        if ends is not None:
            y = Scale(min([ends[0], *(v - 0.05 for v in values if v < 0)]), ends[1])
        panels.append(lines_panel(lines, x_label="hidden layer", y_label=label, y=y))
    return Figure("Signal and gradient by layer before training: theory and measurement", tuple(panels), _READING)


def _shown(log10: float) -> float:
    """The value of a base-10 logarithm, within what an axis can show."""
    return 10.0 ** max(-45.0, min(45.0, log10)) if math.isfinite(log10) else math.nan


def sweep_figure(cells: Sequence[Mapping[str, Any]], axes: Sequence[str]) -> Figure:
    """The score of every combination: first axis in rows, second in columns, one panel for each of the rest."""
    rows = list(dict.fromkeys(str(c[axes[0]]) for c in cells))
    across = axes[1] if len(axes) > 1 else ""
    columns = list(dict.fromkeys(str(c[across]) for c in cells)) if across else [""]
    further = axes[2:]
    panels: list[Panel] = []
    for rest in dict.fromkeys(tuple(str(c[k]) for k in further) for c in cells):
        scores = {
            (str(c[axes[0]]), str(c[across]) if across else ""): float(c["score"])
            for c in cells
            if tuple(str(c[k]) for k in further) == rest
        }
        values = [[scores.get((row, column), math.nan) for column in columns] for row in rows]
        table = [[(v, "–" if math.isnan(v) else f"{v:.2f}", False) for v in line] for line in values]
        where = ", ".join(f"{k}={v}" for k, v in zip(further, rest, strict=True))
        panels.append(
            matrix_panel(
                rows, columns, table, scale=Scale(0.0, 1.0), row_label=axes[0], x_label=across,
                label=f"probability that it trains{f', {where}' if where else ''}",
            )
        )  # fmt: skip
    return Figure("Probability that each combination trains", tuple(panels), "Grey: the combination was refused.")
