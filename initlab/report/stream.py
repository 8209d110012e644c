"""Figures of a transformer before training: its stream block by block, and the border of collapse over a sweep."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from initlab.report.charts import Band, Figure, Line, Panel, Scale, lines_panel, matrix_panel
from initlab.spec.stream import ENTROPY_COLLAPSE, RANK_COLLAPSE

#: statistic → (axis label, logarithmic, range of the axis, marked value)
_PANELS: dict[str, tuple[str, bool, tuple[float, float] | None, float | None]] = {
    "mean_square": ("mean square of the stream", True, None, None),
    "cosine": ("mean cosine of two tokens", False, (-0.02, 1.02), RANK_COLLAPSE),
    "entropy_ratio": ("entropy of attention over the largest", False, (-0.02, 1.02), ENTROPY_COLLAPSE),
    "gradient": ("squared gradient, last block = 1", True, None, None),
}
_READING = (
    "Level lines are healthy. Above the dotted line of the cosine the tokens are alike (rank collapse); below that of "
    "the entropy a token looks at one key (entropy collapse). Theory is that of the weights' actual scales."
)
#: what a cell of a sweep of transformers may show: key → label
SWEEP = {"token_cosine": "mean cosine of two tokens, last block", "attention_entropy": "least entropy of attention"}


def stream_figure(rows: Sequence[Mapping[str, Any]]) -> Figure | None:
    """Theory and measurement by block, from `StreamComparison.rows`; None for fewer than two blocks."""
    if len(rows) < 3:
        return None
    panels: list[Panel] = []
    for key, (label, log, ends, mark) in _PANELS.items():
        lines: list[Line] = []
        for source, words, colour in (("predicted", "theory", 0), ("measured", "measured on one batch", 1)):
            points = [(float(i), _shown(float(row[f"{source}_{key}"]), log=log)) for i, row in enumerate(rows)]
            lines.append(
                Line(
                    label=words, colour=colour, joined=source == "predicted",
                    mark="dot" if source == "measured" else "", points=points,
                )
            )  # fmt: skip
        values = [v for line in lines for _, v in line.points if math.isfinite(v)]
        if not values:
            continue
        y = Scale.of(values, log=log, decades=1.0) if ends is None else Scale(min(ends[0], *values), ends[1])
        bands = [Band(label="", low=mark, high=mark)] if mark is not None else []
        panels.append(lines_panel(lines, x_label="block", y_label=label, y=y, bands=bands))
    return Figure("Stream of tokens by block before training: theory and measurement", tuple(panels), _READING)


def stream_sweep_figure(cells: Sequence[Mapping[str, Any]], axes: Sequence[str]) -> Figure | None:
    """Predicted cosine and entropy over the first two axes of a sweep; None where no cell has them.

    A thick border lies between combinations for which collapse is predicted and those for which it is not.
    """
    known = [c for c in cells if any(math.isfinite(float(c.get(k, math.nan))) for k in SWEEP)]
    if not known:
        return None
    across = axes[1] if len(axes) > 1 else ""
    rows = list(dict.fromkeys(str(c[axes[0]]) for c in cells))
    columns = list(dict.fromkeys(str(c[across]) for c in cells)) if across else [""]
    panels: list[Panel] = []
    for rest in dict.fromkeys(tuple(str(c[k]) for k in axes[2:]) for c in cells):
        mine = [c for c in cells if tuple(str(c[k]) for k in axes[2:]) == rest]
        at = {(str(c[axes[0]]), str(c[across]) if across else ""): c for c in mine}
        where = "".join(f", {k}={v}" for k, v in zip(axes[2:], rest, strict=True))
        for key, label in SWEEP.items():
            values = [[float(at.get((r, c), {}).get(key, math.nan)) for c in columns] for r in rows]
            if not any(math.isfinite(v) for line in values for v in line):
                continue
            inside = [[collapses(key, v) for v in line] for line in values]
            table = [[(v, "–" if math.isnan(v) else f"{v:.2f}", collapses(key, v)) for v in line] for line in values]
            panels.append(
                matrix_panel(
                    rows, columns, table, scale=Scale(0.0, 1.0), row_label=axes[0], x_label=across,
                    label=f"{label}{where}", better="less" if key == "token_cosine" else "more", inside=inside,
                )
            )  # fmt: skip
    reading = (
        f"Thick border: where theory predicts collapse, a cosine above {RANK_COLLAPSE} or an entropy below"
        f" {ENTROPY_COLLAPSE}. Grey: theory does not cover the combination, or it was refused."
    )
    return Figure("Predicted collapse of rank and entropy", tuple(panels), reading)


def collapses(key: str, value: float) -> bool:
    """Whether a value of `SWEEP` means collapse."""
    return value > RANK_COLLAPSE if key == "token_cosine" else value < ENTROPY_COLLAPSE


def _shown(value: float, *, log: bool) -> float:
    if not log or not math.isfinite(value):
        return value
    return min(max(value, 1e-45), 1e45) if value > 0 else math.nan
