"""Saturated units: the intervals of h in which the slope of an activation is not negligible.

The definition used everywhere: a pre-activation h is *saturated* where |φ'(h)| < 5 % of max|φ'|. It applies to every
activation, also to a learnable or unknown one. For ReLU it marks the whole negative side; that is why saturation is a
symptom only for activations that are flat on *both* sides (tanh, sigmoid, ...); for the others dead units are better.

Testing whether h is inside an interval costs one comparison a number; computing φ' by autograd costs a backward pass.
So the intervals in which the slope is not negligible are found once on a grid and stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn

from initlab.spec import Activation, ElementwiseFn

SATURATED_BELOW = 0.05
_REACH = 60.0
_GRID = 240_001
#: with more intervals than this, h is searched in their borders: sin(30 h) has a thousand
_FEW = 3

#: modules that torch.nn itself counts as activations: the pointwise ones, and the gated unit
_POINTWISE = (
    nn.ReLU,
    nn.ReLU6,
    nn.LeakyReLU,
    nn.PReLU,
    nn.RReLU,
    nn.ELU,
    nn.SELU,
    nn.CELU,
    nn.GELU,
    nn.SiLU,
    nn.Mish,
    nn.Softplus,
    nn.Sigmoid,
    nn.Tanh,
    nn.LogSigmoid,
    nn.Hardtanh,
    nn.Hardsigmoid,
    nn.Hardswish,
    nn.Hardshrink,
    nn.Softshrink,
    nn.Tanhshrink,
    nn.Softsign,
    nn.Threshold,
    nn.GLU,
)


@dataclass(frozen=True)
class SlopeBand:
    """Intervals of h in which |φ'| is at least some share of its maximum, and whether φ is flat at both ends."""

    alive: tuple[tuple[float, float], ...]
    two_sided: bool

    def is_saturated(self, h: Tensor) -> Tensor:
        """Boolean tensor of h's shape: True where the slope is negligible. NaN counts as not saturated."""
        return ~self.is_live(h) & ~torch.isnan(h)

    def saturated_share(self, h: Tensor) -> Tensor:
        """Share of h with a negligible slope, a scalar tensor. NaN counts as saturated here."""
        return 1.0 - self.live_numbers(h).sum() / max(1, h.numel())

    def any_live(self, h: Tensor, unit: int) -> Tensor:
        """For each index along dimension `unit`: whether any h has a slope."""
        if h.dim() > 2 and unit == 1 and not h.is_contiguous():
            # channels last: extremes over all but a few neighbours in memory are slow, sums are not
            return self.live_numbers(h).sum([d for d in range(h.dim()) if d != unit]) > 0
        rows = h.flatten(0, -2).T if unit == h.dim() - 1 else h.flatten(unit + 1)
        live = self.any_live_along(rows, -1)
        return live.any(0) if live.dim() > 1 else live

    def any_live_along(self, h: Tensor, dim: int) -> Tensor:
        """Whether any h along dimension `dim` has a slope: booleans of h's shape without it."""
        if len(self.alive) > _FEW:
            return self._search(h).any(dim)
        # by extremes, far faster than by masks
        live = torch.zeros_like(h.select(dim, 0), dtype=torch.bool)
        for low, high in self.alive:
            if low == float("-inf"):
                live |= h.amin(dim) <= high
            elif high == float("inf"):
                live |= h.amax(dim) >= low
            else:
                live |= (h - (low + high) / 2).abs().amin(dim) <= (high - low) / 2
        return live

    def live_numbers(self, h: Tensor) -> Tensor:
        """Tensor of h's shape and layout: 1.0 where the slope is not negligible, 0.0 elsewhere and where h is NaN.

        Numbers and not truth values: on a CPU a comparison written as float32 and its sum take a quarter of the time.
        """
        if len(self.alive) > _FEW:
            return torch.empty_like(h, dtype=torch.float32).copy_(self._search(h))
        live = torch.zeros_like(h, dtype=torch.float32) if len(self.alive) != 1 else None
        for low, high in self.alive:
            inside = torch.empty_like(h, dtype=torch.float32)
            if low == float("-inf"):
                torch.le(h, high, out=inside)
            else:
                torch.ge(h, low, out=inside)
                if high != float("inf"):
                    inside *= torch.le(h, high, out=torch.empty_like(inside))
            if live is None:
                return inside
            live += inside
        assert live is not None
        return live.clamp_(max=1.0)

    def is_live(self, h: Tensor) -> Tensor:
        """Boolean tensor of h's shape: True where the slope is not negligible."""
        if not self.alive:
            return torch.zeros_like(h, dtype=torch.bool)
        if len(self.alive) > _FEW:
            return self._search(h)
        inside = _between(h, *self.alive[0])
        for low, high in self.alive[1:]:
            inside |= _between(h, low, high)
        return inside

    def _search(self, h: Tensor) -> Tensor:
        """`is_live` by a search in the sorted borders: h lies in an interval where an odd number of them is below."""
        values = h.contiguous() if h.dtype == torch.float64 else h.float().contiguous()
        below = torch.bucketize(values, _borders(self.alive, values.dtype, h.device), out_int32=True)
        return (below & 1).bool()


