"""Figures of a comparison: means with intervals, heat map, learning curves, performance profile, ranks."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from initlab.compare.effects import Ranking, profile
from initlab.compare.result import Comparison, Report, Row
from initlab.compare.table import number
from initlab.report.charts import Band, Figure, Line, Panel, Scale, lines_panel, matrix_panel
from initlab.report.charts.figure import WIDTH, shorten, text

#: maximum number of arms (the best ones) in a figure with one line each
_LINES = 8
_BARS = 40
_DASHES: tuple[Literal["", "dash", "dots"], ...] = ("", "dash", "dots")


def make_figures(report: Report) -> dict[str, Figure]:
    """File stem → figure; a figure without data is left out."""
    made: dict[str, Figure | None] = {}
    for k, task in enumerate(report.tasks):
        end = "" if k == 0 else f"_{k + 1}"
        drawn: dict[str, Callable[[Comparison], Figure | None]] = {
            "intervals": intervals_figure, "heat_map": heat_map, "learning_curves": learning_curves,
        }  # fmt: skip
        made |= {f"{stem}{end}": draw(task) for stem, draw in drawn.items()}
    made["performance_profile"] = performance_profile(report)
    if report.ranking is not None:
        made["critical_difference"] = critical_difference(report.ranking)
    return {stem: figure for stem, figure in made.items() if figure is not None}


def intervals_figure(made: Comparison) -> Figure | None:
    """Mean, interval and single seeds of each arm; marks of the best set are filled."""
    rows = [r for r in made.rows if r.rank is not None][:_BARS]
    if not rows:
        return None
    lines: list[Line] = []
    for k, row in enumerate(rows):
        y = len(rows) - 1 - k
        colour = 0 if row.winner or row.winner is None else 8
        own = made.values[k][np.isfinite(made.values[k])]
        seeds = [(float(v), y) for v in own]
        lines.append(Line(label="a seed" if k == 0 else "", points=seeds, colour=8, mark="stroke", joined=False))
        if math.isfinite(row.low):
            lines.append(Line(label="95 % interval" if k == 0 else "", points=[(row.low, y), (row.high, y)],
                              colour=colour))  # fmt: skip
        lines.append(Line(label="mean" if k == 0 else "", points=[(row.mean, y)], colour=colour, joined=False,
                          mark="dot" if row.winner else "ring"))  # fmt: skip
    names = [shorten(r.arm.name, 44) for r in rows]
    width = max(WIDTH, 240 + 6.1 * max(map(len, names)))
    panel = lines_panel(
        lines, x_label=f"{made.by.metric}, {_better(made)} is better", y_label="", names=names, width=width,
        height=58 + 19.0 * len(rows), x=Scale.of([p[0] for line in lines for p in line.points]),
    )  # fmt: skip
    hidden = sum(r.rank is not None for r in made.rows) - len(rows)
    reading = "Filled: not distinguishable from the best. Lines are 95 % intervals of the mean, strokes single seeds."
    more = f" {hidden} more arms are in the table." if hidden else ""
    return Figure(_title(made, "Means and intervals"), (panel,), reading + more)


def heat_map(made: Comparison) -> Figure | None:
    """Mean and half its interval for each combination of the two factors; None where there are not two."""
    if made.factors is None:
        return None
    able = [r for r in made.rows if r.rank is not None]
    rows, columns = (_levels(able, k) for k in made.factors)
    of = {(r.arm.choices.get(made.factors[0], "–"), r.arm.choices.get(made.factors[1], "–")): r for r in able}
    cells = [[_cell(of.get((row, column))) for column in columns] for row in rows]
    panel = matrix_panel(
        rows, columns, cells, scale=Scale.of([r.mean for r in able], margin=0.0), row_label=made.factors[0],
        x_label=made.factors[1], label=made.by.metric, better="more" if made.by.sign > 0 else "less", size=34.0,
    )  # fmt: skip
    reading = (
        "Mean with half the width of its 95 % interval; brighter is better, bold: not distinguishable from the best."
    )
    return Figure(_title(made, "Both factors"), (panel,), reading)


def _cell(row: Row | None) -> tuple[float, str, bool]:
    if row is None:
        return math.nan, "", False
    half = (row.high - row.low) / 2
    return row.mean, number(row.mean) + (f"\n± {number(half)}" if math.isfinite(half) else ""), bool(row.winner)


def learning_curves(made: Comparison) -> Figure | None:
    """Learning curves of the best arms: mean over seeds ± one standard error."""
    if not made.bands:
        return None
    lines = [
        Line(
            label=shorten(made.rows[i].arm.name, 52), colour=k % 8, dash=_DASHES[k // 4 % 3],
            points=list(zip(map(float, band.steps), map(float, band.mean), strict=True)),
            ends=[(float(m - e), float(m + e)) for m, e in zip(band.mean, band.error, strict=True)],
        )
        for k, (i, band) in enumerate(sorted(made.bands.items())[:_LINES])
    ]  # fmt: skip
    target = [Band(label="target", low=made.target, high=made.target)] if math.isfinite(made.target) else []
    panel = lines_panel(
        lines, x_label="update", y_label=f"{made.by.curve}, {_better(made)} is better", bands=target, height=270
    )
    reading = f"The best {len(lines)} arms: mean over seeds; bands are one standard error."
    return Figure(_title(made, "Learning curves of the best arms"), (panel,), reading)


def performance_profile(report: Report) -> Figure | None:
    """Share of runs at or above each level, of the arms that are best on the first task, over all tasks.

    Scores are normalised per task: 0 is the worst value of any run, 1 the best.
    """
    names = [r.arm.name for r in report.tasks[0].rows if r.rank is not None][:_LINES]
    if len(names) < 2:
        return None
    scores: dict[str, list[Any]] = {name: [] for name in names}
    for task in report.tasks:
        signed = task.values * task.by.sign
        if not np.isfinite(signed).any():
            continue
        low, high = float(np.nanmin(signed)), float(np.nanmax(signed))
        for i, row in enumerate(task.rows):
            if row.arm.name in scores and row.rank is not None and high > low:
                scores[row.arm.name].append((signed[i] - low) / (high - low))
    levels = np.linspace(0, 1, 201)
    lines = [
        Line(
            label=shorten(name, 52), colour=k % 8, dash=_DASHES[k // 4 % 3],
            points=list(zip(levels.tolist(), profile(np.concatenate(found), levels).tolist(), strict=True)),
        )
        for k, (name, found) in enumerate(scores.items())
        if found
    ]  # fmt: skip
    if not lines:
        return None
    panel = lines_panel(
        lines, x_label="level τ (0 is the worst run of a task, 1 the best)", y_label="share of runs at τ or above",
        x=Scale(0.0, 1.0), y=Scale(0.0, 1.02), height=270,
    )  # fmt: skip
    return Figure("Performance profile", (panel,), "Share of runs at or above each level; the higher curve is better.")


def critical_difference(found: Ranking) -> Figure:
    """Average ranks on a line; a bar joins arms not distinguishable by Nemenyi's test. Demšar, 2006."""
    count = len(found.arms)
    half = (count + 1) // 2
    width, left, right = 560.0, 24.0, 536.0
    x = Scale(0.8, count + 0.2)
    body: list[str] = [text(width / 2, 12, "average rank over tasks, 1 is the best", anchor="middle")]
    axis = 34.0
    body.append(f'<path class="axis" d="M{left:g} {axis:g}H{right:g}"/>')

    def at(rank: float) -> float:
        return right - (right - left) * x.place(rank)  # the best on the right

    for rank in range(1, count + 1):
        body.append(f'<path class="axis" d="M{at(rank):.1f} {axis - 4:g}v4"/>')
        body.append(text(at(rank), axis - 7, str(rank), anchor="middle", style="soft"))
    bars = _bars(found)
    for level, (a, b) in enumerate(bars):
        y = axis + 10 + 8 * level
        body.append(f'<path class="join" d="M{at(found.ranks[a]) + 3:.1f} {y:.1f}H{at(found.ranks[b]) - 3:.1f}"/>')
    below = axis + 26 + 8 * len(bars)
    for k, (name, rank) in enumerate(zip(found.arms, found.ranks, strict=True)):
        best = k < half
        y = below + 17 * (k if best else count - 1 - k)
        edge = right if best else left
        body.append(f'<path class="thin s8" d="M{at(rank):.1f} {axis:g}V{y:.1f}H{edge:g}"/>')
        body.append(text(edge, y - 3, shorten(name, 40), anchor="end" if best else "start", style="name"))
    words = "; ".join(f"{a} {r:.2f}" for a, r in zip(found.arms, found.ranks, strict=True))
    panel = Panel(width, below + 17 * half + 6, "".join(body), f"average ranks: {words}")
    return Figure(
        "Ranks over tasks",
        (panel,),
        f"Arms joined by a bar are not distinguishable: critical difference {found.critical:.2f}"
        f" (Nemenyi, 5 %), {len(found.tasks)} tasks.",
    )


# ------------------------------------------------------------------ pieces
def _bars(found: Ranking) -> list[tuple[int, int]]:
    """First and last arm of each maximal group whose ranks lie within the critical difference."""
    bars: list[tuple[int, int]] = []
    for a in range(len(found.ranks)):
        b = max(k for k in range(a, len(found.ranks)) if found.ranks[k] - found.ranks[a] <= found.critical)
        if b > a and (not bars or b > bars[-1][1]):
            bars.append((a, b))
    return bars


def _levels(rows: list[Row], key: str) -> list[str]:
    """Values of a key: numbers in ascending order, others with that of the best arm first."""
    found = list(dict.fromkeys(r.arm.choices.get(key, "–") for r in rows))
    try:
        return sorted(found, key=float)
    except ValueError:
        return found


def _title(made: Comparison, more: str) -> str:
    return f"{made.label}: {more}" if made.label else more


def _better(made: Comparison) -> str:
    return "more" if made.by.sign > 0 else "less"
