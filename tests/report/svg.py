"""Reads the SVG of a figure: its texts, and whether all of it lies on the paper."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from initlab.report.charts import Figure, Panel

_NAMESPACE = "{http://www.w3.org/2000/svg}"
#: mean width of a letter, in parts of the size of the font
_LETTER = 0.56


def parse(figure: Figure) -> ElementTree.Element:
    """The figure as an element; not well formed is an error."""
    return ElementTree.fromstring(figure.standalone("name"))


def texts(figure: Figure) -> list[str]:
    """All texts of the figure, in their order."""
    return ["".join(t.itertext()) for t in parse(figure).iter(f"{_NAMESPACE}text")]


def check(figure: Figure) -> None:
    """A figure that can be read: well formed, numbers are finite, each panel has words, and nothing is cut off."""
    assert figure.title and figure.panels and figure.reading
    _whole(parse(figure))
    for panel in figure.panels:
        assert panel.label and "nan" not in re.sub(r">[^<]*<", "><", panel.body).lower()
        assert not re.search(r"[\"\s]-?inf", panel.body)
        assert 50 < panel.width < 2500 and 40 < panel.height < 1600
        _inside(panel)
        ElementTree.fromstring(panel.inline())


def _whole(root: ElementTree.Element) -> None:
    """The title and the reading aid of the file end within it."""
    width = float(root.get("width", "0"))
    for element in root.findall(f"{_NAMESPACE}text"):
        size = 14 * 1.08 if element.get("class") == "title" else 11
        words = "".join(element.itertext())
        assert float(element.get("x", "0")) + _LETTER * size * len(words) < width + 4, (words, width)


def _inside(panel: Panel) -> None:
    """Texts that are not turned begin and end within the panel, by the usual width of letters."""
    root = ElementTree.fromstring(f"<svg>{panel.body}</svg>")
    moved = {id(child): _offset(g) for g in root.iter("g") for child in g.iter()}
    for element in root.iter("text"):
        if "rotate" in element.get("transform", ""):
            continue
        words = "".join(element.itertext())
        x, y = float(element.get("x", "0")), float(element.get("y", "0"))
        dx, dy = moved.get(id(element), (0.0, 0.0))
        length = _LETTER * 11 * len(words)
        anchor = element.get("text-anchor", "start")
        left = x + dx - (length if anchor == "end" else length / 2 if anchor == "middle" else 0)
        assert left > -14, (words, left)
        assert left + length < panel.width + 26, (words, left + length, panel.width)
        assert 0 <= y + dy <= panel.height + 1, (words, y + dy, panel.height)


def _offset(group: ElementTree.Element) -> tuple[float, float]:
    found = re.match(r"translate\(([-\d.]+) ([-\d.]+)\)", group.get("transform", ""))
    return (float(found[1]), float(found[2])) if found else (0.0, 0.0)
