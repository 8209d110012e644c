"""Figures of a comparison: means with intervals, heat map, learning curves, performance profile, ranks."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from initlab.compare.effects import Ranking, profile
from initlab.compare.result import Comparison, Report, Row
from initlab.compare.table import number
from initlab.report.drawing import COLOURS, GREY, axes_grid

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: maximum number of arms (the best ones) in a figure with one line each
_LINES = 8
_BARS = 40
_MARKS = ("o", "s", "^", "D", "v", "P", "X", "*")


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
    """Mean, interval and single seeds of each arm; markers of the best set are filled."""
    rows = [r for r in made.rows if r.rank is not None][:_BARS]
    if not rows:
        return None
    figure, (axis,) = axes_grid(1, 1, width=7.5, height=1.4 + 0.3 * len(rows))
    for y, row in enumerate(rows):
        known = row.winner is not None
        colour = COLOURS[0] if row.winner or not known else GREY
        own = made.values[y][np.isfinite(made.values[y])]
        axis.plot(own, np.full(len(own), y), "|", color=GREY, markersize=7, alpha=0.7)
        if math.isfinite(row.low):
            axis.plot([row.low, row.high], [y, y], color=colour, linewidth=2)
        axis.plot([row.mean], [y], "o", color=colour, markerfacecolor=colour if row.winner else "white", markersize=6)
    axis.set_yticks(range(len(rows)), [_short(r.arm.name) for r in rows], fontsize=8)
    axis.invert_yaxis()
    axis.set_xlabel(f"{made.by.metric}, {_better(made)} is better: mean, 95 % interval and each seed")
    axis.grid(axis="x", alpha=0.25)
    hidden = sum(r.rank is not None for r in made.rows) - len(rows)
    axis.set_title(
        _title(made, "filled: not distinguishable from the best" + (f"; {hidden} more" if hidden else "")), fontsize=9
    )
    return figure


def heat_map(made: Comparison) -> Figure | None:
    """Mean and half its interval for each combination of the two factors; None where there are not two."""
    if made.factors is None:
        return None
    able = [r for r in made.rows if r.rank is not None]
    rows, columns = (_levels(able, k) for k in made.factors)
    table = np.full((len(rows), len(columns)), math.nan)
    of: dict[tuple[int, int], Row] = {}
    for r in able:
        at = rows.index(r.arm.choices.get(made.factors[0], "–")), columns.index(r.arm.choices.get(made.factors[1], "–"))
        table[at], of[at] = r.mean, r
    figure, (axis,) = axes_grid(1, 1, width=2.2 + 1.05 * len(columns), height=1.6 + 0.5 * len(rows))
    palette = "viridis" if made.by.sign > 0 else "viridis_r"
    image = axis.imshow(table, cmap=palette, aspect="auto")
    low, high = float(np.nanmin(table)), float(np.nanmax(table))
    for (i, j), r in of.items():
        half = (r.high - r.low) / 2
        label = number(r.mean) + (f"\n± {number(half)}" if math.isfinite(half) else "")
        at = (table[i, j] - low) / (high - low) if high > low else 0.0
        dark = at < 0.55 if made.by.sign > 0 else at > 0.45
        weight = "bold" if r.winner else "normal"
        axis.text(j, i, label, ha="center", va="center", fontsize=7, color="white" if dark else "black", weight=weight)
    axis.set_xticks(range(len(columns)), columns, rotation=30, ha="right", fontsize=8)
    axis.set_yticks(range(len(rows)), rows, fontsize=8)
    axis.set_xlabel(made.factors[1])
    axis.set_ylabel(made.factors[0])
    figure.colorbar(image, ax=axis, label=f"{made.by.metric}, {_better(made)} is better")
    axis.set_title(_title(made, "bold: not distinguishable from the best"), fontsize=9)
    return figure


def learning_curves(made: Comparison) -> Figure | None:
    """Learning curves of the best arms: mean over seeds ± one standard error."""
    if not made.bands:
        return None
    figure, (axis,) = axes_grid(1, 1, width=7.5, height=4.4)
    for k, (i, band) in enumerate(sorted(made.bands.items())[:_LINES]):
        colour = COLOURS[k % len(COLOURS)]
        axis.plot(
            band.steps, band.mean, color=colour, marker=_MARKS[k % len(_MARKS)], markersize=3.5, linewidth=1.4,
            label=_short(made.rows[i].arm.name),
        )  # fmt: skip
        axis.fill_between(
            band.steps, band.mean - band.error, band.mean + band.error, color=colour, alpha=0.18, linewidth=0
        )
    if math.isfinite(made.target):
        axis.axhline(made.target, color=GREY, linewidth=1, linestyle="--", label="target")
    axis.set_xlabel("update")
    axis.set_ylabel(f"{made.by.curve}, {_better(made)} is better")
    axis.grid(alpha=0.25)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    axis.set_title(_title(made, "mean over seeds ± standard error"), fontsize=9)
    return figure


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
    figure, (axis,) = axes_grid(1, 1, width=7.5, height=4.2)
    for k, (name, found) in enumerate(scores.items()):
        if found:
            share = profile(np.concatenate(found), levels)
            axis.step(levels, share, where="post", color=COLOURS[k % len(COLOURS)], label=_short(name), linewidth=1.4)
    axis.set_xlabel("level τ (0 is the worst run, 1 the best, task by task)")
    axis.set_ylabel("share of runs at τ or above")
    axis.set_ylim(-0.02, 1.02)
    axis.grid(alpha=0.25)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    axis.set_title("performance profile", fontsize=9)
    return figure


def critical_difference(found: Ranking) -> Figure:
    """Average ranks on a line; a bar joins arms not distinguishable by Nemenyi's test. Demšar, 2006."""
    count = len(found.arms)
    half = (count + 1) // 2
    figure, (axis,) = axes_grid(1, 1, width=8.0, height=1.9 + 0.28 * half)
    axis.set_xlim(count + 0.2, 0.8)
    axis.set_ylim(-(half + 2.4), 1.2)
    axis.spines[["left", "right", "bottom"]].set_visible(False)
    axis.xaxis.set_ticks_position("top")
    axis.set_yticks([])
    axis.set_xticks(range(1, count + 1))
    axis.set_xlabel("average rank over tasks, 1 is the best")
    axis.xaxis.set_label_position("top")
    bars = _bars(found)
    for level, (a, b) in enumerate(bars):
        y = -0.25 - 0.22 * level
        axis.plot(
            [found.ranks[a] - 0.03, found.ranks[b] + 0.03], [y, y], color=COLOURS[1], linewidth=4, solid_capstyle="butt"
        )
    below = -0.6 - 0.22 * len(bars)
    for k, (name, rank) in enumerate(zip(found.arms, found.ranks, strict=True)):
        right = k < half
        y = below - (k if right else count - 1 - k)
        edge = 0.82 if right else count + 0.18
        axis.plot([rank, rank, edge], [1.2, y, y], color=GREY, linewidth=0.9)
        axis.text(edge, y + 0.08, _short(name, 44), ha="right" if right else "left", va="bottom", fontsize=8)
    axis.set_title(f"critical difference {found.critical:.2f} (Nemenyi, 5 %), {len(found.tasks)} tasks", fontsize=9)
    return figure


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


def _short(name: str, length: int = 60) -> str:
    return name if len(name) <= length else name[: length // 2 - 1] + "…" + name[-length // 2 :]
