"""The neural tangent kernel of a wide network, by recursion through the layers (Jacot, Gabriel & Hongler, 2018)."""

from __future__ import annotations

import math

from initlab.spec import Activation
from initlab.theory.correlation import product, slope_product
from initlab.theory.quadrature import moments_of


def ntk(activation: Activation, c: float, *, hidden: int, sigma_w: float | None = None) -> float:
    """Θ of two inputs with unit mean square and correlation c, in NTK parametrisation, no biases, unit-variance kernel.

    S_l = σ_w² E[φ φ] and Θ_l = Θ_{l-1} σ_w² E[φ' φ'] + S_l, with S_0 = Θ_0 = c.

    Args:
        hidden: hidden layers.
        sigma_w: √σ_w²; by default the forward gain, which keeps the mean square at 1.
    """
    m = moments_of(activation)
    sw2 = sigma_w**2 if sigma_w is not None else 1 / m.second
    kernel, theta, q = c, c, 1.0
    for _ in range(hidden):
        # rounding may carry the correlation past 1 by 1e-16
        correlation = min(1.0, kernel / q)
        if correlation >= 1.0:
            here = moments_of(activation, q=q)
            forward, slopes = here.second, here.slope_second
        else:
            forward, slopes = product(activation, q, correlation), slope_product(activation, q, correlation)
        q = sw2 * moments_of(activation, q=q).second
        kernel = sw2 * forward
        theta = theta * sw2 * slopes + kernel
    return theta


def ntk_condition(diagonal: float, off_diagonal: float, examples: int) -> float:
    """Condition number of a kernel matrix whose diagonal and other entries are all alike: (d + (n-1) o)/(d - o)."""
    gap = diagonal - off_diagonal
    return math.inf if gap <= 0 else (diagonal + (examples - 1) * off_diagonal) / gap
