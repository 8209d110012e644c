"""Shared plotting code of the figures: colours, a grid of axes, PNG export.

Matplotlib is used through its object interface, without pyplot: no global state, no window, thread-safe.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Okabe & Ito, 2008: eight colours that readers with any colour vision can tell apart
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")
GREY = "#767676"


def axes_grid(
    lines: int, columns: int, *, width: float, height: float, ratios: Sequence[float] | None = None
) -> tuple[Figure, list[Any]]:
    """A figure of `width` x `height` inches with `lines` x `columns` axes, row by row."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(lines, columns, squeeze=False, gridspec_kw={"width_ratios": ratios} if ratios else None)
    return figure, list(axes.flat)


def to_png(figure: Figure, *, dpi: int = 110) -> bytes:
    """Renders the figure as the bytes of a PNG file."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()
