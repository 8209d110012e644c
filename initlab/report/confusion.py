"""Confusion matrix as a figure, and recall by class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from initlab.report.drawing import axes_grid

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: with more classes the cells hold no numbers, and the axes only some names
_LEGIBLE = 20


def recall(confusion: Sequence[Sequence[int]], class_names: Sequence[str]) -> dict[str, float]:
    """Recall by class: share of the class's examples answered rightly; classes without examples are left out."""
    return {
        name: row[i] / sum(row) for i, (name, row) in enumerate(zip(class_names, confusion, strict=True)) if sum(row)
    }


def confusion_matrix(confusion: Sequence[Sequence[int]], class_names: Sequence[str], *, name: str) -> Figure:
    """Rows are true classes, columns answers; colour is the share of the row, numbers are counts."""
    import numpy as np

    counts = np.array(confusion, dtype=float)
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    n = len(class_names)
    side = min(9.0, max(4.0, 2.0 + 0.32 * n))
    figure, (axis,) = axes_grid(1, 1, width=side + 0.8, height=side)
    mesh = axis.imshow(share, vmin=0, vmax=1, cmap="Blues")
    shown = np.unique(np.linspace(0, n - 1, min(n, _LEGIBLE)).astype(int))
    axis.set_xticks(shown, [class_names[i] for i in shown], rotation=60, ha="right", fontsize=7)
    axis.set_yticks(shown, [class_names[i] for i in shown], fontsize=7)
    if n <= _LEGIBLE:
        for i in range(n):
            for j in range(n):
                if counts[i, j]:
                    colour = "white" if share[i, j] > 0.55 else "black"
                    axis.text(j, i, f"{counts[i, j]:.0f}", ha="center", va="center", fontsize=7, color=colour)
    axis.set_xlabel("answer")
    axis.set_ylabel("true class")
    figure.colorbar(mesh, ax=axis, label="share of the true class", shrink=0.8)
    figure.suptitle(f"{name}: test part", fontsize=10)
    return figure
