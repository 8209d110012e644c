"""Mean-field theory of wide random networks, for any activation.

A layer h = W φ(h') + b with W_ij ~ N(0, σ_w²/fan_in) and b ~ N(0, σ_b²) maps the mean square q of the pre-activations
and the correlation c of two inputs (Poole et al., NeurIPS 2016; Schoenholz et al., ICLR 2017):

    q ← σ_w² E[φ(√q z)²] + σ_b²        c q ← σ_w² E[φ(u₁) φ(u₂)] + σ_b²        χ₁ = σ_w² E[φ'(√q z)²]

χ₁ is at once the factor of the squared gradient per layer and the slope of the correlation map at c = 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch

from initlab.spec import Activation
from initlab.theory.correlation import product, slope_product, squared_gap
from initlab.theory.quadrature import moments_of
from initlab.theory.roots import brackets, find_root, log_grid

#: log-spaced mean squares between which fixed points are looked for; off q = 1, to which the forward gain pins one: the
#: sign of a root that lies on the grid is rounding
_Q_LOW, _Q_HIGH, _PER_DECADE = 1.37e-10, 1.37e8, 6
#: beyond these, fourth powers of h leave the range of float64; below the last one, h itself
_Q_LEAST, _Q_MOST, _Q_NONE = 1e-150, 1e75, 1e-280

Phase = Literal["ordered", "critical", "chaotic", "collapses", "explodes"]


@dataclass(frozen=True, kw_only=True)
class FixedPoint:
    """A mean square that a layer maps to itself; stable where χ_q < 1."""

    q: float
    chi_q: float

    @property
    def stable(self) -> bool:
        return self.chi_q < 1


@dataclass(frozen=True, kw_only=True)
class MeanField:
    """Mean-field theory of an activation at (σ_w, σ_b): fixed points, stability, depth scales.

    Attributes:
        q_star: the fixed point that is reached from q = 1 (or `start`); 0 or infinity where the signal collapses or
            explodes.
        chi_1: factor of the squared gradient per layer at q_star.
        chi_q: slope of the variance map there; below 1 it is stable.
        c_star: stable fixed point of the correlation of two inputs; 1 in the ordered phase.
        chi_c: slope of the correlation map at c_star.
        xi_q, xi_c, xi_grad: depths, in layers, over which q, c and the gradient change e-fold; inf at criticality.
        fixed_points: all that were found, smallest first.
        stable: whether q_star is stable (a scale-invariant activation keeps any q: neither attracts nor repels).
        phase: ``ordered`` (χ₁ < 1), ``critical``, ``chaotic`` (χ₁ > 1), ``collapses`` (q → 0), ``explodes`` (q → ∞).
    """

    sigma_w: float
    sigma_b: float
    q_star: float
    chi_1: float
    chi_q: float
    c_star: float
    chi_c: float
    xi_q: float
    xi_c: float
    xi_grad: float
    fixed_points: tuple[FixedPoint, ...]
    stable: bool
    phase: Phase

    @property
    def trainable_depth(self) -> float:
        """6 ξ_c: about how deep a plain network trains (Schoenholz et al., ICLR 2017)."""
        return 6 * self.xi_c


def q_map(activation: Activation, q: float, *, sigma_w2: float, sigma_b2: float) -> float:
    """Mean square of the next layer's pre-activations; infinite where q overflows."""
    if q < _Q_NONE:
        return sigma_w2 * _at_zero(activation) ** 2 + sigma_b2
    if q > _Q_MOST:
        return math.inf
    return sigma_w2 * moments_of(activation, q=q).second + sigma_b2


def chi(activation: Activation, q: float, *, sigma_w2: float) -> float:
    """χ = σ_w² E[φ'²] at mean square q: factor of the squared gradient through one layer."""
    return sigma_w2 * moments_of(activation, q=min(max(q, _Q_LEAST), _Q_MOST)).slope_second


def c_map(activation: Activation, c: float, q: float, *, sigma_w2: float, sigma_b2: float) -> float:
    """Correlation of two inputs after the next layer, where both have mean square q before it."""
    after = q_map(activation, q, sigma_w2=sigma_w2, sigma_b2=sigma_b2)
    if after <= 0 or q < _Q_LEAST:
        return 1.0
    if math.isinf(after):
        return c
    if c > 0.5:  # from the gap: exact near 1
        return 1.0 - sigma_w2 * squared_gap(activation, q, min(c, 1.0)) / (2 * after)
    return (sigma_w2 * product(activation, q, c) + sigma_b2) / after


