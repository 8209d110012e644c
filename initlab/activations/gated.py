"""Activations of several units: gated (GLU and kin), maxout and MaxMin, concatenated ReLU.

Their Gaussian moments are of one unit that is sent, for independent received units h ~ N(0, q): (E[φ], E[φ²], the
squared entries of the Jacobian per unit sent). With weights of variance σ_w²/fan_in in the next layer, σ_w² times the
last is the factor by which the squared gradient grows on its way back through the activation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache, partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from initlab.activations.modules import in_single_precision, pointwise, regrouping
from initlab.activations.slope import derivative
from initlab.core.factories import factory
from initlab.errors import ConfigError
from initlab.spec import Activation, ElementwiseFn, PositiveFloat, PositiveInt


@lru_cache(maxsize=1)
def _nodes() -> tuple[Tensor, Tensor]:
    """Quadrature nodes and weights for E[f(z)], z ~ N(0, 1); panels shrink towards zero, where gates change."""
    x, w = np.polynomial.legendre.leggauss(16)
    half = np.concatenate([[0.0], np.geomspace(1e-6, 12.0, 64)])
    borders = np.concatenate([-half[::-1], half[1:]])
    middle, reach = (borders[1:] + borders[:-1]) / 2, np.diff(borders) / 2
    z = (middle[:, None] + reach[:, None] * x).ravel()
    weights = (reach[:, None] * w).ravel() * np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    return torch.from_numpy(z), torch.from_numpy(weights)


def _mean(f: Callable[[Tensor], Tensor]) -> float:
    z, weights = _nodes()
    with torch.no_grad():
        return float((f(z) * weights).sum())


# ------------------------------------------------------------------ one half gates the other
def gated(name: str, gate: ElementwiseFn, *, kinks: tuple[float, ...] = ()) -> Activation:
    """The activation φ(h₁, h₂) = h₁·gate(h₂) of an elementwise `gate`."""

    def compute(x: Tensor, dim: int) -> Tensor:
        value, turned = x.chunk(2, dim)
        return value * gate(turned)

    def fn(x: Tensor) -> Tensor:
        return x * gate(x)

    return regrouping(
        name,
        in_single_precision(compute),
        in_single_precision(fn),
        units=(2, 1),
        group=2,
        moments=partial(_gated_moments, gate),
        kinks=kinks,
        gate=pointwise(f"{name}_gate", gate, kinks=kinks),
    )


# at the top level: a cache inside another function cannot be pickled, and models are stored by pickling
@lru_cache(maxsize=1024)
def _gated_moments(gate: ElementwiseFn, q: float) -> tuple[float, float, float]:
    # h₁ and h₂ are independent: E[h₁²g²] = q·E[g²]; the two entries of the gradient are g(h₂) and h₁g'(h₂)
    scale = math.sqrt(q)
    square = _mean(lambda z: gate(scale * z).square())
    slope = _mean(lambda z: derivative(gate, scale * z).square())
    return 0.0, q * square, square + q * slope


@factory
def glu() -> Activation:
    """φ(h₁, h₂) = h₁σ(h₂), gradient (σ, h₁σ(1 - σ)). Dauphin, Fan, Auli & Grangier, ICML 2017.

    A linear path through a learnt gate: half of the incoming units open the other half. `fn` is that of equal halves.
    """
    return gated("glu", torch.sigmoid)


@factory
def geglu() -> Activation:
    """φ(h₁, h₂) = h₁·gelu(h₂), gradient (gelu, h₁·gelu'). Shazeer, 2020.

    The feed-forward layer of T5 v1.1; better than GELU at equal numbers of parameters in language models.
    """
    return gated("geglu", F.gelu)


@factory
def swiglu() -> Activation:
    """φ(h₁, h₂) = h₁·silu(h₂), gradient (silu, h₁·silu'). Shazeer, 2020.

    The feed-forward layer of most large language models since PaLM and LLaMA.
    """
    return gated("swiglu", F.silu)


@factory
def reglu() -> Activation:
    """φ(h₁, h₂) = h₁·max(h₂, 0), gradient (max(h₂, 0), h₁·1[h₂ > 0]). Dauphin et al., 2017; Shazeer, 2020.

    The cheapest of the gated units; its products are sparse.
    """
    return gated("reglu", F.relu)


@factory
def powlu(*, power: PositiveFloat = 3.0) -> Activation:
    """φ(h₁, h₂) = h₁·g(h₂), g(z) = zσ(z) for z ≤ 0, z^{m/(√z + 1)}σ(z) above; gradient (g, h₁g'). Jiang et al., 2026.

    arXiv 2605.25704, m = 3. Grows faster than SwiGLU for small gates and tends to h₁ for large ones: g rises to 5.3 at
    12.9 and falls slowly to 1. At 0 the slope of g jumps from 1/2 to 0.

    Args:
        power: m, below 10.
    """
    if not power < 10:
        raise ConfigError("power", power, "must be above 0 and below 10")
    return gated("powlu", partial(_power_gate, power=power), kinks=(0.0,))


def _power_gate(z: Tensor, *, power: float) -> Tensor:
    # z^e as exp(e·log z), with a z that is positive on the side that is not taken: its gradient would be NaN
    up = torch.where(z > 0, z, torch.ones_like(z))
    above = torch.exp(power / (up.sqrt() + 1) * up.log())
    return torch.where(z > 0, above, z) * torch.sigmoid(z)


# ------------------------------------------------------------------ groups and signs
@factory
def crelu() -> Activation:
    """φ(h) = (max(h, 0), max(-h, 0)), derivative (1[h > 0], -1[h < 0]). Shang, Sohn, Almeida & Lee, ICML 2016.

    Sends both signs, twice as many units as it receives; nothing is lost and no unit can die. The early filters of
    convolutional networks come in such pairs anyway. The layer's width must be even.
    """

    def compute(x: Tensor, dim: int) -> Tensor:
        return torch.cat([F.relu(x), F.relu(-x)], dim)

    def moments(q: float) -> tuple[float, float, float]:
        return math.sqrt(q / (2 * math.pi)), q / 2, 0.5

    return regrouping("crelu", compute, F.relu, units=(1, 2), group=1, moments=moments, kinks=(0.0,))


@factory
def maxmin() -> Activation:
    """φ(h₁, h₂) = (max(h₁, h₂), min(h₁, h₂)), a permutation of its inputs. Anil, Lucas & Grosse, ICML 2019.

    Keeps the norm of the signal and of the gradient exactly, for Lipschitz-bounded networks (with init=orthogonal).
    The layer's width must be even.
    """

    def compute(x: Tensor, dim: int) -> Tensor:
        pairs = x.unflatten(dim, (-1, 2))
        first, second = pairs.unbind(dim + 1)
        return torch.stack([torch.maximum(first, second), torch.minimum(first, second)], dim + 1).flatten(dim, dim + 1)

    def moments(q: float) -> tuple[float, float, float]:
        return 0.0, q, 1.0

    return regrouping("maxmin", compute, lambda x: x, units=(1, 1), group=2, moments=moments)


@factory
def maxout(*, pieces: PositiveInt = 2) -> Activation:
    """φ(h₁, ..., h_k) = max hᵢ, gradient 1 at the largest, 0 elsewhere. Goodfellow et al., ICML 2013.

    Learns its own convex shape, piece by piece, at k times the weights; goes with dropout.

    Args:
        pieces: k, how many units each sent one is the largest of; 2 or more.
    """
    if pieces < 2:
        raise ConfigError("activation.pieces", pieces, "must be 2 or more (the largest of one unit is the unit)")
    k = pieces

    def compute(x: Tensor, dim: int) -> Tensor:
        return x.unflatten(dim, (-1, k)).amax(dim + 1)

    # the density of the largest of k standard normals is k·ϕ(z)Φ(z)^(k-1)
    mean = _mean(lambda z: k * z * torch.special.ndtr(z) ** (k - 1))
    second = _mean(lambda z: k * z.square() * torch.special.ndtr(z) ** (k - 1))

    def moments(q: float) -> tuple[float, float, float]:
        return math.sqrt(q) * mean, q * second, 1.0

    return regrouping("maxout", compute, lambda x: x, units=(k, 1), group=k, moments=moments)
