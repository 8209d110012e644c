"""Every root of a function of one variable between two bounds, on a logarithmic scale."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

from scipy import optimize


def root(f: Callable[[float], float], low: float, high: float) -> float:
    """The root of `f` between `low` and `high`, where its signs differ, by Brent's method."""
    return float(cast("Any", optimize.brentq)(f, low, high, xtol=1e-14, rtol=1e-14))


def log_grid(low: float, high: float, per_decade: int) -> list[float]:
    """ln of points from `low` to `high`, evenly spaced on the logarithmic scale."""
    count = round(math.log10(high / low) * per_decade)
    return [math.log(low) + i * math.log(high / low) / count for i in range(count + 1)]


def brackets(f: Callable[[float], float], grid: list[float]) -> list[tuple[float, float, float, float]]:
    """(x, y, f(x), f(y)) of neighbours on the grid between which `f` changes its sign; both values finite."""
    values = [f(x) for x in grid]
    pairs = zip(grid, grid[1:], values, values[1:], strict=False)
    return [(x, y, a, b) for x, y, a, b in pairs if math.isfinite(a) and math.isfinite(b) and (a < 0) != (b < 0)]
