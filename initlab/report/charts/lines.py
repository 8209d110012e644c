"""Panels of lines and points over two axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from initlab.report.charts.figure import WIDTH, Panel, legend, text
from initlab.report.charts.frame import Frame, tick_width
from initlab.report.charts.scale import Scale, to_text

Dash = Literal["", "dash", "dots"]
Mark = Literal["", "dot", "ring", "stroke", "cross"]
#: points of a line that are drawn: beyond, the lowest and the highest of neighbours stand for them
_POINTS = 360


@dataclass(frozen=True, kw_only=True)
class Line:
    """A series of a panel.

    Attributes:
        label: in the legend; empty for none.
        points: (x, y); a y that is not finite breaks the line.
        colour: 0 to 8, of the palette; 8 is grey.
        dash: "" solid, "dash" or "dots".
        mark: at each point.
        joined: whether a line joins the points.
        ends: low and high end of a band about the line, by point; empty for none.
        texts: beside each point; empty for none.
    """

    label: str
    points: Sequence[tuple[float, float]]
    colour: int = 0
    dash: Dash = ""
    mark: Mark = ""
    joined: bool = True
    ends: Sequence[tuple[float, float]] = ()
    texts: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Band:
    """A range of values that is marked across the panel, or where `low` equals `high` a dotted line."""

    label: str
    low: float
    high: float
    across: Literal["y", "x"] = "y"


def lines_panel(
    lines: Sequence[Line], *, x_label: str, y_label: str, x: Scale | None = None, y: Scale | None = None,
    bands: Sequence[Band] = (), width: float = WIDTH, height: float = 190.0, names: Sequence[str] = (),
    whole: bool = False,
) -> Panel:  # fmt: skip
    """Lines over two axes, with a legend above.

    Args:
        lines: drawn in their order.
        x_label, y_label: with units.
        x, y: scales; by default such that all values are seen.
        bands: behind the lines.
        width, height: of the plot with its labels, without the legend.
        whole: only whole numbers on the x axis.
        names: labels of whole numbers of the y axis, from the top: a row each instead of a scale of numbers.
    """
    held = [p for line in lines for p in line.points]
    x = x or Scale.of([p[0] for p in held], margin=0.02)
    if names:
        y = Scale(-0.5, len(names) - 0.5)
    y = y or Scale.of([p[1] for p in held])
    items = [(_swatch(b), b.label) for b in bands if b.label]
    items += [(_sample(line), line.label) for line in lines if line.label]
    keys, above = legend(items, left=2, width=width)
    left = min(0.55 * width, 10 + 6.1 * max(map(len, names))) if names else tick_width(y.ticks(4))
    top = above + (22 if y_label else 8)
    frame = Frame(left, top, width - left - 12, height - 22 - 36, x, y)
    body = [keys, frame.draw(x_label, y_label, y_ticks=not names, whole=whole)]
    for k, name in enumerate(names):
        at = frame.at_y(len(names) - 1 - k)
        body.append(text(left - 5, at + 3.5, name, anchor="end", style="name"))
    body += [_band(b, frame) for b in bands]
    body += [_draw(line, frame) for line in lines]
    if not any(math.isfinite(frame.at_x(a)) and math.isfinite(frame.at_y(b)) for a, b in held):
        middle = frame.left + frame.width / 2, frame.top + frame.height / 2
        body.append(text(*middle, "no value above 0 to show" if held else "no values", anchor="middle", style="soft"))
    return Panel(width, top + frame.height + 36, "".join(body), _words(lines, x_label, y_label))


# ------------------------------------------------------------------ pieces
def _band(band: Band, frame: Frame) -> str:
    scale = frame.y if band.across == "y" else frame.x
    if band.low == band.high:
        place = scale.place(band.low)
        if not 0 <= place <= 1:
            return ""
        if band.across == "y":
            return f'<path class="rule" d="M{frame.left:.1f} {frame.at_y(band.low):.1f}h{frame.width:.1f}"/>'
        return f'<path class="rule" d="M{frame.at_x(band.low):.1f} {frame.top:.1f}v{frame.height:.1f}"/>'
    low, high = (max(0.0, min(1.0, _edge(scale, v))) for v in (band.low, band.high))
    if high <= low:
        return ""
    if band.across == "y":
        at, size = frame.top + frame.height * (1 - high), frame.height * (high - low)
        return f'<rect class="band" x="{frame.left:.1f}" y="{at:.1f}" width="{frame.width:.1f}" height="{size:.1f}"/>'
    at, size = frame.left + frame.width * low, frame.width * (high - low)
    return f'<rect class="band" x="{at:.1f}" y="{frame.top:.1f}" width="{size:.1f}" height="{frame.height:.1f}"/>'


def _edge(scale: Scale, value: float) -> float:
    if not scale.log:
        return (value - scale.low) / (scale.high - scale.low)
    low, high = math.log10(scale.low), math.log10(scale.high)
    return (math.log10(max(value, 1e-300)) - low) / (high - low)


def _draw(line: Line, frame: Frame) -> str:
    body: list[str] = []
    if line.ends:
        body.append(_spread(line, frame))
    places = [(frame.at_x(a), frame.at_y(b)) for a, b in thin(line.points)]
    if line.joined:
        path, pen = [], "M"
        for a, b in places:
            if math.isnan(a) or math.isnan(b):
                pen = "M"
                continue
            path.append(f"{pen}{a:.1f} {b:.1f}")
            pen = "L"
        body.append(f'<path class="line s{line.colour} {line.dash}" d="{"".join(path)}"/>' if path else "")
    if line.mark:
        body += [_mark(line, a, b) for a, b in places if not (math.isnan(a) or math.isnan(b))]
    body += [
        text(a + 5, b - 5, words)
        for (a, b), words in zip(places, line.texts, strict=False)
        if words and not (math.isnan(a) or math.isnan(b))
    ]
    return "".join(body)


def _spread(line: Line, frame: Frame) -> str:
    """The band, cut off where the plot ends."""
    known = [
        (frame.at_x(a), *(frame.top + frame.height * (1 - max(0.0, min(1.0, _edge(frame.y, v)))) for v in ends))
        for (a, _), ends in zip(line.points, line.ends, strict=True)
        if all(map(math.isfinite, (a, *ends)))
    ]
    if len(known) < 2:
        return ""
    there = "L".join(f"{a:.1f} {high:.1f}" for a, _, high in known)
    back = "L".join(f"{a:.1f} {low:.1f}" for a, low, _ in reversed(known))
    return f'<path class="spread f{line.colour}" d="M{there}L{back}Z"/>'


def _mark(line: Line, x: float, y: float) -> str:
    if line.mark == "stroke":
        return f'<path class="line s{line.colour}" d="M{x:.1f} {y - 4:.1f}v8"/>'
    if line.mark == "cross":
        return f'<path class="line s{line.colour}" d="M{x - 3:.1f} {y - 3:.1f}l6 6m0 -6l-6 6"/>'
    if line.mark == "ring":
        return f'<circle class="hollow s{line.colour}" cx="{x:.1f}" cy="{y:.1f}" r="3.2"/>'
    return f'<circle class="f{line.colour}" cx="{x:.1f}" cy="{y:.1f}" r="2.6"/>'


def _sample(line: Line) -> str:
    joined = f'<path class="line s{line.colour} {line.dash}" d="M0 5h16"/>' if line.joined else ""
    return joined + (_mark(line, 8, 5) if line.mark else "")


def _swatch(band: Band) -> str:
    if band.low == band.high:
        return '<path class="rule" d="M0 5h16"/>'
    return '<rect class="band" width="16" height="10"/>'


def thin(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most 2 × 360 points: of neighbours the lowest and the highest, so that no peak is lost."""
    if len(points) <= 2 * _POINTS:
        return list(points)
    found: list[tuple[float, float]] = []
    for k in range(_POINTS):
        part = points[k * len(points) // _POINTS : (k + 1) * len(points) // _POINTS]
        known = [p for p in part if math.isfinite(p[1])]
        if len(known) < len(part):
            found.append((part[0][0], math.nan))
        if known:
            found += sorted({min(known, key=lambda p: p[1]), max(known, key=lambda p: p[1])})
    return found


def _words(lines: Sequence[Line], x_label: str, y_label: str) -> str:
    told: list[str] = []
    for line in lines:
        known = [v for _, v in line.points if math.isfinite(v)]
        if known and line.label:
            told.append(f"{line.label} from {to_text(known[0])} to {to_text(known[-1])}")
    return f"{y_label or 'values'} by {x_label}: {'; '.join(told) or 'no values'}"