@lru_cache(maxsize=64)
def _borders(alive: tuple[tuple[float, float], ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """The borders of the intervals, sorted; kept, because a copy to a GPU would make the training wait."""
    return torch.tensor(alive, dtype=dtype, device=device).flatten()


def _between(h: Tensor, low: float, high: float) -> Tensor:
    # a comparison with infinity is one pass over memory for nothing
    if low == float("-inf"):
        return h <= high
    return h >= low if high == float("inf") else (h >= low) & (h <= high)


def derivative(fn: ElementwiseFn, h: Tensor) -> Tensor:
    """φ'(h) by autograd, elementwise, in h's dtype."""
    with torch.enable_grad():
        leaf = h.detach().clone().requires_grad_(True)
        out = fn(leaf)
        # an activation that is constant or not connected has no slope
        if not out.requires_grad:
            return torch.zeros_like(h)
        return torch.autograd.grad(out.sum(), leaf)[0]


@lru_cache(maxsize=256)
def _band(fn: ElementwiseFn, share: float) -> SlopeBand:
    h = torch.linspace(-_REACH, _REACH, _GRID, dtype=torch.float64)
    slope = derivative(fn, h).abs()
    threshold = share * slope.max()
    if not bool(threshold > 0):
        return SlopeBand((), two_sided=True)
    alive = slope >= threshold

    # the border between neighbouring grid points of which one is alive, by bisection, all at once
    changes = torch.nonzero(torch.diff(alive.to(torch.int8))).flatten()
    low, high, left_alive = h[changes], h[changes + 1], alive[changes]
    for _ in range(40 if len(changes) else 0):
        middle = (low + high) / 2
        same = (derivative(fn, middle).abs() >= threshold) == left_alive
        low, high = torch.where(same, middle, low), torch.where(same, high, middle)
    borders: list[float] = torch.where(left_alive, low, high).tolist()
    if bool(alive[0]):
        borders.insert(0, float("-inf"))
    if bool(alive[-1]):
        borders.append(float("inf"))
    intervals = tuple(zip(borders[::2], borders[1::2], strict=True))
    return SlopeBand(intervals, two_sided=not bool(alive[0]) and not bool(alive[-1]))


def slope_band(fn: ElementwiseFn, share: float = SATURATED_BELOW) -> SlopeBand:
    """Intervals in which the slope of `fn` is at least `share` of its maximum, found once per function.

    Args:
        fn: elementwise function of a tensor, differentiable by autograd almost everywhere.
        share: 0.05 tells saturated from not, 0.001 dead from not.
    """
    return _band(fn, share)


def band_of(activation: Activation, share: float = SATURATED_BELOW) -> SlopeBand | None:
    """`slope_band` of an activation, or None where a unit's slope is not a function of one pre-activation alone."""
    if activation.units != (1, 1) or activation.moments is not None:
        return None
    return slope_band(activation.fn, share)


def is_activation(module: nn.Module) -> bool:
    """Whether a module is an activation: one of torch.nn's, or one that says so (`initlab_activation`)."""
    return isinstance(module, _POINTWISE) or bool(getattr(module, "initlab_activation", False))
