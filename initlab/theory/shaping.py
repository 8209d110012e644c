"""Kernel shaping: activations bent so that a deep plain network keeps its signal, correlations and gradient.

φ̂(x) = γ (φ(αx + β) + δ) with four constants that are solved for, given the depth of the network. They go with weights
of gain 1 (`init=lecun`, `init=orthogonal init.gain=1`, `init=delta_orthogonal init.gain=1`).
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, cast

import torch
from annotated_types import Gt, Lt
from torch import Tensor, nn

from initlab.activations import parse_activation
from initlab.activations.modules import Pointwise, in_single_precision
from initlab.activations.slope import derivative
from initlab.core.factories import factory
from initlab.errors import ConfigError
from initlab.spec import Activation, PositiveInt
from initlab.theory.quadrature import integrate
from initlab.theory.roots import find_root

#: starts of (ln α, β) for the solver, tried in turn
_STARTS = ((0.0, 0.0), (-1.0, 0.5), (-1.0, -0.5), (-2.0, 0.0), (0.5, 1.0), (0.5, -1.0), (-3.0, 1.0))


@factory
def dks(*, of: str = "tanh", depth: PositiveInt = 20, zeta: Annotated[float, Gt(1)] = 1.5) -> Activation:
    """φ̂(x) = γ (φ(αx + β) + δ), φ̂' = γα φ'(αx + β): deep kernel shaping. Martens et al., 2021.

    Solves Q(1) = 1, Q'(1) = 1, C(0) = 0 and C'(1) = ζ^{1/depth} for the variance map Q and the correlation map C of one
    layer, so that the whole plain network's correlation map has slope ζ at 1: nearly linear, neither collapsing nor
    scrambling.

    Args:
        of: the activation that is bent, smooth: a catalogue name or a formula.
        depth: hidden layers of the plain network it is for.
        zeta: slope of the network's correlation map, above 1; the paper's is 1.5.
    """
    target = zeta ** (1 / depth)
    return _solve("dks", of, (target, "slope"))


@factory
def tat(
    *,
    of: str = "tanh",
    depth: PositiveInt = 20,
    tau: Annotated[float, Gt(0)] = 0.3,
    eta: Annotated[float, Gt(0), Lt(1)] = 0.9,
) -> Activation:
    """φ̂(x) = γ (φ(αx + β) + δ), φ̂' = γα φ'(αx + β): tailored activations. Zhang, Botev & Martens, ICLR 2022.

    For a smooth activation: Q(1) = 1, Q'(1) = 1, C'(1) = 1 and C''(1) = τ/depth. For ``of=relu`` or ``leaky_relu``: the
    negative slope a at which the network's correlation map sends 0 to η, scaled by √(2/(1 + a²)).

    Args:
        of: the activation that is bent.
        depth: hidden layers of the plain network it is for.
        tau: curvature of the network's correlation map at 1, of smooth activations.
        eta: what the network's correlation map makes of 0, of leaky ReLU.
    """
    if of in ("relu", "leaky_relu"):
        return _leaky(depth, eta)
    return _solve("tat", of, (tau / depth, "curvature"))


# ------------------------------------------------------------------ smooth activations
def _solve(name: str, of: str, goal: tuple[float, Literal["slope", "curvature"]]) -> Activation:
    base = parse_activation(of)
    if base.moments is not None or base.layers:
        raise ConfigError("activation.of", of, "must be an elementwise activation")
    target, kind = goal

    def shaped(alpha: float, beta: float) -> tuple[float, float, float, float]:
        """γ, δ from two of the conditions, and what the two others miss at (α, β)."""

        def rows(z: Tensor) -> Tensor:
            h = alpha * z + beta
            with torch.no_grad():
                phi = base.fn(h)
            slope = derivative(base.fn, h)
            step = 1e-4
            bend = (derivative(base.fn, h + step) - derivative(base.fn, h - step)) / (2 * step)
            return torch.stack([phi, phi**2, slope**2, bend**2, z * phi * slope, z * slope])

        (m, second, slopes, bends, mixed, tilt), _ = integrate(rows, kinks=base.kinks, tolerance=1e-10)
        if kind == "slope":
            delta = -float(m)  # C(0) = E[φ̂]² = 0
            variance = float(second - m**2)
            gamma = variance**-0.5 if variance > 0 else math.inf
            grown = gamma**2 * alpha * float(mixed + delta * tilt)  # Q'(1) = γ² α E[z (φ + δ) φ']
            return gamma, delta, grown - 1, gamma**2 * alpha**2 * float(slopes) - target
        gamma = 1 / (alpha * math.sqrt(float(slopes)))  # C'(1) = γ² α² E[φ'²] = 1
        # Q(1) = γ² (E[φ²] + 2 δ E[φ] + δ²) = 1: the root nearer to zero
        inside = float(m) ** 2 - float(second) + 1 / gamma**2
        delta = -float(m) + math.copysign(math.sqrt(max(inside, 0.0)), float(m))
        grown = gamma**2 * alpha * float(mixed + delta * tilt)
        return gamma, delta, (grown - 1) + max(-inside, 0.0), gamma**2 * alpha**4 * float(bends) / target - 1

    def miss(p: Any) -> list[float]:
        if abs(float(p[0])) > 8 or abs(float(p[1])) > 20:
            return [1e3, 1e3]
        _, _, a, b = shaped(math.exp(float(p[0])), float(p[1]))
        return [a, b] if math.isfinite(a + b) else [1e3, 1e3]

    from scipy import optimize

    for start in _STARTS:
        found = cast("Any", optimize.root)(miss, start, method="hybr", tol=1e-12)
        if found.success and max(abs(v) for v in miss(found.x)) < 1e-7:
            alpha, beta = math.exp(float(found.x[0])), float(found.x[1])
            gamma, delta, _, _ = shaped(alpha, beta)
            return _transform(name, base, (alpha, beta, gamma, delta))
    raise ConfigError(
        "activation.of", of, f"{name} finds no constants for it; use a smooth one such as tanh, gelu, softplus"
    )


def _transform(name: str, base: Activation, constants: tuple[float, float, float, float]) -> Activation:
    alpha, beta, gamma, delta = constants

    def fn(x: Tensor) -> Tensor:
        return gamma * (base.fn(alpha * x + beta) + delta)

    return _activation(f"{name}_{base.name}", fn, tuple((k - beta) / alpha for k in base.kinks))


def _activation(name: str, fn: Any, kinks: tuple[float, ...]) -> Activation:
    def make(features: int | None = None) -> nn.Module:
        del features
        return Pointwise(made)

    made = Activation(name=name, make=make, fn=in_single_precision(fn), kinks=kinks)
    return made


# ------------------------------------------------------------------ leaky ReLU
def _leaky(depth: int, eta: float) -> Activation:
    """The slope a in [0, 1) whose C map, applied `depth` times to 0, gives η."""

    def after(a: float) -> float:
        c = 0.0
        for _ in range(depth):  # E[φφ] of leaky ReLU at unit variance, in closed form (Cho & Saul, 2009)
            c = min(1.0, c + (1 - a) ** 2 / (math.pi * (1 + a * a)) * (math.sqrt(1 - c * c) - c * math.acos(c)))
        return c

    if after(0.0) <= eta:  # ReLU itself does not reach η at this depth
        return _scaled_leaky(0.0)
    return _scaled_leaky(find_root(lambda a: after(a) - eta, 0.0, 1.0 - 1e-9))


def _scaled_leaky(a: float) -> Activation:
    scale = math.sqrt(2 / (1 + a * a))

    def fn(x: Tensor) -> Tensor:
        return scale * torch.nn.functional.leaky_relu(x, a)

    return _activation("tat_leaky_relu", fn, (0.0,))
