"""Figures of an inspection: theory as lines, measurement as dots, by layer; and the heat map of a sweep."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from initlab.report.drawing import COLOURS, axes_grid, to_png
from initlab.spec import Outlook, Prediction, Profile

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from initlab.probes import Snapshot

#: statistic → (axis label, logarithmic)
_PANELS: dict[str, tuple[str, bool]] = {
    "q": ("mean square of h", True),
    "c": ("correlation of two inputs", False),
    "log10_gradient": ("log10 ‖∂E/∂h‖² relative to the last layer", False),
    "saturated": ("share of saturated units", False),
}


def write_inspection(
    prediction: Prediction, seen: Snapshot, folder: Path, *, name: str, outlook: Outlook
) -> tuple[Path, ...]:
    """Write `predicted_and_measured.png` below `folder`."""
    series = {
        f"{source}_{key}": [(r.order, float(getattr(r, key))) for r in rows]
        for source, rows in (("predicted", prediction.layers), ("measured", seen.layers))
        for key in _PANELS
    }
    figure = predicted_and_measured(series, name=f"{name}: {outlook.verdict} ({outlook.figure})")
    if figure is None:
        return ()
    path = folder / "predicted_and_measured.png"
    path.write_bytes(to_png(figure))
    return (path,)


def figure_from_profile(profile: Profile, *, name: str) -> Figure | None:
    """The same figure from the profile of a training run, step 0."""
    series: dict[str, list[tuple[int, float]]] = {}
    for row in profile.rows:
        if row.statistic.startswith(("predicted_", "measured_")) and row.site:
            series.setdefault(row.statistic, []).append((row.order, row.value))
    return predicted_and_measured(series, name=f"{name}: before training")


def predicted_and_measured(series: Mapping[str, Sequence[tuple[int, float]]], *, name: str) -> Figure | None:
    """Four panels over the hidden layers. None where there are fewer than two layers."""
    if max((len(v) for v in series.values()), default=0) < 2:
        return None
    figure, axes = axes_grid(2, 2, width=9.5, height=6.0)
    for axis, (key, (label, logarithmic)) in zip(axes, _PANELS.items(), strict=True):
        for source, style in (("predicted", "-"), ("measured", "o")):
            points = sorted(series.get(f"{source}_{key}", ()))
            values = [v if _drawable(v, logarithmic) else math.nan for _, v in points]
            colour = COLOURS[0] if source == "predicted" else COLOURS[1]
            text = "theory" if source == "predicted" else "measured on one batch"
            axis.plot(range(1, len(values) + 1), values, style, color=colour, label=text, markersize=4, linewidth=1.6)
        if logarithmic:
            axis.set_yscale("log")
        if key == "saturated":  # a share, also where it is next to nothing
            axis.set_ylim(-0.03, 1.03)
        axis.set_xlabel("hidden layer")
        axis.set_ylabel(label)
        axis.grid(alpha=0.25)
    axes[0].legend(frameon=False, fontsize=8)
    figure.suptitle(name, fontsize=10)
    return figure


def _drawable(value: float, logarithmic: bool) -> bool:
    """Whether an axis can show it: the ticks of numbers beyond 1e±100 overflow."""
    return math.isfinite(value) and abs(value) < 1e100 and (value > 1e-100 or not logarithmic)


def write_sweep(cells: Sequence[Mapping[str, Any]], axes: Sequence[str], folder: Path) -> tuple[Path, ...]:
    """Write `sweep.png`: the score of every combination, first axis in rows, second in columns, one panel per rest."""
    rows = list(dict.fromkeys(str(c[axes[0]]) for c in cells))
    across = axes[1] if len(axes) > 1 else None
    columns = list(dict.fromkeys(str(c[across]) for c in cells)) if across else [""]
    further = axes[2:]
    rests = list(dict.fromkeys(tuple(str(c[k]) for k in further) for c in cells))
    wide = min(3, len(rests))
    tall = -(-len(rests) // wide)
    figure, panels = axes_grid(
        tall, wide, width=max(4.5, (1.2 + 0.75 * len(columns)) * wide), height=(1.6 + 0.42 * len(rows)) * tall
    )
    mesh = None
    for panel, rest in zip(panels, rests, strict=False):
        values = [[math.nan] * len(columns) for _ in rows]
        for cell in cells:
            if tuple(str(cell[k]) for k in further) == rest:
                column = columns.index(str(cell[across])) if across else 0
                values[rows.index(str(cell[axes[0]]))][column] = float(cell["score"])
        mesh = panel.imshow(values, vmin=0, vmax=1, cmap="viridis", aspect="auto")
        panel.set_facecolor("#d9d9d9")  # refused combinations
        for i, line in enumerate(values):
            for j, value in enumerate(line):
                text = "–" if math.isnan(value) else f"{value:.2f}"
                dark = not math.isnan(value) and value < 0.6
                panel.text(j, i, text, ha="center", va="center", fontsize=7, color="white" if dark else "black")
        panel.set_xticks(range(len(columns)), columns, rotation=30, ha="right", fontsize=8)
        panel.set_yticks(range(len(rows)), rows, fontsize=8)
        panel.set_title(", ".join(f"{k}={v}" for k, v in zip(further, rest, strict=True)), fontsize=8)
    for panel in panels[len(rests) :]:
        panel.set_visible(False)
    if mesh is not None:
        figure.colorbar(mesh, ax=panels, label="probability that it trains", shrink=0.8)
    path = folder / "sweep.png"
    path.write_bytes(to_png(figure))
    return (path,)
