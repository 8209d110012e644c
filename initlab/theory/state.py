"""What is known of a tensor on the walk through a network, and small pieces of that walk."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

from torch import Tensor

from initlab.activations.slope import slope_band
from initlab.errors import ConfigError
from initlab.network.graph import Graph, Node
from initlab.spec import Activation
from initlab.theory.correlation import product
from initlab.theory.quadrature import moments_of


@dataclass(frozen=True)
class State:
    """Mean m, mean square s, mean product p of two examples."""

    m: float
    s: float
    p: float

    @property
    def variance(self) -> float:
        return max(self.s - self.m * self.m, 0.0) if self.s < math.inf else self.s

    @property
    def c(self) -> float:
        return max(-1.0, min(1.0, (self.p - self.m * self.m) / self.variance)) if 0 < self.variance < math.inf else 1.0


def is_lookup(graph: Graph, node: Node) -> bool:
    return any(u.kind == "lookup" for u in graph.uses.get(node.parameter, ())[:1])


def measured(node: Node) -> State:
    return State(*(node.moments or (0.0, 1.0, 0.0)))


def log_add(a: float, b: float) -> float:
    high, low = max(a, b), min(a, b)
    return high if low == -math.inf else high + math.log1p(math.exp(low - high))


def within_moments(activation: Activation, variance: float, mean: float = 0.0) -> bool:
    """Whether E[φ²] and E[φ'⁴] can be computed at this variance in floating point: not where q has left its range."""
    if not 1e-300 < variance < 1e300 or not abs(mean) < 1e150:
        return False
    try:
        found = moments_of(activation, q=variance, mean=mean)
    except (ConfigError, OverflowError):
        return False
    return math.isfinite(found.second) and math.isfinite(found.slope_second)


def in_range(activation: Activation, state: State) -> bool:
    """`within_moments` of a pre-activation."""
    return within_moments(activation, state.variance, state.m)


@lru_cache(maxsize=4096)
def shifted_product(activation: Activation, variance: float, c: float, mean: float) -> float:
    """E[φ(u₁) φ(u₂)] for u ~ N(mean, variance) with correlation c."""
    if mean == 0.0:
        return product(activation, variance, c)

    def shifted(h: Tensor) -> Tensor:
        return activation.fn(h + mean)

    moved = replace(activation, fn=shifted, kinks=tuple(k - mean for k in activation.kinks))
    return product(moved, variance, c)


def saturated(activation: Activation, state: State) -> float:
    """P(|φ'(h)| below 5 % of its maximum) for h ~ N(m, ν)."""
    if activation.moments is not None or not 0 < state.variance < 1e300:
        return math.nan
    inside = 0.0
    scale = math.sqrt(2 * state.variance)
    for low, high in slope_band(activation.fn).alive:
        inside += 0.5 * (math.erf((high - state.m) / scale) - math.erf((low - state.m) / scale))
    return min(1.0, max(0.0, 1 - inside))
