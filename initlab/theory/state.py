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


#: -α' of alpha dropout: what a dropped unit is set to, the lower limit of SELU
_SELU_LIMIT = -1.7580993408473766


def drop(node: Node, x: State) -> tuple[State, tuple[float]]:
    """The state behind dropout of either kind, and the factor of the squared gradient.

    Masks of two examples are independent: their mean product stays where the mean square grows. Schoenholz et al., ICLR
    2017, section 5.
    """
    factor = node.factor or 1.0
    if node.op == "dropout":
        return State(x.m, factor * x.s, x.p), (factor,)
    return alpha_dropout(x, kept=1 / factor)


def alpha_dropout(x: State, *, kept: float) -> tuple[State, tuple[float]]:
    """The state behind alpha dropout, and the factor of the squared gradient; masks of two examples are independent.

    x ↦ a·(d·x + (1 - d)·α') + b with d = 1 at probability `kept`, α' = -1.758, a = (q + α'²q(1 - q))^{-1/2} and
    b = -a(1 - q)α': a mean of 0 and a variance of 1 stay. Klambauer et al., NeurIPS 2017, section on alpha dropout.
    """
    limit, dropped = _SELU_LIMIT, 1 - kept
    a = (kept + limit**2 * kept * dropped) ** -0.5
    b = -a * dropped * limit
    mean = kept * x.m + dropped * limit
    square = kept * x.s + dropped * limit**2
    product = kept**2 * x.p + 2 * kept * dropped * limit * x.m + (dropped * limit) ** 2
    behind = State(a * mean + b, *(a**2 * v + 2 * a * b * mean + b**2 for v in (square, product)))
    return behind, (a**2 * kept,)


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
