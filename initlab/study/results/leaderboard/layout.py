"""Formats the leaderboard as a text table that fits the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from initlab.core.text import format_number, interval_text, to_one_line
from initlab.study.results.leaderboard.ranking import Row
from initlab.study.search.arms import counts, varying
from initlab.study.search.tune import Sweep
from initlab.study.space.objectives import Metrics, each

_GAP = "  "


def table(rows: Sequence[Row], *, metric: Metrics, width: int, limit: int = 20) -> str:
    """Aligned plain text, no line wider than `width` cells of a terminal, the first `limit` rows.

    Every key that takes more than one value among all the rows has a column. In a narrow terminal, reasons and
    keys are shortened first, then the least important columns are dropped; the trial number and the mean come first
    and are never dropped.
    """
    if not rows:
        return _cut("no arm yet", width)
    shown, hidden = rows[:limit], rows[limit:]
    columns = _fit_columns(_columns(rows, shown, metric), width)
    lines = [[c.heading for c in columns], *([c.cells[i] for c in columns] for i in range(len(shown)))]
    text = [_cut(_GAP.join(map(_cell, line, columns)).rstrip(), width) for line in lines]
    if hidden:
        text.append(_cut(f"… {len(hidden)} more: {counts(r.result for r in hidden)}", width))
    return "\n".join(text)


# ------------------------------------------------------------------ pieces
@dataclass(kw_only=True)
class _Column:
    heading: str
    cells: list[str]
    right: bool = False
    #: whether a text that is too long keeps its end as well, as for names
    middle: bool = False
    #: minimum widths: before any column is dropped, and after all droppable ones are dropped
    least: tuple[int, int] | None = None
    #: columns with the lowest number are dropped first; None: never dropped
    drop: int | None = None
    width: int = 0

    def widest(self) -> int:
        from rich.cells import cell_len

        return max(map(cell_len, (self.heading, *self.cells)))


def _columns(rows: Sequence[Row], shown: Sequence[Row], metric: Metrics) -> list[_Column]:
    metrics = each(metric)
    columns = [_Column(heading="trial", cells=[str(r.result.trial) for r in shown], right=True)]
    if len(metrics) > 1:
        cells = ["" if r.rank is None else "1 front" if r.rank == 1 else str(r.rank) for r in shown]
        columns.append(_Column(heading="rank", cells=cells))
    for k, name in enumerate(metrics):
        columns += _scores(name, [(r, *r.others)[k] for r in shown], ranked=[r.rank is not None for r in shown])
    if any(r.seeds for r in shown):
        columns.append(_Column(heading="seeds", cells=[str(r.seeds or "") for r in shown], right=True, drop=0))
    if any(r.verdict and r.rank != 1 for r in rows):
        columns.append(_Column(heading="best set", cells=[r.verdict for r in shown], drop=4))
    if any(r.failed for r in rows):
        cells = [f"{r.failed} of {r.seeds}" if r.failed else "" for r in shown]
        columns.append(_Column(heading="failed", cells=cells, drop=2))
    if any(r.result.sweep for r in shown):
        columns.append(_Column(heading="lr", cells=[_chosen_lr(r.result.sweep) for r in shown], right=True))
    for key in varying(r.result for r in rows):
        cells = [to_one_line(r.result.choices.get(key, "–")) for r in shown]
        columns.append(_Column(heading=to_one_line(key), cells=cells, middle=True, least=(10, 3)))
    states = [f"{r.result.state}: {r.note}" if r.note else r.result.state for r in shown]
    columns.append(_Column(heading="state", cells=states, least=(18, 8)))
    return columns


def _chosen_lr(sweep: Sweep | None) -> str:
    return "" if sweep is None or sweep.chosen is None else f"{sweep.chosen:.3g}"


def _scores(metric: str, rows: Sequence[Row], *, ranked: Sequence[bool]) -> list[_Column]:
    """Columns of one metric."""
    means = [format_number(r.mean) for r in rows]
    digits = max(map(len, means))
    columns = [
        _Column(heading=to_one_line(metric), cells=means, right=True, middle=True, least=(max(digits, 9), digits))
    ]
    if any(math.isfinite(r.low) for r in rows):
        columns.append(_Column(heading="95 %", cells=[interval_text(r.low, r.high) for r in rows], drop=1))
    if any(has and not _is_mean(r) for r, has in zip(rows, ranked, strict=True)):
        values = [format_number(r.result.finite) if r.result.finite is not None else "" for r in rows]
        columns.append(_Column(heading="objective", cells=values, right=True, drop=3))
    return columns


def _is_mean(row: Row) -> bool:
    """Whether the objective equals the mean over seeds, up to rounding by the order of summation."""
    return row.result.finite is not None and math.isclose(row.result.finite, row.mean, rel_tol=1e-9, abs_tol=1e-12)


def _fit_columns(columns: list[_Column], width: int) -> list[_Column]:
    """Narrow and then drop columns until they fit; the caller cuts what is still too wide."""
    while not _narrow_columns(columns, width, hard=False):
        droppable = [c for c in columns if c.drop is not None]
        if not droppable:
            _narrow_columns(columns, width, hard=True)
            break
        first = min(droppable, key=lambda c: c.drop or 0)
        columns = [c for c in columns if c is not first]
    return columns


def _narrow_columns(columns: Sequence[_Column], width: int, *, hard: bool) -> bool:
    """Narrow the widest columns until all fit into `width`; returns whether they fit."""
    for column in columns:
        column.width = column.widest()
    excess = sum(c.width for c in columns) + len(_GAP) * (len(columns) - 1) - width
    while excess > 0:
        soft = [c for c in columns if c.least is not None and c.width > c.least[hard]]
        if not soft:
            return False
        max(soft, key=lambda c: c.width).width -= 1
        excess -= 1
    return True


def _cell(text: str, column: _Column) -> str:
    from rich.cells import cell_len

    cut = _cut(text, column.width, middle=column.middle)
    space = " " * (column.width - cell_len(cut))
    return space + cut if column.right else cut + space


def _cut(text: str, width: int, *, middle: bool = False) -> str:
    """Shorten to at most `width` cells. Names lose their `middle`, since long ones often differ at their ends."""
    from rich.cells import cell_len, set_cell_size

    if cell_len(text) <= width:
        return text
    if width < 2:
        return "…"[: max(width, 0)]
    room = (width - 1) // 2 if middle else 0
    tail = ""
    for c in reversed(text):
        if cell_len(c + tail) > room:
            break
        tail = c + tail
    return f"{set_cell_size(text, width - 1 - room).rstrip()}…{tail}"
