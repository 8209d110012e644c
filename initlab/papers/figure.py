"""Figure of a claim: curves over updates, lines over a key, bars, or a grid, with the spread over seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from initlab.compare.metric import LESS
from initlab.papers.arms import number_in
from initlab.papers.claim import Drawing
from initlab.papers.judge import Judged, interval
from initlab.papers.results import Row
from initlab.report.charts import Figure, Line, Panel, Scale, bars_panel, lines_panel, matrix_panel
from initlab.spec.target import UNTIL_STEP

#: lines of a panel
_MOST = 8


def figure_of(judged: Judged) -> Figure | None:
    """The figure of a judged claim; None where it has none, or no run has its metric."""
    drawing = judged.claim.figure
    if drawing is None:
        return None
    rows = [r for r in judged.rows if not drawing.part or r.part == drawing.part]
    if drawing.at_best:
        rows = _best_rows(rows, drawing)
    panel = {"curves": _curves, "lines": _lines, "bars": _bars, "grid": _grid}[drawing.kind](rows, drawing)
    return None if panel is None else Figure(f"{judged.claim.name}: {drawing.metric}", (panel,), drawing.reading)


def arm_words(params: Mapping[str, str], keys: Sequence[str]) -> str:
    """An arm by the keys that tell it apart.

    Example:
        >>> arm_words({"init": "he", "model.depth": "30"}, ["init", "model.depth"])
        'init=he depth=30'
    """
    return " ".join(f"{k.rsplit('.', 1)[-1]}={params[k]}" for k in keys if k in params)


# ------------------------------------------------------------------ pieces
def _by_arm(rows: Sequence[Row], drawing: Drawing, *aside: str) -> dict[str, list[Row]]:
    """Rows by the words of their arm, without the keys of the axes."""
    keys = list(drawing.by) or _varying(rows)
    found: dict[str, list[Row]] = {}
    several = len({r.part for r in rows}) > 1
    for row in rows:
        found.setdefault(
            arm_words(row.params, [k for k in keys if k not in aside]) or (row.part if several else "mean over seeds"),
            [],
        ).append(row)
    return found


def _best_rows(rows: Sequence[Row], drawing: Drawing) -> list[Row]:
    """Of the rows that differ in the key `at_best` alone, the one with the best value."""
    sign = 1.0 if drawing.metric.endswith(LESS) else -1.0
    best: dict[tuple[object, ...], Row] = {}
    for row in (r for r in rows if drawing.metric in r.values):
        rest = {k: v for k, v in row.params.items() if k != drawing.at_best}
        place = (row.part, row.seed, *sorted(rest.items()))
        if place not in best or sign * row.values[drawing.metric] < sign * best[place].values[drawing.metric]:
            best[place] = replace(row, params=rest)
    return list(best.values())


def _varying(rows: Sequence[Row]) -> list[str]:
    keys = {k for r in rows for k in r.params}
    return sorted((k for k in keys if len({r.params.get(k) for r in rows}) > 1), key=lambda k: (k.count("."), k))


def _curves(rows: Sequence[Row], drawing: Drawing) -> Panel | None:
    """Means over seeds by update. Where runs end early, as at a target, a line ends with the first of them."""
    lines: list[Line] = []
    for label, own in list(_by_arm(rows, drawing).items())[:_MOST]:
        by_step: dict[float, list[float]] = {}
        for row in own:
            for step, value in row.curve:
                by_step.setdefault(step, []).append(value)
        whole = max(map(len, by_step.values()), default=0)
        line = _line(label, {s: v for s, v in by_step.items() if len(v) == whole}, len(lines), log="y" in drawing.log)
        if line is not None:
            lines.append(line)
    return lines_panel(lines, x_label="updates", y_label=drawing.metric, y=_scale(lines, drawing)) if lines else None


def _lines(rows: Sequence[Row], drawing: Drawing) -> Panel | None:
    lines: list[Line] = []
    for label, own in list(_by_arm(rows, drawing, drawing.x).items())[:_MOST]:
        by_x: dict[float, list[float]] = {}
        for row in own:
            value, x = _value(row, drawing.metric), number_in(row.params.get(drawing.x))
            if math.isfinite(value + x):
                by_x.setdefault(x, []).append(value)
        line = _line(label, by_x, len(lines), log="y" in drawing.log)
        if line is not None:
            lines.append(replace(line, mark="dot"))
    if not lines:
        return None
    x = Scale.of([p[0] for line in lines for p in line.points], log="x" in drawing.log, margin=0.02)
    name = drawing.x.rsplit(".", 1)[-1]
    return lines_panel(lines, x_label=name, y_label=drawing.metric, x=x, y=_scale(lines, drawing))


def _line(label: str, values: Mapping[float, Sequence[float]], colour: int, *, log: bool) -> Line | None:
    """Means with their 95 % intervals; on a logarithmic axis those of logarithms."""
    points: list[tuple[float, float]] = []
    ends: list[tuple[float, float]] = []
    for x, found in sorted(values.items()):
        if log and min(found) <= 0:
            continue
        mean, low, high = interval([math.log(v) for v in found] if log else found, alpha=0.05)
        middle, *both = ([math.exp(min(v, 700.0)) for v in (mean, low, high)]) if log else (mean, low, high)
        points.append((x, middle))
        ends.append((both[0], both[1]) if math.isfinite(low) else (middle, middle))
    return Line(label=label, points=points, ends=ends, colour=colour) if points else None


def _scale(lines: Sequence[Line], drawing: Drawing) -> Scale:
    """Holds all means, and their intervals up to half as much again: a few of them may be very wide."""
    log = "y" in drawing.log
    means = [v for line in lines for _, v in line.points]
    ends = [v for line in lines for pair in line.ends for v in pair]
    if log:
        low, high = min(means), max(means)
        free = math.sqrt(high / low) if low > 0 else 1.0
        return Scale.of([*means, *(min(max(v, low / free), high * free) for v in ends if v > 0)], log=True)
    free = (max(means) - min(means)) / 2
    return Scale.of([*means, *(min(max(v, min(means) - free), max(means) + free) for v in ends)])


def _bars(rows: Sequence[Row], drawing: Drawing) -> Panel | None:
    names, means, texts = [], [], []
    for label, own in _by_arm(rows, drawing).items():
        values = [v for r in own if math.isfinite(v := _value(r, drawing.metric))]
        if not values:
            continue
        mean, low, _ = interval(values, alpha=0.05)
        names.append(label)
        means.append(mean)
        if any(drawing.metric not in r.values for r in own) and drawing.metric == UNTIL_STEP:
            texts.append(f"≥ {mean:.3g}")
        else:
            texts.append(f"{mean:.3g} ± {mean - low:.2g}" if math.isfinite(low) else f"{mean:.3g}")
    if not names:
        return None
    return bars_panel(names, means, x_label=f"{drawing.metric}, mean and 95 % interval", texts=texts)


def _grid(rows: Sequence[Row], drawing: Drawing) -> Panel | None:
    table: dict[tuple[float, float], list[float]] = {}
    for r in rows:
        value, x, y = _value(r, drawing.metric), number_in(r.params.get(drawing.x)), number_in(r.params.get(drawing.y))
        if math.isfinite(value + x + y):
            table.setdefault((y, x), []).append(value)
    if not table:
        return None
    xs, ys = sorted({x for _, x in table}), sorted({y for y, _ in table})
    means = {place: float(np.mean(v)) for place, v in table.items()}
    cells = [
        [(means.get((y, x), math.nan), f"{means[y, x]:.2f}" if (y, x) in means else "", False) for x in xs] for y in ys
    ]
    better = "less" if drawing.metric.endswith(LESS) else "more" if drawing.metric.endswith("accuracy") else ""
    return matrix_panel(
        [f"{y:g}" for y in ys], [f"{x:g}" for x in xs], cells, scale=Scale.of(means.values()), better=better,
        row_label=drawing.y.rsplit(".", 1)[-1], x_label=drawing.x.rsplit(".", 1)[-1], label=drawing.metric,
        inside=[[y < _border_at(drawing, x) for x in xs] for y in ys] if drawing.border else (),
    )  # fmt: skip


def _border_at(drawing: Drawing, x: float) -> float:
    """Where the border crosses a column; below all rows where none is given."""
    return next((y for at, y in drawing.border.items() if math.isclose(at, x, rel_tol=1e-6)), -math.inf)


def _value(row: Row, metric: str) -> float:
    """The metric; the updates made for a target that was not reached; NaN where there is none."""
    return row.values.get(metric, row.budget if metric == UNTIL_STEP else math.nan)
