"""Charts as SVG text: drawn in milliseconds, readable in light and dark, at any width, and by a screen reader."""

from initlab.report.charts.bars import bars_panel, histogram_panel
from initlab.report.charts.figure import Figure, Panel
from initlab.report.charts.heat import grid_panel, matrix_panel
from initlab.report.charts.lines import Band, Line, Mark, lines_panel
from initlab.report.charts.parallel import parallel_panel
from initlab.report.charts.scale import Scale

__all__ = [
    "Band",
    "Figure",
    "Line",
    "Mark",
    "Panel",
    "Scale",
    "bars_panel",
    "grid_panel",
    "histogram_panel",
    "lines_panel",
    "matrix_panel",
    "parallel_panel",
]
