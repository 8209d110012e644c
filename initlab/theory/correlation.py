"""Expectations over two correlated Gaussians: E[f(u₁) f(u₂)], u₁, u₂ ~ N(0, q) with correlation c.

The outer integral is over z₁, the inner over z₂ in u₂ = √q (c z₁ + √(1 - c²) z₂). Both lines are cut at unit steps of
z, at unit steps of h near the origin, where activations bend, and at every kink; the inner cut moves with z₁. As c → 1
the inner integral turns into a kink of its own, of width √(1 - c²), and the outer line is cut finely around it.

ReLU and its kin, with one slope on either side of 0, need no quadrature: they have the arc-cosine kernel (Cho & Saul,
NeurIPS 2009).
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from initlab.activations.slope import derivative
from initlab.spec import Activation, ElementwiseFn
from initlab.theory.quadrature import integrate, legendre

_REACH = 8.5
_NODES = 10
#: around a kink the inner integral changes on the scale √(1 - c²): cut at these multiples of it
_FINE = (1.0, 2.0, 3.0, 4.5, 6.5, 9.0)


#: a function whose second derivative jumps at more places than these is left to the plain grid
_MOST_BENDS = 12


@lru_cache(maxsize=256)
def kinks_of(fn: ElementwiseFn, declared: tuple[float, ...] = ()) -> tuple[float, ...]:
    """Where φ, φ' or φ'' jumps within |h| < 60: what is declared, and what bisection closes in on.

    A jump of φ'' (softsign, ELU) counts: near c = 1 the difference of two outputs is as sharp there as √(1 - c²).
    """
    found: list[float] = list(declared)
    # off the round numbers, where kinks like to lie: one at the border of two panels would show in neither
    shift = 0.123456789

    def rows(z: Tensor) -> Tensor:
        h = (z - shift) * 5.0
        with torch.no_grad():
            phi = fn(h)
        return torch.stack([phi, derivative(fn, h)])

    closed: list[float] = []
    integrate(rows, kinks=tuple(k / 5.0 + shift for k in declared), tolerance=1e-12, closed_in=closed)
    for z in closed:
        at = round((z - shift) * 5.0, 8)
        if all(abs(at - k) > 1e-6 for k in found):
            found.append(at)
    return tuple(sorted({*found, *_bends(fn, tuple(sorted(found)))}))


def _bends(fn: ElementwiseFn, known: tuple[float, ...]) -> list[float]:
    """Where φ'' jumps and φ' does not; nothing where φ has no second derivative in autograd."""
    shift = 0.123456789

    def rows(z: Tensor) -> Tensor:
        return _second_derivative(fn, (z - shift) * 5.0)[None]

    closed: list[float] = []
    found: list[float] = []
    try:
        integrate(rows, kinks=tuple(k / 5.0 + shift for k in known), tolerance=1e-12, closed_in=closed)
        for z in closed:
            at = round((z - shift) * 5.0, 7)
            beside = _second_derivative(fn, torch.tensor([at - 1e-6, at + 1e-6], dtype=torch.float64))
            jump = float((beside[1] - beside[0]).abs())  # rounding noise is closed in on as well, and is none
            if jump > 1e-3 and all(abs(at - k) > 1e-5 for k in (*known, *found)):
                found.append(at)
    except (RuntimeError, ValueError):
        return []
    return found if len(found) <= _MOST_BENDS else []


def _second_derivative(fn: ElementwiseFn, h: Tensor) -> Tensor:
    with torch.enable_grad():
        x = h.detach().clone().requires_grad_()
        (slope,) = torch.autograd.grad(fn(x).sum(), x, create_graph=True)
        if not slope.requires_grad:
            return torch.zeros_like(h)
        (bend,) = torch.autograd.grad(slope.sum(), x, allow_unused=True, materialize_grads=True)
    return bend.detach()


def _gauss(borders: Tensor) -> tuple[Tensor, Tensor]:
    """Nodes and weights (with the normal density) of panels between sorted `borders` (..., n) → (..., n - 1, nodes)."""
    x, w = legendre(_NODES)
    low, high = borders[..., :-1, None], borders[..., 1:, None]
    half = (high - low) / 2
    z = torch.addcmul((low + high) / 2, half, x)
    return z, (half * (w / math.sqrt(2 * math.pi))).mul(torch.exp((z * z).mul_(-0.5)))


def _marks(kinks: tuple[float, ...], q: float, step: float) -> Tensor:
    """Places of h, in units of √q, where a line is cut of which a unit of z is `step` of h: kinks, and unit steps of h
    where those of z are longer."""
    grid = [float(h) for h in range(-8, 9)] if step > 1 else []
    return torch.tensor(sorted({*grid, *kinks}), dtype=torch.float64) / math.sqrt(q)