@lru_cache(maxsize=1024)
def fixed_points(activation: Activation, *, sigma_w: float, sigma_b: float) -> tuple[FixedPoint, ...]:
    """Every q between about 1e-10 and 1e8 that a layer maps to itself, smallest first.

    Iterating the map finds stable points only and misses the unstable ones that GELU and SiLU have; here the sign of
    map(q) - q is followed over a logarithmic grid and each change is closed in on by Brent's method.
    """
    sw2, sb2 = sigma_w**2, sigma_b**2

    def gap(log_q: float) -> float:
        q = math.exp(log_q)
        return (q_map(activation, q, sigma_w2=sw2, sigma_b2=sb2) - q) / q

    grid = log_grid(_Q_LOW, _Q_HIGH, _PER_DECADE)
    if all(abs(gap(x)) < 1e-9 for x in grid):
        return ()  # scale-invariant at its critical gain: every q is one
    found: list[FixedPoint] = []
    for x, y, _, _ in brackets(gap, grid):
        q = math.exp(find_root(gap, x, y))
        found.append(FixedPoint(q=q, chi_q=sw2 * moments_of(activation, q=q).second_by_q))
    return tuple(found)


@lru_cache(maxsize=1024)
def meanfield(activation: Activation, *, sigma_w: float, sigma_b: float = 0.0, start: float = 1.0) -> MeanField:
    """Fixed points, stability and length scales of a deep network of this activation.

    Args:
        activation: elementwise.
        sigma_w: √(fan_in · Var W).
        sigma_b: standard deviation of the biases.
        start: mean square from which q_star is reached: it decides between several, and on which side of an unstable
            one the signal is.
    """
    sw2, sb2 = sigma_w**2, sigma_b**2
    points = fixed_points(activation, sigma_w=sigma_w, sigma_b=sigma_b)
    scale_free = not points and all(
        abs(q_map(activation, q, sigma_w2=sw2, sigma_b2=sb2) - q) < 1e-9 * q for q in (1e-3, 1.0, 1e3)
    )
    q = 1.0 if scale_free else _reached_fixed_point(activation, points, (sw2, sb2), start)
    if q in (0.0, math.inf):
        return _without_signal(activation, q, points, sigma_w, sigma_b)
    m = moments_of(activation, q=q)
    chi_1, chi_q = sw2 * m.slope_second, sw2 * m.second_by_q
    c_star = 1.0 if chi_1 <= 1 + 1e-12 else _c_star(activation, q, sw2)
    chi_c = chi_1 if c_star == 1.0 else sw2 * slope_product(activation, q, c_star)
    phase: Phase = "critical" if abs(chi_1 - 1) < 1e-6 else "ordered" if chi_1 < 1 else "chaotic"
    return MeanField(
        sigma_w=sigma_w,
        sigma_b=sigma_b,
        q_star=q,
        chi_1=chi_1,
        chi_q=chi_q,
        c_star=c_star,
        chi_c=chi_c,
        xi_q=_depth_scale(chi_q),
        xi_c=_depth_scale(chi_c),
        xi_grad=_depth_scale(chi_1),
        fixed_points=points,
        stable=scale_free or chi_q < 1,
        phase=phase,
    )


def _reached_fixed_point(
    activation: Activation, points: tuple[FixedPoint, ...], sigmas2: tuple[float, float], start: float
) -> float:
    """The fixed point that q = start moves to: the next one up or down, or none."""
    change = q_map(activation, start, sigma_w2=sigmas2[0], sigma_b2=sigmas2[1]) / start - 1.0
    if abs(change) < 1e-9:
        return min((p.q for p in points), key=lambda q: abs(math.log(q / start)), default=start)
    ahead = [p.q for p in points if (p.q > start) == (change > 0)]
    if ahead:
        return min(ahead) if change > 0 else max(ahead)
    return math.inf if change > 0 else 0.0


