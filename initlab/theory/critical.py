"""The edge of chaos: (σ_w, σ_b) at which χ₁ = 1, for any activation, and whether the signal stays there."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

from initlab.spec import Activation
from initlab.theory.meanfield import q_map
from initlab.theory.quadrature import moments_of
from initlab.theory.roots import brackets, find_root, log_grid

#: bias scales that are tried for a stable point, smallest first; larger ones need inputs of a large scale
_SIGMA_B = (0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0)
_LOW, _HIGH, _PER_DECADE = 1e-8, 1e7, 8


@dataclass(frozen=True, kw_only=True)
class CriticalPoint:
    """A point of the edge of chaos.

    Attributes:
        q_star: mean square of the pre-activations there; 0 where it is the limit q → 0 (tanh at σ_b = 0), NaN where any
            will do (ReLU and its kin).
        chi_q: slope of the variance map; above 1 the point is unstable and cannot be used in a deep network.
    """

    sigma_w: float
    sigma_b: float
    q_star: float
    chi_q: float

    @property
    def stable(self) -> bool:
        """Whether q* is stable; slope 1 is marginal: q drifts by a power law (tanh) or not at all (ReLU)."""
        return self.chi_q <= 1 + 1e-9


@lru_cache(maxsize=1024)
def critical_points(activation: Activation, sigma_b: float = 0.0) -> tuple[CriticalPoint, ...]:
    """All critical points at bias scale σ_b, smallest q first; empty where there is none (softplus).

    χ₁ = 1 and q = σ_w² E[φ²] + σ_b² together ask for q - E[φ²]/E[φ'²] = σ_b², one equation in q.
    """
    sb2 = sigma_b**2
    if sigma_b == 0 and _scale_free(activation):
        sigma_w = moments_of(activation).slope_second ** -0.5
        return (CriticalPoint(sigma_w=sigma_w, sigma_b=0.0, q_star=math.nan, chi_q=1.0),)

    def gap(log_q: float) -> float:
        q = math.exp(log_q)
        m = moments_of(activation, q=q)
        return math.inf if m.slope_second <= 0 else (q - m.second / m.slope_second - sb2) / q

    found: list[CriticalPoint] = []
    if sigma_b == 0 and q_map(activation, 0.0, sigma_w2=1.0, sigma_b2=0.0) < 1e-24:
        slope = moments_of(activation, q=1e-24).slope_second
        if slope > 1e-12:
            found.append(CriticalPoint(sigma_w=slope**-0.5, sigma_b=0.0, q_star=0.0, chi_q=1.0))
    for x, y, f, g in brackets(gap, log_grid(_LOW, _HIGH, _PER_DECADE)):
        # near 0 and σ_b = 0 the gap is zero to rounding: that is the limit found above
        if max(abs(f), abs(g)) > 1e-7:
            q = math.exp(find_root(gap, x, y))
            m = moments_of(activation, q=q)
            sw2 = 1 / m.slope_second
            found.append(CriticalPoint(sigma_w=sw2**0.5, sigma_b=sigma_b, q_star=q, chi_q=sw2 * m.second_by_q))
    return tuple(found)


def critical_point(activation: Activation, sigma_b: float | None = None) -> CriticalPoint | None:
    """The critical point to use: stable with the smallest q at σ_b, else the least unstable; None where there is none.

    Args:
        sigma_b: bias scale; None takes 0 where that is stable, else the smallest of a few that is.
    """
    if sigma_b is not None:
        points = critical_points(activation, sigma_b)
        return next((p for p in points if p.stable), min(points, key=lambda p: p.chi_q, default=None))
    at_zero = critical_point(activation, 0.0)
    if at_zero is not None and at_zero.stable and not _repelled(activation, at_zero):
        return at_zero
    return stable_critical_point(activation) or at_zero


def stable_critical_point(activation: Activation) -> CriticalPoint | None:
    """The stable critical point with the smallest of a few bias scales; None where none of them has one."""
    for sigma_b in _SIGMA_B:
        stable = [p for p in critical_points(activation, sigma_b) if p.chi_q < 1 - 1e-3]
        if stable:
            return stable[0]
    return None


@lru_cache(maxsize=256)
def half_stable_point(activation: Activation) -> CriticalPoint | None:
    """Where χ₁ = χ_q = 1: for GELU and its kin the smallest σ_b from which critical points are stable.

    Roberts, Yaida & Hanin, 2022, section 5.3.4. Both conditions together ask for E[φ'²] = dE[φ²]/dq, one equation in q.
    """

    def gap(log_q: float) -> float:
        m = moments_of(activation, q=math.exp(log_q))
        return (m.second_by_q - m.slope_second) / max(m.slope_second, 1e-300)

    for x, y, f, _ in brackets(gap, log_grid(1e-3, 1e3, 10)):
        if f > 0:
            q = math.exp(find_root(gap, x, y))
            m = moments_of(activation, q=q)
            sigma_b2 = q - m.second / m.slope_second
            if sigma_b2 > 1e-9:
                return CriticalPoint(
                    sigma_w=m.slope_second**-0.5, sigma_b=sigma_b2**0.5, q_star=q, chi_q=m.second_by_q / m.slope_second
                )
    return None


def _scale_free(activation: Activation) -> bool:
    """Whether φ(ax) = a φ(x) for a > 0 (ReLU and its kin), so that every q is alike."""
    one = moments_of(activation, q=1.0)
    return all(
        abs(moments_of(activation, q=q).second - q * one.second) < 1e-9 * q * one.second for q in (1e-4, 0.1, 7.0, 1e4)
    )


def _repelled(activation: Activation, point: CriticalPoint) -> bool:
    """Whether a small signal at the limit q → 0 grows away (GELU: the point is stable in name only)."""
    if point.q_star != 0:
        return False
    q = 1e-3
    return q_map(activation, q, sigma_w2=point.sigma_w**2, sigma_b2=0.0) > q * (1 + 1e-9)
