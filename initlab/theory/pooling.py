"""Which units a maximum over a window takes its numbers from, and the slope that the gradient meets there."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from initlab.activations.slope import derivative
from initlab.spec import Activation

_POINTS = 4000  # an even number: the kink at the mean is between two


@lru_cache(maxsize=4096)
def winners_slope(activation: Activation, mean: float, variance: float, window: int, ratio: float) -> float:
    """E[φ'(h)² | φ(h) is the largest of its window] / E[φ'(h)²] for h ~ N(mean, variance).

    The gradient of a maximum goes to the largest unit only, and those units are not like the others: with ReLU nearly
    all of them have slope 1, where one in two has it before. Neighbours in a window are correlated; the number of
    independent ones that stands for them is that which gives the mean square of the maxima that was measured.

    Args:
        window: units in a window.
        ratio: measured mean square after the maximum over that before it.

    Example:
        >>> from initlab.activations import relu
        >>> round(winners_slope(relu(), 0.0, 1.0, 4, 10.0), 3)  # (1 - 2⁻⁴) / ½
        1.875
    """
    z = torch.linspace(-8.0, 8.0, _POINTS, dtype=torch.float64)
    weight = torch.exp(-z.square() / 2)
    h = mean + variance**0.5 * z
    value, slope = activation.fn(h).detach(), derivative(activation.fn, h).square()
    value, order = value.sort()
    weight, slope = (weight / weight.sum())[order], slope[order]
    everywhere = float((weight * slope).sum())
    if window < 2 or not everywhere > 0:
        return 1.0
    below = torch.cat([weight.new_zeros(1), weight.cumsum(0)])
    wanted = ratio * float((weight * value.square()).sum())
    low, high = 1.0, float(window)
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (
            (middle, high) if float((_largest(below, middle) * value.square()).sum()) < wanted else (low, middle)
        )
    return float((_largest(below, (low + high) / 2) * slope).sum()) / everywhere


def overlap_factor(windows: float) -> float:
    """Factor of the squared gradient where each unit lies in `windows` windows of a maximum.

    A unit that wins m of them receives the sum of m gradients: E[m²]/E[m] times the square of one if they are equal, 1
    time if they are independent. Counted on noise, E[m²]/E[m] is 1.8 to 2.1 for windows of 3 at stride 2, 2.5 to 3.0
    for 2 at stride 1 and 4.9 to 6.2 for 3 at stride 1. The geometric mean of both ends is returned.

    Example:
        >>> overlap_factor(1.0)
        1.0
        >>> round(overlap_factor(2.25), 2)
        1.39
    """
    return (1 + 0.75 * max(0.0, windows - 1)) ** 0.5


def _largest(below: Tensor, count: float) -> Tensor:
    """Probability of each value, in rising order, to be the largest of `count` independent ones."""
    return below.pow(count).diff()
