"""Heat maps: layers by updates, and tables of numbers in colour."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from initlab.report.charts.colours import LEVELS, colour, is_dark
from initlab.report.charts.figure import WIDTH, Panel, legend, shorten, text
from initlab.report.charts.scale import Scale, to_text

#: rows and columns that are drawn: of more, an even choice
ROWS, COLUMNS = 80, 80


def evenly(count: int, most: int) -> list[int]:
    """At most `most` of the numbers from 0 to `count` - 1, evenly spread, with the first and the last."""
    if count <= most:
        return list(range(count))
    if most == 1:
        return [0]
    return sorted({round(i * (count - 1) / (most - 1)) for i in range(most)})


def grid_panel(
    rows: Sequence[str], columns: Sequence[str], values: Sequence[Sequence[float]], *, scale: Scale, x_label: str,
    label: str, absent: str, better: Literal["more", "less", ""] = "", width: float = WIDTH,
) -> Panel:  # fmt: skip
    """Values as colours without numbers, for many rows and columns; a bar below tells the colours.

    Args:
        rows, columns: names, rows from the top.
        values: by row, then column. Zeros on a logarithmic scale are grey; what is not finite is crossed out.
        scale: of the colours.
        x_label: of the columns.
        label: of the values, with unit.
        absent: what grey means, for the legend.
        better: "less" turns the colours round.
        width: of the panel.
    """
    at_rows, at_columns = evenly(len(rows), ROWS), evenly(len(columns), COLUMNS)
    left = min(118.0, 10 + 6.1 * max(min(len(r), 18) for r in rows))
    inner = width - left - 8
    size = max(5.0, min(16.0, 300.0 / len(at_rows)))
    wide = inner / len(at_columns)
    by_colour: dict[str, list[str]] = {}
    absent_cells, crosses, skipped = [], [], False
    for i, row in enumerate(at_rows):
        for j, column in enumerate(at_columns):
            value, x, y = values[row][column], left + j * wide, i * size
            # between edges that neighbours share: widths that are rounded one by one leave gaps
            across, down = (round(b, 1) - round(a, 1) for a, b in ((x, x + wide), (y, y + size)))
            cell = f"M{x:.1f} {y:.1f}h{across:.1f}v{down:.1f}h-{across:.1f}z"
            if math.isinf(value):
                crosses.append(f"M{x + wide / 2 - 2.5:.1f} {y + size / 2 - 2.5:.1f}l5 5m0 -5l-5 5")
                continue
            place = scale.place(value)
            if math.isnan(place):
                skipped = True
                absent_cells.append(cell)
                continue
            place = 1 - place if better == "less" else place
            level = round(max(0.0, min(1.0, place)) * (LEVELS - 1)) / (LEVELS - 1)
            by_colour.setdefault(colour(level), []).append(cell)
    body = [f'<path class="cells" fill="{c}" d="{"".join(cells)}"/>' for c, cells in by_colour.items()]
    if absent_cells:
        body.append(f'<path class="cells none" d="{"".join(absent_cells)}"/>')
    if crosses:
        body.append(f'<path class="cross" d="{"".join(crosses)}"/>')
    tall = size * len(at_rows)
    every = max(1, math.ceil(11.5 / size))
    body += [
        text(left - 5, i * size + size / 2 + 3.5, shorten(rows[row], 18), anchor="end", style="name")
        for i, row in enumerate(at_rows)
        if i % every == 0
    ]
    body += _column_ticks([columns[c] for c in at_columns], left, wide, tall)
    body.append(text(left + inner / 2, tall + 29, x_label, anchor="middle"))
    items = [('<rect class="none" width="16" height="10"/>', absent)] if skipped else []
    items += [('<path class="cross" d="M4 1l8 8m0 -8l-8 8"/>', "infinite")] if crosses else []
    bar = _colour_bar(scale, label, left=left, top=tall + 42, width=inner, better=better)
    keys, extra = legend(items, left=0, width=width - left)
    body += [bar, f'<g transform="translate({left:.1f} {tall + 88:.1f})">{keys}</g>']
    known = [v for line in values for v in line if math.isfinite(v)]
    spread = f" from {to_text(min(known))} to {to_text(max(known))}" if known else ""
    words = f"{label}{spread}, {len(rows)} rows from {rows[0]} to {rows[-1]}, {x_label} {columns[0]} to {columns[-1]}"
    return Panel(width, tall + 84 + extra + 4, "".join(body), words)


def matrix_panel(
    rows: Sequence[str], columns: Sequence[str], cells: Sequence[Sequence[tuple[float, str, bool]]], *, scale: Scale,
    row_label: str, x_label: str, label: str, better: Literal["more", "less", ""] = "more", size: float = 26.0,
    width: float = WIDTH, inside: Sequence[Sequence[bool]] = (),
) -> Panel:  # fmt: skip
    """A table of numbers in colour.

    Args:
        rows, columns: names, rows from the top.
        cells: (value, text, bold) by row, then column; a value that is not finite is grey.
        scale: of the colours.
        row_label, x_label: what rows and columns are.
        label: of the values, with unit.
        better: "more" or "less": brighter is better in either case; "" where neither is.
        size: height of a row.
        width: of the panel, which grows where the columns need it.
        inside: by row, then column: whether a cell lies inside of a border, which is drawn thick.
    """
    longest = max(min(len(r), 26) for r in rows)
    left = min(170.0, 10 + 6.1 * longest)
    need = 8 + 6.0 * max((len(part) for row in cells for _, t, _ in row for part in t.split("\n")), default=1)
    wide = max(need, 26.0, (width - left - 8) / len(columns))
    width = max(width, left + wide * len(columns) + 8)
    turned = max(min(len(c), 22) for c in columns) * 6.2 > wide - 4
    tall = size * len(rows)
    body: list[str] = [text(2, 11, f"{row_label} ↓   {x_label} →", style="soft")]
    top = 18.0
    for i, row in enumerate(cells):
        y = top + i * size
        body.append(text(left - 5, y + size / 2 + 3.5, shorten(rows[i], 26), anchor="end", style="name"))
        for j, (value, words, bold) in enumerate(row):
            place = scale.place(value)
            place = 1 - place if better == "less" else place
            x = left + j * wide
            fill = 'class="none"' if math.isnan(place) else f'fill="{colour(place)}"'
            body.append(f'<rect {fill} x="{x:.1f}" y="{y:.1f}" width="{wide - 1:.1f}" height="{size - 1:.1f}"/>')
            tone = "on-light" if math.isnan(place) or not is_dark(place) else "on-dark"
            style = f"cell {tone}{' bold' if bold else ''}"
            parts = words.split("\n") if words else []
            first = y + size / 2 + 3.5 - 5.5 * (len(parts) - 1)
            if math.isnan(place):
                style = f"cell{' bold' if bold else ''}"
            body += [
                text(x + wide / 2, first + 11 * k, part, anchor="middle", style=style) for k, part in enumerate(parts)
            ]
    body += _border(inside, left=left, top=top, wide=wide, size=size)
    below = top + tall
    for j, name in enumerate(columns):
        x = left + j * wide + wide / 2
        body.append(
            text(x, below + 10, shorten(name, 22), anchor="end", style="name", turn=-40)
            if turned else text(x, below + 13, name, anchor="middle", style="name")
        )  # fmt: skip
    below += 10 + 4.2 * max(min(len(c), 22) for c in columns) if turned else 22
    words = f"{label}, {better} is better" if better else label
    body.append(_colour_bar(scale, words, left=left, top=below, better=better, width=min(width - left - 8, 240.0)))
    told = [
        f"{r}: " + ", ".join(f"{c} {t or 'none'}" for c, (_, t, _) in zip(columns, line, strict=True))
        for r, line in zip(rows, cells, strict=True)
    ]
    words = f"{label} by {row_label} and {x_label}: " + "; ".join(told).replace("\n", " ")
    return Panel(width, below + 46, "".join(body), words[:1500])


# ------------------------------------------------------------------ pieces
def _border(inside: Sequence[Sequence[bool]], *, left: float, top: float, wide: float, size: float) -> list[str]:
    """A thick line between neighbours of which one is inside."""
    found: list[str] = []
    for i, row in enumerate(inside):
        for j, here in enumerate(row):
            x, y = left + j * wide - 0.5, top + i * size - 0.5
            if j and here != row[j - 1]:
                found.append(f"M{x:.1f} {y:.1f}v{size:.1f}")
            if i and here != inside[i - 1][j]:
                found.append(f"M{x:.1f} {y:.1f}h{wide:.1f}")
    return [f'<path class="border" d="{"".join(found)}"/>'] if found else []


def _column_ticks(names: Sequence[str], left: float, wide: float, tall: float) -> list[str]:
    names = [shorten(n, 14) for n in names]
    longest = max(map(len, names))
    shown = evenly(len(names), max(1, min(6, int(len(names) * wide / (6.5 * longest + 8)))))
    right = left + len(names) * wide + 8
    found: list[str] = []
    for j in shown:
        at = min(left + (j + 0.5) * wide, right - 3.2 * len(names[j]))  # within the panel
        found.append(text(at, tall + 14, names[j], anchor="middle", style="soft"))
    return found


def _colour_bar(scale: Scale, label: str, *, left: float, top: float, width: float, better: str = "") -> str:
    steps = 32
    shares = [(k + 0.5) / steps for k in range(steps)]
    shares = shares[::-1] if better == "less" else shares
    body = [
        f'<rect fill="{colour(share)}" x="{left + k * width / steps:.1f}"'
        f' y="{top:.1f}" width="{width / steps + 0.4:.1f}" height="8"/>'
        for k, share in enumerate(shares)
    ]
    for value in scale.ticks(4):
        at, words = left + width * scale.place(value), to_text(value)
        at = min(at, left + width - 3.2 * len(words) + 4)  # within the panel
        body.append(text(at, top + 20, words, anchor="middle", style="soft"))
    body.append(text(max(2.0, min(left, left + width - 6.0 * len(label))), top + 34, label))
    return "".join(body)
