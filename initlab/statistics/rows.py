"""Counts, means and variances of arms × seeds with holes, and the steps that the values come in."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Mask = NDArray[np.bool_]


def count(values: Floats) -> NDArray[np.int64]:
    return np.isfinite(values).sum(axis=1)


def mean(values: Floats) -> Floats:
    n = count(values)
    return np.where(n > 0, np.nansum(values, axis=1) / np.maximum(n, 1), math.nan)


def variance(values: Floats) -> Floats:
    """Unbiased; NaN below two values, and exactly 0 where all are alike."""
    n, squares = count(values), np.nansum((values - mean(values)[:, None]) ** 2, axis=1)
    found = np.where(n > 1, squares / np.maximum(n - 1, 1), math.nan)
    filled = np.nan_to_num(np.where(np.isfinite(values), values, mean(values)[:, None]))
    alike = (n > 1) & (np.ptp(filled, axis=1) <= 1e-12 * np.abs(np.nan_to_num(mean(values))))
    found[alike] = 0.0
    return found


def step(values: Floats) -> float:
    """Distance of the grid that all values lie on, as accuracies of a few hundred examples do; 0 where there is none.

    Example:
        >>> round(step(np.array([[0.92, 0.96, 0.94], [0.90, 0.94, 0.94]])), 6)
        0.02
    """
    some = np.unique(values[np.isfinite(values)])
    if len(some) < 3:
        return 0.0
    apart = np.diff(some)
    apart = apart[apart > 1e-9 * (some[-1] - some[0])]
    if len(apart) < 2:
        return 0.0
    least = float(apart.min())
    # distinct values without a grid are rarely multiples of their smallest distance
    return least if float(np.abs(apart / least - np.round(apart / least)).max()) < 1e-3 else 0.0