def _grid(kinks: tuple[float, ...], q: float, c: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Outer z₁ (n,) and weights, inner z₂ (n, m) and weights; (1, m) where they are the same for every z₁."""
    s = math.sqrt(max(0.0, (1 - c) * (1 + c)))
    base = torch.arange(-_REACH, _REACH + 0.5, 1.0, dtype=torch.float64)
    marks, inner_marks = (_marks(kinks, q, math.sqrt(q) * scale) for scale in (1.0, s))
    fine = [k / math.sqrt(q) + sign * s * m for k in kinks for m in _FINE for sign in (-1, 1)]
    outer = torch.cat([base, marks, torch.tensor(fine, dtype=torch.float64)]).clamp(-_REACH, _REACH).unique()
    z1, w1 = _gauss(outer)
    z1, w1 = z1.reshape(-1), w1.reshape(-1)
    if not len(inner_marks):
        z2, w2 = (t.reshape(1, -1) for t in _gauss(base.clamp(-_REACH, _REACH)))
        return z1, w1, z2, w2
    moving = ((inner_marks[None, :] - c * z1[:, None]) / max(s, 1e-300)).clamp(-_REACH, _REACH)
    inner = torch.cat([base.expand(len(z1), -1), moving], dim=1).sort(dim=1).values
    z2, w2 = _gauss(inner)
    return z1, w1, z2.flatten(1), w2.flatten(1)


def _expect(activation: Activation, q: float, c: float, *, slope: bool, squared_gap: bool = False) -> float:
    kinks = kinks_of(activation.fn, activation.kinks)
    z1, w1, z2, w2 = _grid(kinks, q, c)
    s, root = math.sqrt(max(0.0, (1 - c) * (1 + c))), math.sqrt(q)
    u1 = root * z1
    u2 = root * (c * z1[:, None] + s * z2)
    if slope:
        f1, f2 = derivative(activation.fn, u1), derivative(activation.fn, u2.reshape(-1)).view_as(u2)
    else:
        with torch.no_grad():
            f1, f2 = activation.fn(u1), activation.fn(u2.reshape(-1)).view_as(u2)
    if squared_gap:
        return float((w1 * (w2 * (f1[:, None] - f2) ** 2).sum(1)).sum())
    return float((w1 * f1 * (w2 * f2).sum(1)).sum())


@lru_cache(maxsize=8192)
def product(activation: Activation, q: float, c: float) -> float:
    """E[φ(u₁) φ(u₂)]."""
    if (slopes := _two_slopes(activation.fn)) is not None:
        (below, above), theta = slopes, math.acos(c)
        arc = (math.sin(theta) + (math.pi - theta) * c) / (2 * math.pi)
        return q * ((above - below) ** 2 * arc + above * below * c)
    return _expect(activation, q, c, slope=False)


@lru_cache(maxsize=8192)
def slope_product(activation: Activation, q: float, c: float) -> float:
    """E[φ'(u₁) φ'(u₂)], what σ_w² times is the slope of the correlation map at c."""
    if (slopes := _two_slopes(activation.fn)) is not None:
        below, above = slopes
        return (above - below) ** 2 * (math.pi - math.acos(c)) / (2 * math.pi) + above * below
    return _expect(activation, q, c, slope=True)


@lru_cache(maxsize=8192)
def squared_gap(activation: Activation, q: float, c: float) -> float:
    """E[(φ(u₁) - φ(u₂))²]: exact where c is so near 1 that a difference of products would be rounding noise."""
    if (slopes := _two_slopes(activation.fn)) is not None:
        (below, above), theta = slopes, math.acos(c)
        versine = 2 * math.sin(theta / 2) ** 2  # 1 - c without its cancellation
        arc = versine - (math.sin(theta) - theta * math.cos(theta)) / math.pi
        return q * ((above - below) ** 2 * arc + 2 * above * below * versine)
    return _expect(activation, q, c, slope=False, squared_gap=True)


@lru_cache(maxsize=256)
def _two_slopes(fn: ElementwiseFn) -> tuple[float, float] | None:
    """(slope below 0, slope above) of a function that is a line on either side of 0, None of any other."""
    size = torch.tensor([1e-3, 0.3, 1.0, 2.0, 7.1, 50.0], dtype=torch.float64)
    with torch.no_grad():
        below, above = fn(-size) / -size, fn(size) / size
        flat = all(bool((s - s[0]).abs().max() <= 1e-14 * (1 + s[0].abs())) for s in (below, above))
        return (float(below[0]), float(above[0])) if flat and float(fn(size[:1] * 0)) == 0.0 else None
