"""Heat map of the objective by two keys."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from initlab.report.drawing import axes_grid
from initlab.study.results.figures.choices import as_numbers, objective_of, options_of
from initlab.study.results.figures.labels import metric_label, short
from initlab.study.results.figures.scales import colour_scale, palette_of
from initlab.study.search.arms import ArmResult, varying
from initlab.study.space.objectives import Direction

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: maximum number of numeric values of a key that is still treated as a choice in a heat map
_CHOICES = 12

#: maximum number of rows and of columns of a heat map with numbers in its cells
_ANNOTATED = 16

_EMPTY_COLOUR = "#d9d9d9"


def heat_map(
    arms: Sequence[ArmResult],
    rows_key: str | None = None,
    columns_key: str | None = None,
    *,
    metric: str,
    direction: Direction = "maximize",
    name: str = "study",
) -> Figure | None:
    """Mean objective of the complete arms by two keys, one down and one across; grey where there is none.

    Without keys these are init and activation where both are swept, else the two keys with the most options. None where
    fewer than two keys are swept, or no arm has an objective.
    """
    import numpy as np

    keys = heat_map_keys(arms) if rows_key is None or columns_key is None else (rows_key, columns_key)
    if keys is None:
        return None
    down, across = keys
    placed = sorted((a for a in arms if down in a.choices and across in a.choices), key=lambda a: a.trial)
    cells: dict[tuple[str, str], list[ArmResult]] = {}
    for arm in placed:
        cells.setdefault((arm.choices[down], arm.choices[across]), []).append(arm)
    lines, columns = (options_of(a.choices[k] for a in placed) for k in keys)
    grid = np.full((len(lines), len(columns)), np.nan)
    counted = np.zeros(grid.shape, dtype=int)
    for (line, column), held in cells.items():
        values = [v for a in held if (v := objective_of(a)) is not None]
        if values:
            at = lines.index(line), columns.index(column)
            grid[at], counted[at] = fmean(values), len(values)
    known = grid[np.isfinite(grid)]
    if not known.size:
        return None
    scale, extend = colour_scale([float(v) for v in known], direction)
    figure, (axis,) = axes_grid(
        1, 1, width=min(16.0, 3.2 + 0.85 * len(columns)), height=min(12.0, max(3.6, 1.7 + 0.42 * len(lines)))
    )
    axis.set_facecolor(_EMPTY_COLOUR)
    mesh = axis.pcolormesh(
        np.arange(len(columns) + 1), np.arange(len(lines) + 1), np.ma.masked_invalid(grid), cmap=palette_of(direction),
        norm=scale, edgecolors="white", linewidth=0.8,
    )  # fmt: skip
    if max(len(lines), len(columns)) <= _ANNOTATED:
        for i, line in enumerate(lines):
            for j, column in enumerate(columns):
                dark = math.isfinite(grid[i, j]) and _luminance(mesh.cmap(mesh.norm(grid[i, j]))) < 0.4
                text = _cell_text(float(grid[i, j]), int(counted[i, j]), cells.get((line, column), ()))
                colour = "white" if dark else "black"
                axis.text(j + 0.5, i + 0.5, text, ha="center", va="center", fontsize=7.5, color=colour)
    _labels(axis.xaxis, columns)
    _labels(axis.yaxis, lines)
    if sum(len(c) for c in columns) > 9 * len(columns) or max(len(c) for c in columns) > 12:
        axis.tick_params(axis="x", labelrotation=40)
        for label in axis.get_xticklabels():
            label.set_horizontalalignment("right")
            label.set_rotation_mode("anchor")
    axis.tick_params(length=0)
    axis.invert_yaxis()
    axis.set_xlabel(short(across))
    axis.set_ylabel(short(down))
    figure.colorbar(mesh, ax=axis, label=f"mean {metric_label(metric)}", pad=0.02, extend=extend)
    figure.suptitle(short(name), fontsize=10)
    return figure


def heat_map_keys(arms: Sequence[ArmResult]) -> tuple[str, str] | None:
    """The two keys of the heat map where none are named; None where fewer than two are choices among a few values."""
    options = {key: options_of(a.choices[key] for a in arms if key in a.choices) for key in varying(arms)}
    few = [k for k, values in options.items() if len(values) <= _CHOICES or as_numbers(values) is None]
    if "init" in few and "activation" in few:
        return "init", "activation"
    # the sort keeps the order of the keys among equals
    first = sorted(few, key=lambda k: -len(options[k]))[:2]
    return (first[0], first[1]) if len(first) == 2 else None


# ------------------------------------------------------------------ pieces
def _luminance(colour: Sequence[float]) -> float:
    r, g, b = colour[:3]
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def _cell_text(value: float, counted: int, held: Sequence[ArmResult]) -> str:
    """Text of a cell: its mean and number of arms, or the states of its arms where there is no mean."""
    if not math.isfinite(value):
        return "\n".join(dict.fromkeys("no number" if a.state == "complete" else a.state for a in held))
    text = f"{value:.3f}" if 1e-2 <= abs(value) < 1e3 or value == 0 else f"{value:.1e}"
    return f"{text}\n(n={counted})" if len(held) > 1 else text


def _labels(axis: Any, names: Sequence[str]) -> None:
    # of very many labels only every n-th is drawn, since overlapping labels cannot be read
    every = -(-len(names) // 40)
    where = range(0, len(names), every)
    axis.set_ticks([i + 0.5 for i in where], [short(names[i]) for i in where], fontsize=8)
