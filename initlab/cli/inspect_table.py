"""The layer table of `inspect`: theory and measurement in one cell, fitted to the terminal, with a legend."""

from __future__ import annotations

import math
import shutil
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from initlab.report.table import align_columns

if TYPE_CHECKING:
    from initlab.run.inspect import Inspection

#: layers of a deep network that are shown; all of them are in inspect.json
_ROWS = 14
#: columns of a terminal where there is none
_WIDTH = 80
_GAP = 2
#: characters of a layer's name
_NAME = 24
_NONE = "–"


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of the table; the one with the largest `drop` is left out first where the terminal is narrow."""

    heading: str
    legend: str
    cells: list[str]
    drop: int = 0

    @property
    def width(self) -> int:
        return max(len(self.heading), *(len(c) for c in self.cells)) if self.cells else len(self.heading)

    @property
    def empty(self) -> bool:
        return all(c in (_NONE, f"{_NONE}/{_NONE}", "") for c in self.cells)


def layer_lines(found: Inspection, *, width: int | None = None) -> list[str]:
    """The table of the layers and the legend of its columns, none wider than the terminal."""
    limit = width or (shutil.get_terminal_size((_WIDTH, 24)).columns if sys.stdout.isatty() else _WIDTH)
    names, columns = _columns(found)
    shown = [c for c in columns if not c.empty]
    longest = max((len(n) for n in names), default=0)
    left_out: list[str] = []
    while longest + sum(c.width + _GAP for c in shown) > limit and any(c.drop for c in shown):
        worst = max(shown, key=lambda c: c.drop)
        shown.remove(worst)
        left_out.append(worst.heading)
    rows = [[name, *(c.cells[i] for c in shown)] for i, name in enumerate(names)]
    legend = "; ".join(f"{c.heading}: {c.legend}" for c in shown)
    more = f". Left out at this width: {', '.join(left_out)} (in inspect.json)" if left_out else ""
    text = f"a/b: a is predicted, b measured, {_NONE} where there is none. {legend}{more}"
    return [*align_columns(["layer", *(c.heading for c in shown)], rows), *textwrap.wrap(
        text, limit, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False
    )]  # fmt: skip


def _columns(found: Inspection) -> tuple[list[str], list[Column]]:
    said = {r.site: r for r in found.prediction.layers}
    spectra = {s.site: s for s in found.spectra if s.site}
    layers = list(found.seen.layers)
    cut = len(layers) > _ROWS
    shown = [*layers[: _ROWS // 2], *layers[-_ROWS // 2 :]] if cut else layers
    theory = [said.get(r.site) for r in shown]
    jacobian = [spectra.get(r.site) for r in shown]

    def pair(predicted: Sequence[str], measured: Sequence[str]) -> list[str]:
        return [f"{a}/{b}" for a, b in zip(predicted, measured, strict=True)]

    names = [_cut(r.site) for r in shown]
    columns = [
        Column(
            heading="q",
            legend="mean square of a unit's input",
            cells=pair([short(t.q if t else None) for t in theory], [short(r.q) for r in shown]),
        ),
        Column(
            heading="c",
            legend="correlation of two examples",
            cells=pair([short(t.c if t else None, 2) for t in theory], [short(r.c, 2) for r in shown]),
        ),
        Column(
            heading="log10 grad²",
            legend="size of the gradient",
            cells=pair(
                [short(t.log10_gradient if t else None, 1) for t in theory],
                [short(r.log10_gradient, 1) for r in shown],
            ),
        ),
        Column(
            heading="χ",
            legend="factor of the squared gradient from layer to layer, 1 is stable",
            cells=[short(t.chi if t else None, 2) for t in theory],
            drop=1,
        ),
        Column(
            heading="saturated",
            legend="share of units where the activation is flat",
            cells=pair([share(t.saturated if t else None) for t in theory], [share(r.saturated) for r in shown]),
            drop=2,
        ),
        Column(heading="off", legend="share of zeros", cells=[share(r.off) for r in shown], drop=4),
        Column(
            heading="rank",
            legend="effective rank of the outputs",
            cells=[short(r.effective_rank, 0) for r in shown],
            drop=3,
        ),
        Column(
            heading="J s²",
            legend="mean squared singular value of the layer's Jacobian",
            cells=[short(j.mean_square if j else None, 2) for j in jacobian],
            drop=5,
        ),
        Column(
            heading="J cond.",
            legend="its condition number",
            cells=[short(j.condition if j else None) for j in jacobian],
            drop=6,
        ),
    ]
    if cut:
        names.insert(_ROWS // 2, "…")
        for column in columns:
            column.cells.insert(_ROWS // 2, "")
    return names, columns


def _cut(name: str) -> str:
    """The end of a layer's name tells it from the others."""
    return name if len(name) <= _NAME else f"…{name[1 - _NAME :]}"


def short(value: float | None, digits: int | None = None) -> str:
    """A number in few characters; a dash where there is none."""
    if value is None or math.isnan(value):
        return _NONE
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return f"{value:.3g}" if digits is None or abs(value) >= 1e5 else f"{value:.{digits}f}"


def share(value: float | None) -> str:
    """A share in percent."""
    return _NONE if value is None or math.isnan(value) else f"{value:.0%}"
