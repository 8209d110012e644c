"""The axes of a panel: grid, ticks, labels, and places of values in the SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from initlab.report.charts.figure import text
from initlab.report.charts.scale import Scale, to_text


@dataclass(frozen=True)
class Frame:
    """The rectangle of a plot in its panel, with a scale on each side.

    Attributes:
        left, top, width, height: of the rectangle, in units of the SVG.
        x, y: scales; y grows upwards.
    """

    left: float
    top: float
    width: float
    height: float
    x: Scale
    y: Scale

    def at_x(self, value: float) -> float:
        """Horizontal place of a value."""
        return self.left + self.width * self.x.place(value)

    def at_y(self, value: float) -> float:
        """Vertical place of a value."""
        return self.top + self.height * (1 - self.y.place(value))

    def draw(self, x_label: str, y_label: str, *, y_ticks: bool = True, x_ticks: int = 5, whole: bool = False) -> str:
        """Grid lines, ticks and labels. The label of y stands above the axis, horizontally.

        With `whole` the x axis has ticks at whole numbers only.
        """
        bottom = self.top + self.height
        body: list[str] = []
        for value in self.x.ticks(x_ticks):
            if whole and value != int(value):
                continue
            at = self.at_x(value)
            body.append(f'<path class="grid" d="M{at:.1f} {self.top:.1f}V{bottom:.1f}"/>')
            body.append(text(at, bottom + 14, to_text(value), anchor="middle", style="soft"))
        if y_ticks:
            for value in self.y.ticks(4):
                at = self.at_y(value)
                body.append(f'<path class="grid" d="M{self.left:.1f} {at:.1f}H{self.left + self.width:.1f}"/>')
                body.append(text(self.left - 5, at + 4, to_text(value), anchor="end", style="soft"))
        body.append(
            f'<path class="axis" d="M{self.left:.1f} {self.top:.1f}V{bottom:.1f}H{self.left + self.width:.1f}"/>'
        )
        body.append(text(self.left + self.width / 2, bottom + 29, x_label, anchor="middle"))
        if y_label:
            body.append(text(2, self.top - 8, y_label))
        return "".join(body)


def tick_width(ticks: Sequence[float]) -> float:
    """Space that the tick labels of a vertical axis need."""
    return 10 + 6.2 * max((len(to_text(t)) for t in ticks), default=1)
