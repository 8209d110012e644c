"""Activations with learnable parameters. They start from a known function and have no weight decay.

By default a layer's units share the parameters; ``per_channel`` gives each unit its own, as most of the papers do.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from initlab.activations.modules import learnable_activation
from initlab.core.factories import factory
from initlab.errors import ConfigError
from initlab.spec import Activation, NonNegativeFloat, PositiveFloat, PositiveInt


@factory
def prelu(*, init: float = 0.25, per_channel: bool = False) -> Activation:
    """φ(x) = x for x ≥ 0, ax below, a learnt; φ' = 1 or a. He, Zhang, Ren & Sun, ICCV 2015.

    A leaky ReLU that finds its own slope. Never with weight decay, which would make it a ReLU.

    Args:
        init: starting a.
        per_channel: one a for each unit.
    """

    def compute(x: Tensor, *, slope: Tensor) -> Tensor:
        return torch.where(x >= 0, x, slope * x)

    return learnable_activation("prelu", compute, {"slope": float(init)}, per_channel=per_channel, kinks=(0.0,))


@factory
def swish(*, beta: float = 1.0, per_channel: bool = False) -> Activation:
    """φ(x) = xσ(βx), β learnt; φ' = σ + βxσ(1 - σ), σ at βx. Ramachandran, Zoph & Le, 2017.

    Between x/2 (β = 0) and ReLU (β → ∞): training decides how nonlinear each layer is.

    Args:
        beta: starting β.
        per_channel: one β for each unit.
    """

    def compute(x: Tensor, *, beta: Tensor) -> Tensor:
        return x * torch.sigmoid(beta * x)

    return learnable_activation("swish", compute, {"beta": float(beta)}, per_channel=per_channel)


@factory
def pelu(*, a: PositiveFloat = 1.0, b: PositiveFloat = 1.0, per_channel: bool = False) -> Activation:
    """φ(x) = (a/b)x for x ≥ 0, a(exp(x/b) - 1) below, a and b learnt; φ' = a/b or (a/b)exp(x/b).

    Trottier, Giguère & Chaib-draa, ICMLA 2017. An ELU that finds its own scale and saturation, with a continuous
    derivative. a and b stay above 0.1: below it they are mirrored, which unlike a clamp leaves them a gradient.

    Args:
        a: starting a, from 0.1.
        b: starting b, from 0.1.
        per_channel: one a and b for each unit.
    """

    def positive(p: Tensor) -> Tensor:
        return 0.1 + torch.abs(p - 0.1)

    def compute(x: Tensor, *, a: Tensor, b: Tensor) -> Tensor:
        a, b = positive(a), positive(b)
        return torch.where(x >= 0, a / b * x, a * torch.expm1(torch.clamp(x, max=0.0) / b))

    return learnable_activation("pelu", compute, {"a": float(a), "b": float(b)}, per_channel=per_channel)


@factory
def apl(*, hinges: PositiveInt = 2, per_channel: bool = False) -> Activation:
    """φ(x) = max(x, 0) + Σ aₛ·max(bₛ - x, 0), aₛ and bₛ learnt; φ' = 1[x > 0] - Σ aₛ·1[x < bₛ].

    Agostinelli, Hoffman, Sadowski & Baldi, ICLR 2015 (workshop). Any piecewise linear function with S + 1 hinges that
    is the identity far to the right. Starts as a leaky ReLU whose slope grows at 0, -1, ...

    Args:
        hinges: S, how many are learnt.
        per_channel: hinges for each unit.
    """
    values = {"a": (-0.1 / hinges,) * hinges, "b": tuple(-float(s) for s in range(hinges))}

    def compute(x: Tensor, *, a: Tensor, b: Tensor) -> Tensor:
        out = F.relu(x)
        for a_s, b_s in zip(a, b, strict=True):
            out = out + a_s * F.relu(b_s - x)
        return out

    return learnable_activation("apl", compute, values, per_channel=per_channel, kinks=values["b"])


RationalStart = Literal["leaky_relu", "relu", "gelu", "silu", "tanh", "sigmoid"]


@factory
def pau(*, start: RationalStart = "leaky_relu", per_channel: bool = False) -> Activation:
    """φ(x) = P(x)/(1 + |Q(x)|), P = Σ pₖxᵏ to k = 5, Q = Σ qₖxᵏ from k = 1 to 4, all learnt.

    φ' = (P'·D - P·D')/D² with D = 1 + |Q|. Molina, Schramowski & Kersting (Padé activation units), ICLR 2020. Can
    become nearly anything; the absolute value keeps the denominator from zero. Far outside of [-3, 3] it goes on as a
    straight line.

    Args:
        start: the function it is fitted to on [-3, 3] at the beginning.
        per_channel: coefficients for each unit.
    """
    fn: Callable[[Tensor], Tensor] = {
        "leaky_relu": F.leaky_relu,
        "relu": F.relu,
        "gelu": F.gelu,
        "silu": F.silu,
        "tanh": F.tanh,
        "sigmoid": F.sigmoid,
    }[start]
    p, q = _fit_rational(fn)
    return learnable_activation("pau", _rational, {"p": p, "q": q}, per_channel=per_channel)


def _rational(x: Tensor, *, p: Tensor, q: Tensor) -> Tensor:
    # Beyond ±1 numerator and denominator are divided by x⁴, so that no power overflows. Either branch sees arguments
    # that are harmless to it: a NaN of the branch not taken would reach the gradient.
    far = torch.abs(x) > 1
    near = torch.where(far, torch.zeros_like(x), x)
    inverse = 1 / torch.where(far, x, torch.ones_like(x))
    inside = _horner(near, [p[k] for k in range(5, -1, -1)]) / (
        1 + torch.abs(near * _horner(near, [q[k] for k in range(3, -1, -1)]))
    )
    above = torch.where(far, x, torch.ones_like(x)) * p[5] + _horner(inverse, [p[k] for k in range(5)])
    below = inverse.square().square() + torch.abs(_horner(inverse, [q[k] for k in range(4)]))
    return torch.where(far, above / below, inside)


def _horner(x: Tensor, highest_first: list[Tensor]) -> Tensor:
    total = highest_first[0] + torch.zeros_like(x)
    for coefficient in highest_first[1:]:
        total = total * x + coefficient
    return total


def _fit_rational(fn: Callable[[Tensor], Tensor]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """p₀...p₅ and q₁...q₄ of the least-squares fit on [-3, 3], with Q even and never negative: smooth at the start.

    The fit is linear once the denominator D is multiplied out; weighting with 1/D of the last round makes the error
    that of the quotient (Sanathanan & Koerner, 1963).
    """
    x = np.linspace(-3, 3, 601)
    y: NDArray[np.float64] = fn(torch.from_numpy(x)).numpy()
    even = np.stack([x**2, x**4], 1)
    weight = np.ones_like(x)
    q = np.zeros(2)
    for _ in range(12):
        columns = np.concatenate([np.vander(x, 6, increasing=True), -y[:, None] * even], 1) * weight[:, None]
        q = np.clip(np.linalg.lstsq(columns, y * weight, rcond=None)[0][6:], 0.0, None)
        weight = 1 / (1 + even @ q)
    p = np.linalg.lstsq(np.vander(x, 6, increasing=True) * weight[:, None], y, rcond=None)[0]
    return tuple(float(v) for v in p), (0.0, float(q[0]), 0.0, float(q[1]))


@factory
def smu(*, negative_slope: NonNegativeFloat = 0.25, mu: float = 1.0, per_channel: bool = False) -> Activation:
    """φ(x) = ((1 + α)x + (1 - α)x·erf(μ(1 - α)x))/2, μ learnt. Biswas, Kumar, Banerjee & Pandey, CVPR 2022.

    φ' = ((1 + α) + (1 - α)(erf u + 2u/√π·exp(-u²)))/2, u = μ(1 - α)x. A leaky ReLU max(x, αx) rounded by the error
    function; μ → ∞ is the hinge, and α = 0, μ = 1/√2 is GELU.

    The published start is μ = 10⁶ (`mu=1e6`; float16 cannot hold it), which is the leaky ReLU to the last digit and
    gives μ no gradient unless |x| < 10⁻⁵: it never learns. Here it starts at 1, where it does. SMU-1, which has
    √((1 - α)²x² + μ²) in place of the last term and μ = 4.352665993287951e-9, starts as a leaky ReLU too; no entry.

    Args:
        negative_slope: α, fixed.
        mu: starting μ.
        per_channel: one μ for each unit.
    """
    alpha = float(negative_slope)

    def compute(x: Tensor, *, mu: Tensor) -> Tensor:
        return ((1 + alpha) * x + (1 - alpha) * x * torch.erf(mu * (1 - alpha) * x)) / 2

    # from here on the rounding is too narrow for a quadrature to see
    kinks = (0.0,) if abs(mu * (1 - alpha)) > 1e3 else ()
    return learnable_activation("smu", compute, {"mu": float(mu)}, per_channel=per_channel, kinks=kinks)


@factory
def kaf(*, points: PositiveInt = 20, reach: PositiveFloat = 3.0, per_channel: bool = False) -> Activation:
    """φ(x) = Σ aᵢ·exp(-γ(x - dᵢ)²), aᵢ learnt, dᵢ fixed on a grid; φ' = -2γ Σ aᵢ(x - dᵢ)exp(-γ(x - dᵢ)²).

    Scardapane, Van Vaerenbergh, Totaro & Uncini (kernel activation functions), Neural Networks 2019, with γ = 1/(6Δ²).
    Any smooth function on [-reach, reach] and zero far outside, so it wants normed inputs. Starts as the ridge fit of
    ELU on the grid.

    Args:
        points: size of the grid, 2 or more.
        reach: the grid is even on [-reach, reach].
        per_channel: coefficients for each unit, as in the paper.
    """
    grid = np.linspace(-reach, reach, max(2, points))
    gamma = 1 / (6 * (grid[1] - grid[0]) ** 2)
    kernel = np.exp(-gamma * (grid[:, None] - grid) ** 2)
    target = np.where(grid > 0, grid, np.expm1(grid))
    start = np.linalg.solve(kernel + 1e-2 * np.eye(len(grid)), target)

    def compute(x: Tensor, *, a: Tensor) -> Tensor:
        out = torch.zeros_like(x)
        for a_i, d in zip(a, grid.tolist(), strict=True):
            out = out + a_i * torch.exp(-float(gamma) * (x - d).square())
        return out

    return learnable_activation("kaf", compute, {"a": tuple(start.tolist())}, per_channel=per_channel)


# ------------------------------------------------------------------ a slope that depends on the input


@factory
def xielu(
    *,
    positive: PositiveFloat = 0.8,
    negative: PositiveFloat = 0.8,
    beta: PositiveFloat = 0.5,
    per_channel: bool = False,
) -> Activation:
    """φ(x) = α₊x² + βx for x > 0, α₋(exp(x) - 1 - x) + βx below; α₊, α₋ learnt; φ' = 2α₊x + β or α₋(exp(x) - 1) + β.

    Huang & Schlag, 2024 (arXiv 2411.13010). The integral of an ELU with slopes of its own: grows with x², and far
    below zero it rises again. α₊ = softplus(a), α₋ = β + softplus(b), so that φ' falls below 0 there. Not scale-free
    (χ_q = 1.73): for branches that begin with a norm.

    Args:
        positive: starting α₊.
        negative: starting α₋, above `beta`.
        beta: the slope at 0, fixed.
        per_channel: parameters for each unit.
    """
    if not negative > beta:
        raise ConfigError("negative", negative, f"must be above beta={beta:g}")

    def compute(x: Tensor, *, up: Tensor, down: Tensor) -> Tensor:
        rising = F.softplus(up) * x * x
        below = torch.clamp(x, max=0.0)
        falling = (beta + F.softplus(down)) * (torch.expm1(below) - below)
        return torch.where(x > 0, rising, falling) + beta * x

    start = {"up": math.log(math.expm1(positive)), "down": math.log(math.expm1(negative - beta))}
    return learnable_activation("xielu", compute, start, per_channel=per_channel)


@factory
def poly_relu(*, order: PositiveInt = 3, per_channel: bool = False) -> Activation:
    """φ(x) = Σ a_i·max(x, 0)^i for i from 0 to 3, learnt; a_0 = 0 and the others 1/3 at first. Zhuo et al., 2024.

    arXiv 2411.03884. φ' = Σ i·a_i·max(x, 0)^{i-1}. Needs little gain (0.66), and is not scale-free (χ_q = 2.46): for
    branches that begin with a norm.

    Args:
        order: the largest i; the coefficients start as 1/order.
        per_channel: coefficients for each unit.
    """

    def compute(x: Tensor, **coefficients: Tensor) -> Tensor:
        rectified = F.relu(x)
        total = coefficients[f"a{order}"] * rectified
        for i in range(order - 1, 0, -1):
            total = (total + coefficients[f"a{i}"]) * rectified
        return total + coefficients["a0"]

    start = {"a0": 0.0} | {f"a{i}": 1.0 / order for i in range(1, order + 1)}
    return learnable_activation("poly_relu", compute, start, per_channel=per_channel, kinks=(0.0,))
