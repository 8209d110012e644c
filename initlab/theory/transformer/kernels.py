"""E[φ(u)φ(v)] and E[φ'(u)φ'(v)] for all pairs of tokens at once: from a Gram matrix to a Gram matrix.

For a pair with mean squares q_i, q_j and correlation ρ the expectation is √(V(q_i) V(q_j)) · c(√(q_i q_j), ρ): exact
for equal q, and for any q where φ is homogeneous (ReLU and its kin); elsewhere the geometric mean of the two is an
approximation of second order in ln(q_i/q_j). In θ = arccos ρ the function c is smooth up to both ends also where φ has
a kink, where in ρ it has a branch point at 1; so it is tabulated at Chebyshev nodes of θ and at equal steps of ln q.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from initlab.spec import Activation
from initlab.theory.correlation import product, slope_product
from initlab.theory.quadrature import moments_of

_NODES = 28
#: steps of ln q, and the points of one interpolation
_STEP = 0.5
_POINTS = 4
#: mean squares beyond which the fourth power leaves the range of float64
LEAST, MOST = 1e-60, 1e60


class KernelRangeError(ArithmeticError):
    """Mean squares that have left the range in which expectations can be computed."""


def products(activation: Activation, gram: Tensor) -> Tensor:
    """E[φ(u_i)φ(u_j)] for u ~ N(0, gram).

    Args:
        activation: elementwise.
        gram: (..., T, T) float64, positive diagonal.

    Returns:
        (..., T, T).

    Raises:
        KernelRangeError: where a mean square lies outside 1e-60 … 1e60 or is not finite.

    Example:
        >>> from initlab import activations
        >>> gram = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
        >>> [round(float(x), 4) for x in products(activations.relu(), gram)[0]]
        [0.5, 0.1592]
    """
    return _apply(activation, gram, slopes=False)


def slope_products(activation: Activation, gram: Tensor) -> Tensor:
    """E[φ'(u_i)φ'(u_j)] for u ~ N(0, gram), as `products`."""
    return _apply(activation, gram, slopes=True)


def _apply(activation: Activation, gram: Tensor, *, slopes: bool) -> Tensor:
    q = gram.diagonal(dim1=-2, dim2=-1)
    if not bool(((q > LEAST) & (q < MOST)).all()):
        raise KernelRangeError(f"mean squares from {float(q.min()):.3g} to {float(q.max()):.3g}")
    root = q.sqrt()
    theta = (gram / (root[..., :, None] * root[..., None, :])).clamp(-1.0, 1.0).acos()
    log = q.log()
    levels = _interpolated(activation, log, None, slopes=slopes)
    # a level is ln V: the second moment of one token
    scale = (levels / 2).exp()
    shape = _interpolated(activation, (log[..., :, None] + log[..., None, :]) / 2, theta, slopes=slopes)
    found = scale[..., :, None] * scale[..., None, :] * shape
    # exact on the diagonal, where θ = 0 is a node's limit
    found.diagonal(dim1=-2, dim2=-1).copy_(levels.exp())
    return found


def _interpolated(activation: Activation, log_q: Tensor, theta: Tensor | None, *, slopes: bool) -> Tensor:
    """Lagrange interpolation in ln q of ln V (θ None), or of c(q, θ), itself by Chebyshev's polynomials in θ."""
    place = log_q / _STEP
    low = math.floor(float(place.min())) - _POINTS // 2 + 1
    high = math.floor(float(place.max())) + _POINTS // 2
    cells = place.floor().long() - low - (_POINTS // 2 - 1)
    part = place - place.floor() + (_POINTS // 2 - 1)
    weights = _lagrange(part)
    if theta is None:
        table = torch.tensor([_level(activation, i, slopes=slopes) for i in range(low, high + 1)], dtype=torch.float64)
        return sum((w * table[cells + k] for k, w in enumerate(weights)), torch.zeros_like(log_q))
    t = theta * (2 / math.pi) - 1
    values = torch.stack([_clenshaw(_series(activation, i, slopes=slopes), t) for i in range(low, high + 1)])
    found = torch.zeros_like(t)
    for k, w in enumerate(weights):
        found += w * values.gather(0, (cells + k)[None]).squeeze(0)
    return found


def _lagrange(x: Tensor) -> list[Tensor]:
    """Weights of the points 0 … n - 1 at x."""
    found: list[Tensor] = []
    for k in range(_POINTS):
        weight = torch.ones_like(x)
        for j in range(_POINTS):
            if j != k:
                weight = weight * (x - j) / (k - j)
        found.append(weight)
    return found


def _clenshaw(coefficients: Tensor, t: Tensor) -> Tensor:
    first, second = torch.zeros_like(t), torch.zeros_like(t)
    for c in coefficients.flip(0)[:-1]:
        first, second = 2 * t * first - second + c, first
    return t * first - second + coefficients[0]


@lru_cache(maxsize=8192)
def _level(activation: Activation, cell: int, *, slopes: bool) -> float:
    m = moments_of(activation, q=math.exp(cell * _STEP))
    return math.log(max(m.slope_second if slopes else m.second, 1e-300))


@lru_cache(maxsize=4096)
def _series(activation: Activation, cell: int, *, slopes: bool) -> Tensor:
    """Chebyshev coefficients in θ of the expectation over its value at θ = 0."""
    q = math.exp(cell * _STEP)
    k = torch.arange(_NODES, dtype=torch.float64)
    angles = math.pi * (k + 0.5) / _NODES
    theta = (angles.cos() + 1) * (math.pi / 2)
    of_pair = slope_product if slopes else product
    level = math.exp(_level(activation, cell, slopes=slopes))
    values = torch.tensor([of_pair(activation, q, math.cos(float(x))) / level for x in theta], dtype=torch.float64)
    found = (2 / _NODES) * (torch.cos(k[:, None] * angles[None]) @ values)
    found[0] /= 2
    return found
