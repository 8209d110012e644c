"""Heat map of the objective by two keys."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

from initlab.report.charts import Figure, grid_panel, matrix_panel
from initlab.study.results.figures.choices import as_numbers, objective_of, options_of
from initlab.study.results.figures.labels import metric_label, short
from initlab.study.results.figures.scales import better, colour_scale
from initlab.study.search.arms import ArmResult, varying
from initlab.study.space.objectives import Direction

#: maximum number of numeric values of a key that is still treated as a choice in a heat map
_CHOICES = 12
#: maximum number of rows and of columns of a heat map with numbers in its cells
_ANNOTATED = 16

#: (mean, text) by row, then column
Cells = list[list[tuple[float, str]]]


def heat_map(
    arms: Sequence[ArmResult],
    rows_key: str | None = None,
    columns_key: str | None = None,
    *,
    metric: str,
    direction: Direction = "maximize",
) -> Figure | None:
    """Mean objective of the complete arms by two keys, one down and one across; grey where there is none.

    Without keys these are init and activation where both are swept, else the two keys with the most options. None where
    fewer than two keys are swept, or no arm has an objective.
    """
    keys = heat_map_keys(arms) if rows_key is None or columns_key is None else (rows_key, columns_key)
    if keys is None:
        return None
    rows, columns, cells = table(arms, *keys)
    known = [mean for line in cells for mean, _ in line if math.isfinite(mean)]
    if not known:
        return None
    scale, label = colour_scale(known, direction), f"mean {metric_label(metric)}"
    names, across = [short(r, 26) for r in rows], [short(c, 22) for c in columns]
    if max(len(rows), len(columns)) <= _ANNOTATED:
        panel = matrix_panel(
            names, across, [[(mean, words, False) for mean, words in line] for line in cells], scale=scale,
            row_label=short(keys[0]), x_label=short(keys[1]), label=label,
            better="more" if direction == "maximize" else "less",
        )  # fmt: skip
    else:
        panel = grid_panel(
            names, across, [[mean for mean, _ in line] for line in cells], scale=scale, x_label=short(keys[1]),
            label=f"{label}, {better(direction)} is better", absent="no value",
            better="more" if direction == "maximize" else "less",
        )  # fmt: skip
    return Figure("Every combination", (panel,), "Mean over seeds; brighter is better, grey where an arm has no value.")


def table(arms: Sequence[ArmResult], down: str, across: str) -> tuple[list[str], list[str], Cells]:
    """Options of the rows and of the columns, and the cells of the heat map of two keys."""
    placed = sorted((a for a in arms if down in a.choices and across in a.choices), key=lambda a: a.trial)
    held: dict[tuple[str, str], list[ArmResult]] = {}
    for arm in placed:
        held.setdefault((arm.choices[down], arm.choices[across]), []).append(arm)
    rows, columns = (options_of(a.choices[k] for a in placed) for k in (down, across))
    cells: Cells = []
    for row in rows:
        line: list[tuple[float, str]] = []
        for column in columns:
            found = held.get((row, column), [])
            values = [v for a in found if (v := objective_of(a)) is not None]
            mean = fmean(values) if values else math.nan
            line.append((mean, _cell_text(mean, len(values), found)))
        cells.append(line)
    return rows, columns, cells


def heat_map_keys(arms: Sequence[ArmResult]) -> tuple[str, str] | None:
    """The two keys of the heat map where none are named; None where fewer than two are choices among a few values."""
    options = {key: options_of(a.choices[key] for a in arms if key in a.choices) for key in varying(arms)}
    few = [k for k, values in options.items() if len(values) <= _CHOICES or as_numbers(values) is None]
    if "init" in few and "activation" in few:
        return "init", "activation"
    # the sort keeps the order of the keys among equals
    first = sorted(few, key=lambda k: -len(options[k]))[:2]
    return (first[0], first[1]) if len(first) == 2 else None


def _cell_text(value: float, counted: int, held: Sequence[ArmResult]) -> str:
    """Text of a cell: its mean and number of arms, or the states of its arms where there is no mean."""
    if not math.isfinite(value):
        return "\n".join(dict.fromkeys("no number" if a.state == "complete" else a.state for a in held))
    text = f"{value:.3f}" if 1e-2 <= abs(value) < 1e3 or value == 0 else f"{value:.1e}"
    return f"{text}\n(n={counted})" if len(held) > 1 else text