def _without_signal(
    activation: Activation, q: float, points: tuple[FixedPoint, ...], sigma_w: float, sigma_b: float
) -> MeanField:
    """No fixed point is reached: the slope of φ at 0, or far out, says what becomes of the gradient."""
    m = moments_of(activation, q=_Q_LOW if q == 0 else _Q_HIGH)
    chi_1 = sigma_w**2 * m.slope_second
    chi_q = sigma_w**2 * m.second_by_q
    return MeanField(
        sigma_w=sigma_w,
        sigma_b=sigma_b,
        q_star=q,
        chi_1=chi_1,
        chi_q=chi_q,
        c_star=1.0,
        chi_c=chi_1,
        xi_q=_depth_scale(chi_q),
        xi_c=_depth_scale(chi_1),
        xi_grad=_depth_scale(chi_1),
        fixed_points=points,
        stable=False,
        phase="collapses" if q == 0 else "explodes",
    )


def _c_star(activation: Activation, q: float, sw2: float) -> float:
    """The stable fixed point of the correlation map below 1, in the chaotic phase.

    In t = 1 - c the map is t ← σ_w² E[(φ(u₁) - φ(u₂))²] / (2q); its growth factor is χ₁ > 1 at t → 0.
    """

    def growth(log_t: float) -> float:
        t = math.exp(log_t)
        return sw2 * squared_gap(activation, q, 1 - t) / (2 * q * t) - 1

    low, high = math.log(1e-9), math.log(1.0)
    if growth(low) <= 0:
        return 1.0
    if growth(high) > 0:  # below c = 0, which an activation that is odd and without bias reaches exactly
        if growth(math.log(1.999)) > 0:
            return -1.0
        low, high = high, math.log(1.999)
    elif abs(growth(high)) < 1e-12:
        return 0.0
    return 1 - math.exp(find_root(growth, low, high))


def correlation_depth(activation: Activation, q: float, *, sigma_w2: float) -> float:
    """ξ_c with q taken for the fixed point: layers over which the correlation of two inputs settles e-fold."""
    chi_1 = sigma_w2 * moments_of(activation, q=q).slope_second
    c_star = 1.0 if chi_1 <= 1 + 1e-12 else _c_star(activation, q, sigma_w2)
    return _depth_scale(chi_1 if c_star == 1.0 else sigma_w2 * slope_product(activation, q, c_star))


def _depth_scale(factor: float) -> float:
    """ξ = -1/ln(factor): e-fold depth; infinite at 1."""
    if factor <= 0:
        return 0.0
    log = math.log(factor)
    return math.inf if abs(log) < 1e-12 else abs(1 / log)


def _at_zero(activation: Activation) -> float:
    with torch.no_grad():
        return float(activation.fn(torch.zeros(1, dtype=torch.float64)))


# ------------------------------------------------------------------ through the layers
@dataclass(frozen=True, kw_only=True)
class Trajectory:
    """Layer by layer, first layer first.

    Attributes:
        q: mean square of the pre-activations.
        c: correlation of two inputs; empty where none was asked for.
        log10_gradient: log10 of ‖∂E/∂h^l‖² over that of the last layer (equal widths, random cotangent at the top).
    """

    q: tuple[float, ...]
    c: tuple[float, ...]
    log10_gradient: tuple[float, ...]


def trajectory(
    activation: Activation, *, sigma_w: float, sigma_b: float, depth: int, q_first: float, c_first: float | None = None
) -> Trajectory:
    """q, c and the gradient through `depth` layers from the first layer's pre-activations on."""
    sw2, sb2 = sigma_w**2, sigma_b**2
    q, c = [q_first], [] if c_first is None else [c_first]
    log_chi: list[float] = []
    for _ in range(depth - 1):
        if c:
            c.append(c_map(activation, c[-1], q[-1], sigma_w2=sw2, sigma_b2=sb2))
        log_chi.append(math.log10(max(chi(activation, q[-1], sigma_w2=sw2), 1e-300)))
        q.append(q_map(activation, q[-1], sigma_w2=sw2, sigma_b2=sb2))
    gradient = [sum(log_chi[i:]) for i in range(depth)]
    return Trajectory(q=tuple(q), c=tuple(c), log10_gradient=tuple(gradient))
