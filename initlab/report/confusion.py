"""Confusion matrix as a figure, and recall by class."""

from __future__ import annotations

from collections.abc import Sequence

from initlab.report.charts import Figure, Scale, grid_panel, matrix_panel

#: with more classes the cells hold no numbers, and the axes only some names
_LEGIBLE = 20


def recall(confusion: Sequence[Sequence[int]], class_names: Sequence[str]) -> dict[str, float]:
    """Recall by class: share of the class's examples answered rightly; classes without examples are left out."""
    return {
        name: row[i] / sum(row) for i, (name, row) in enumerate(zip(class_names, confusion, strict=True)) if sum(row)
    }


def confusion_matrix(confusion: Sequence[Sequence[int]], class_names: Sequence[str]) -> Figure:
    """Rows are true classes, columns answers; colour is the share of the row, numbers are counts."""
    shares = [[count / max(sum(row), 1) for count in row] for row in confusion]
    label = "share of the true class"
    if len(class_names) <= _LEGIBLE:
        cells = [
            [
                (share, str(count) if count else "", i == j)
                for j, (share, count) in enumerate(zip(line, row, strict=True))
            ]
            for i, (line, row) in enumerate(zip(shares, confusion, strict=True))
        ]
        panel = matrix_panel(
            class_names, class_names, cells, scale=Scale(0.0, 1.0), row_label="true class", x_label="answer",
            label=label, better="", size=24.0,
        )  # fmt: skip
    else:
        panel = grid_panel(
            class_names, class_names, shares, scale=Scale(0.0, 1.0), x_label="answer (rows: true class)", label=label,
            absent="no example",
        )  # fmt: skip
    reading = (
        "Rows are true classes, columns the answers; numbers count examples of the test part."
        " Off the diagonal are the mistakes."
    )
    return Figure("Confusion matrix of the test part", (panel,), reading)
