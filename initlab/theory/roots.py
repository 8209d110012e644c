"""Finds roots of a function of one variable between two bounds, on a logarithmic scale."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

_NOISE = 1e-9


def find_root(f: Callable[[float], float], low: float, high: float) -> float:
    """The root of `f` between `low` and `high`, where its signs differ, by Brent's method."""
    from scipy import optimize  # takes half a second to load

    return float(cast("Any", optimize.brentq)(f, low, high, xtol=1e-14, rtol=1e-14))


def log_grid(low: float, high: float, per_decade: int) -> list[float]:
    """ln of points from `low` to `high`, evenly spaced on the logarithmic scale."""
    count = round(math.log10(high / low) * per_decade)
    return [math.log(low) + i * math.log(high / low) / count for i in range(count + 1)]


def brackets(f: Callable[[float], float], grid: list[float]) -> list[tuple[float, float, float, float]]:
    """(x, y, f(x), f(y)) of neighbours on the grid between which `f` changes its sign; both values finite.

    Two roots between the same neighbours show no change. Where |f| has a minimum on the grid without one, the minimum
    is closed in on, and if `f` is beyond zero there, both halves are given. Where `f` is constant, nothing is searched.
    """
    values = [f(x) for x in grid]
    found: list[tuple[float, float, float, float]] = []
    for i, (x, y, a, b) in enumerate(zip(grid, grid[1:], values, values[1:], strict=False)):
        if not (math.isfinite(a) and math.isfinite(b)):
            continue
        before = values[i - 1] if i > 0 else math.nan
        if (a < 0) != (b < 0):
            found.append((x, y, a, b))
        # rounding noise has minima everywhere, around zero and around a constant
        elif (
            (before < 0) == (a < 0)
            and _NOISE < abs(a) <= min(abs(before), abs(b)) < math.inf
            and max(abs(before), abs(b)) > abs(a) * (1 + _NOISE)
        ):
            at = _nearest_to_zero(f, grid[i - 1], y, a < 0)
            value = f(at)
            if (value < 0) != (a < 0):
                found += [(grid[i - 1], at, before, value), (at, y, value, b)]
    return found


def _nearest_to_zero(f: Callable[[float], float], low: float, high: float, negative: bool) -> float:
    """Where |f| is smallest between two points, or a place where `f` has already crossed zero."""
    from scipy import optimize

    search = cast("Any", optimize.minimize_scalar)
    found = search(lambda x: -f(x) if negative else f(x), bounds=(low, high), method="bounded", options={"xatol": 1e-7})
    return float(found.x)
