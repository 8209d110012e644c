"""A figure: panels of SVG, with title, reading aid, and a style for light and dark themes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from importlib.resources import files

#: width of a panel in units of the SVG: the pixels of a phone's screen between its margins
WIDTH = 350.0
_GAP = 18.0
#: characters narrower or wider than most, and their width in DejaVu Sans of 11 units
_WIDTHS = ((" .,:;|!'ijlI()[]/-ftr", 4.2), ("mwMW%", 10.2), ("=+±<>~≥≤−", 9.3))


@dataclass(frozen=True)
class Panel:
    """One pair of axes.

    Attributes:
        width, height: in units of the SVG.
        body: SVG elements.
        label: what is drawn, in words, for a reader without the picture.
    """

    width: float
    height: float
    body: str
    label: str

    def inline(self) -> str:
        """The panel as an SVG element of a page that holds the style `css`."""
        width = 1.25 * self.width if self.width <= WIDTH else self.width
        return (
            f'<svg class="chart" role="img" viewBox="0 0 {self.width:.0f} {self.height:.0f}" width="{width:.0f}"'
            f' style="max-width:{width:.0f}px" aria-label="{escape(self.label)}">{self.body}</svg>'
        )


@dataclass(frozen=True)
class Figure:
    """Panels that belong together.

    Attributes:
        title: what the figure shows.
        panels: at least one.
        reading: how to read it, a sentence or two.
    """

    title: str
    panels: tuple[Panel, ...]
    reading: str = ""

    @property
    def layout(self) -> str:
        """How a page lays the panels out: "small" in many columns, "scroll" where one is wider than a phone."""
        if any(p.width > WIDTH for p in self.panels):
            return "scroll"
        return "small" if len(self.panels) > 1 and self.panels[-1].width < 0.6 * WIDTH else ""

    def inline(self) -> str:
        """The panels as SVG elements of a page that holds the style `css`."""
        return "".join(p.inline() for p in self.panels)

    def standalone(self, name: str = "") -> str:
        """The figure as an SVG file of its own, on white: panels in rows, title above, reading aid below.

        Args:
            name: of the run, before the title.
        """
        title = shorten(f"{name}: {self.title}" if name else self.title, 120)
        rows = _rows(self.panels)
        width = max(sum(p.width for p in row) + _GAP * (len(row) - 1) for row in rows) + 2 * _GAP
        y, body = 6.0, []
        for line in wrap(title, int((width - 2 * _GAP) / 8.3)):
            y += 18
            body.append(f'<text class="title" x="{_GAP:g}" y="{y:g}">{escape(line)}</text>')
        y += 16
        for row in rows:
            x = _GAP
            for panel in row:
                body.append(f'<g transform="translate({x:g} {y:g})">{panel.body}</g>')
                x += panel.width + _GAP
            y += max(p.height for p in row) + 8
        for line in wrap(self.reading, int((width - 2 * _GAP) / 6.2)):
            body.append(f'<text class="soft" x="{_GAP:g}" y="{y + 10:g}">{escape(line)}</text>')
            y += 14
        height = y + 8
        words, drawn = "; ".join(p.label for p in self.panels), "".join(body)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="chart" role="img" width="{width:.0f}"'
            f' height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}"><title>{escape(title)}</title>'
            f"<desc>{escape(words)}</desc><style>{_style_of(drawn)}</style>"
            f'<rect class="paper" width="100%" height="100%"/>{drawn}</svg>\n'
        )

    def _repr_svg_(self) -> str:
        return self.standalone()


def _rows(panels: Sequence[Panel]) -> list[list[Panel]]:
    """The panels in rows as wide as two of the usual width; a wider panel has a row of its own."""
    rows: list[list[Panel]] = []
    used = 0.0
    for panel in panels:
        if not rows or used + panel.width > 2 * WIDTH + _GAP:
            rows.append([])
            used = 0.0
        rows[-1].append(panel)
        used += panel.width + _GAP
    return rows


@cache
def css(*, themes: bool = True) -> str:
    """The style of charts; with `themes` also the colours of a dark theme."""
    text = (files("initlab.report.charts") / "charts.css").read_text(encoding="utf-8")
    return text if themes else text.partition("/* dark */")[0]


def _style_of(body: str) -> str:
    """The rules of the style that the elements of `body` have classes of, and the colours that these rules name."""
    used = {name for names in re.findall(r'class="([^"]+)"', body) for name in names.split()} | {
        "paper",
        "title",
        "soft",
    }
    rules = re.findall(r"[^{}]+\{[^{}]*\}", css(themes=False))
    kept = [r.strip() for r in rules if not (named := set(re.findall(r"\.([\w-]+)", r.partition("{")[0])) - {"chart"})
            or named & used]  # fmt: skip
    words = " ".join(kept)
    return re.sub(r"(--[\w-]+): [^;]+;\s*", lambda m: m[0] if f"var({m[1]})" in words else "", words)


def text(x: float, y: float, words: str, *, anchor: str = "start", style: str = "", turn: float = 0.0) -> str:
    """An SVG text element; `turn` in degrees about its own place."""
    rotated = f' transform="rotate({turn:g} {x:.1f} {y:.1f})"' if turn else ""
    kind = f' class="{style}"' if style else ""
    at = f' text-anchor="{anchor}"' if anchor != "start" else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{at}{kind}{rotated}>{escape(words)}</text>'


def shorten(words: str, length: int) -> str:
    """At most `length` characters: beginning and end, with an ellipsis between them."""
    if len(words) <= length:
        return words
    tail = (length - 1) * 3 // 5
    return f"{words[: length - 1 - tail]}…{words[len(words) - tail :]}"


def text_width(words: str) -> float:
    """Units that words need at the size of labels, in the widest of the usual fonts, DejaVu Sans."""
    return sum(next((w for letters, w in _WIDTHS if c in letters), 7.0) for c in words)


def wrap(words: str, length: int) -> list[str]:
    """Lines of at most `length` characters."""
    import textwrap

    return textwrap.wrap(words, length)


def legend(items: Sequence[tuple[str, str]], *, left: float, width: float) -> tuple[str, float]:
    """A legend of (swatch, words), in as many rows as it needs; returns its SVG and its height.

    A swatch is SVG within 16 × 10 units.
    """
    x, y, body = left, 0.0, []
    for swatch, words in items:
        needs = 22 + max(5.9 * len(words), text_width(words) - 4) + 12
        if x > left and x + needs - 12 > width:
            x, y = left, y + 15
        body.append(f'<g transform="translate({x:.1f} {y:.1f})">{swatch}{text(21, 9, words)}</g>')
        x += needs
    return "".join(body), (y + 18 if items else 0.0)
