"""Axes: linear and logarithmic scales, their ticks, and numbers as text."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

#: no axis reaches beyond these: smaller positive numbers are drawn at the edge
SMALLEST, LARGEST = 1e-45, 1e45
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Scale:
    """A range of values, on a linear or a logarithmic axis.

    Attributes:
        low, high: ends of the axis, low < high.
        log: whether the axis is logarithmic; then 0 < low.
    """

    low: float
    high: float
    log: bool = False

    @classmethod
    def of(
        cls,
        values: Iterable[float],
        *,
        log: bool = False,
        zero: bool = False,
        margin: float = 0.04,
        decades: float = 0.6,
    ) -> Scale:
        """The scale that holds all finite (and on a logarithmic axis positive) values.

        Args:
            values: to be shown.
            log: logarithmic axis.
            zero: a linear axis begins at 0.
            margin: free part of the axis at both ends.
            decades: least length of a logarithmic axis, so that chance does not fill it.
        """
        known = [
            min(max(v, SMALLEST), LARGEST) if log else v for v in values if math.isfinite(v) and (not log or v > 0)
        ]
        if log:
            known = known or [1e-1, 1.0]
            low, high = math.log10(min(known)), math.log10(max(known))
            if high - low < decades:
                middle = (low + high) / 2
                low, high = middle - decades / 2, middle + decades / 2
            free = margin * (high - low)
            return cls(10 ** (low - free), 10 ** (high + free), True)
        known = known or [0.0, 1.0]
        low, high = min(known), max(known)
        if zero:
            low = min(low, 0.0)
        if high - low <= 1e-9 * max(abs(low), abs(high), 1e-30):
            size = abs(high) * 0.05 or 0.5
            low, high = low - size, high + size
        free = margin * (high - low)
        return cls(low if zero and low == 0.0 else low - free, high + free, False)

    def place(self, value: float) -> float:
        """Position of a value: 0 at the low end, 1 at the high end; NaN for a value that the axis cannot show."""
        if not math.isfinite(value):
            return math.nan
        if self.log:
            if value <= 0:
                return math.nan
            low, high = math.log10(self.low), math.log10(self.high)
            return (math.log10(min(max(value, self.low), self.high)) - low) / (high - low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self, count: int = 5) -> list[float]:
        """Round values of the axis, about `count` of them."""
        return _log_ticks(self.low, self.high, count) if self.log else _linear_ticks(self.low, self.high, count)


def _linear_ticks(low: float, high: float, count: int) -> list[float]:
    power = 10.0 ** math.floor(math.log10((high - low) / (count + 2)))
    steps = (f * power for f in (1.0, 2.0, 5.0, 10.0, 20.0, 50.0))
    step = next(s for s in steps if math.floor(high / s + 1e-9) - math.ceil(low / s - 1e-9) + 1 <= count + 2)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(k * step, 12 - math.floor(math.log10(step))) for k in range(first, last + 1)]


def _log_ticks(low: float, high: float, count: int) -> list[float]:
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    decades = last - first + 1
    if decades >= 3:
        every = -(-decades // (count + 1))
        return [10.0**k for k in range(first, last + 1) if k % every == 0]
    found = [f * 10.0**k for k in range(first - 1, last + 1) for f in (1.0, 2.0, 5.0)]
    shown = [v for v in found if low <= v <= high]
    return shown if len(shown) >= 2 else [v for v in _linear_ticks(low, high, count) if v > 0]


def to_text(value: float) -> str:
    """A number in few characters: ``0.25``, ``1,200``, ``10⁻⁷``, ``2×10⁵``."""
    if value == 0:
        return "0"
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else "∞" if value > 0 else "-∞"
    if 1e-3 <= abs(value) < 1e5:
        text = f"{value:,.6g}" if abs(value) >= 1000 else f"{value:.4g}"
        return text.replace("-", "−")
    power = math.floor(math.log10(abs(value)) + 1e-9)
    factor = float(f"{value / 10.0**power:.2g}")
    exponent = f"10{str(power).translate(_SUPERSCRIPTS)}"
    return exponent if factor == 1 else f"{factor:g}×{exponent}"
