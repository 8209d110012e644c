"""Predicts q, c and gradient of a given network by mean-field theory along the graph of one forward pass.

Each tensor is summed up by three numbers: its mean m, its mean square s, and the mean product p of two different
examples at the same unit. A weight matrix of mean zero maps them to (0, σ_w² s + σ_b², σ_w² p + σ_b²), an activation
to Gaussian expectations, a residual sum to their sums, a norm divides by the variance it sees. The gradient's norm is
walked back the same way. What theory does not know (pooling, attention, recurrent layers) keeps the ratio that was
measured in the pass, and is named.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor, nn

from initlab.activations.slope import derivative, slope_band
from initlab.network.graph import Graph, Node
from initlab.spec import Activation, InitContext, LayerPrediction, Prediction, Site
from initlab.theory.correlation import product
from initlab.theory.finite_width import born_dead, log_q_variance, zero_padding_share
from initlab.theory.meanfield import correlation_depth
from initlab.theory.quadrature import moments, moments_of

#: poolings whose backward pass spreads one gradient over many positions
_AVERAGES = ("mean", "avg_pool1d", "avg_pool2d", "avg_pool3d", "adaptive_avg_pool1d", "adaptive_avg_pool2d")
_MAXIMA = ("max_pool1d", "max_pool2d", "max_pool3d", "adaptive_max_pool2d", "max_pool2d_with_indices")


@dataclass(frozen=True)
class _State:
    """Mean m, mean square s, mean product p of two examples."""

    m: float
    s: float
    p: float

    @property
    def variance(self) -> float:
        return max(self.s - self.m**2, 0.0)

    @property
    def c(self) -> float:
        return max(-1.0, min(1.0, (self.p - self.m**2) / self.variance)) if self.variance > 0 else 1.0


def scales(model: nn.Module) -> dict[str, float]:
    """Parameter name → mean square of its entries, in one transfer."""
    named = list(model.named_parameters())
    if not named:
        return {}
    with torch.no_grad():
        values: list[float] = torch.stack([p.detach().float().square().mean() for _, p in named]).tolist()
    return dict(zip((n for n, _ in named), values, strict=True))


def predict(
    graph: Graph, sites: tuple[Site, ...], mean_squares: Mapping[str, float], context: InitContext
) -> Prediction:
    """What theory says of the network that `graph` shows, at the scales its parameters have.

    Args:
        graph: `network.graph.trace(model, batch, moments=True)`; its input's moments are where the walk begins.
        sites: of `describe`.
        mean_squares: of `scales(model)`.
        context: which activation each module is.
    """
    walk = _Walk(graph, sites, mean_squares, context)
    walk.forward()
    gradient = walk.backward()
    layers = walk.layers(gradient)
    straight = not any(n.op in ("sum", "norm", "recurrent", "attention") for n in graph.nodes)
    variance = sum(walk.spread(row) for row in layers) if straight else math.nan
    return Prediction(
        layers=layers,
        output_q=walk.states[graph.output].s,
        depth=len(layers),
        trainable_depth=walk.trainable_depth(layers) if straight else math.nan,
        gradient_depth=_gradient_depth(layers) if straight else math.nan,
        log_q_sd=math.sqrt(variance),
        born_dead=walk.born_dead(layers) if straight else math.nan,
        stable=_stable(layers) if straight and len(layers) > 2 else None,
        out_of_scope=tuple(dict.fromkeys(walk.unknown)),
    )


class _Walk:
    def __init__(
        self, graph: Graph, sites: tuple[Site, ...], mean_squares: Mapping[str, float], context: InitContext
    ) -> None:
        self.graph = graph
        self.context = context
        self.squares = mean_squares
        self.weights = {s.layer: s for s in sites if s.role in ("weight", "head", "embedding") and s.fan_in > 0}
        self.sites = {s.name: s for s in sites}
        self.states: list[_State] = []
        self.back: list[tuple[float, ...]] = []  # for each node, the factor to each of its inputs
        self.unknown: list[str] = []

    # ---------------------------------------------------------- forward
    def forward(self) -> None:
        for node in self.graph.nodes:
            inputs = [self.states[i] for i in node.inputs]
            state, factors = self._step(node, inputs)
            self.states.append(state)
            self.back.append(factors)

    def _step(self, node: Node, inputs: list[_State]) -> tuple[_State, tuple[float, ...]]:
        if not inputs:
            return _measured(node), ()
        x = inputs[0]
        if node.op == "weight" and node.name in self.weights:
            return self._weight(node, self.weights[node.name], x)
        if node.op == "activation":
            return self._activation(node, x)
        if node.op == "norm":
            return self._norm(node, x)
        if node.op in ("scale", "factor"):
            name = f"{node.name}.weight" if node.op == "scale" else node.name
            square = node.factor**2 if node.factor is not None else self.squares.get(name, 1.0)
            sign = math.copysign(1.0, node.factor) if node.factor is not None else 1.0
            return _State(sign * math.sqrt(square) * x.m, square * x.s, square * x.p), (square,)
        if node.op == "sum" and len(inputs) == 2:
            a, b = inputs
            sign = -1.0 if "sub" in node.name else 1.0
            cross = 2 * sign * a.m * b.m
            return _State(a.m + sign * b.m, a.s + b.s + cross, a.p + b.p + cross), (1.0, 1.0)
        if node.op == "join":
            sizes = [math.prod(self.graph.nodes[i].shape[1:]) for i in node.inputs]
            share = [n / sum(sizes) for n in sizes]
            mixed = _State(*(sum(w * getattr(t, k) for w, t in zip(share, inputs, strict=True)) for k in "msp"))
            return mixed, tuple(share)
        if node.op == "shape":
            return x, (1.0, *(0.0 for _ in node.inputs[1:]))
        return self._unknown(node, x)

    def _weight(self, node: Node, site: Site, x: _State) -> tuple[_State, tuple[float, ...]]:
        sw2, sb2 = self._sigmas(site)
        if site.kind == "embedding":
            square = self.squares[site.name]
            return _State(0.0, square, _measured(node).p), (1.0,)
        inside = 1.0
        before = self.graph.nodes[node.inputs[0]].shape[2:]
        kernel, dims = site.shape[2:], len(site.padding)
        if dims and len(before) == dims:
            for n, k, pad, stride in zip(before, kernel, site.padding, site.stride, strict=True):
                inside *= zero_padding_share(n, k, pad, stride)
        sw2 *= inside
        return _State(0.0, sw2 * x.s + sb2, sw2 * x.p + sb2), (sw2,)

    def _sigmas(self, site: Site) -> tuple[float, float]:
        prefix = f"{site.layer}." if site.layer else ""
        return site.fan_in * self.squares.get(site.name, 0.0), self.squares.get(f"{prefix}bias", 0.0)

    def _activation(self, node: Node, x: _State) -> tuple[_State, tuple[float, ...]]:
        activation = self.context.activations.get(node.name.partition("#")[0], self.context.activation)
        variance = x.variance
        if not 1e-300 < variance < 1e300:
            value = float(activation.fn(torch.tensor([x.m], dtype=torch.float64))) if variance < 1 else math.inf
            slope = float(derivative(activation.fn, torch.tensor([x.m], dtype=torch.float64))) if variance < 1 else 0.0
            return _State(value, value**2, value**2), (slope**2,)
        if activation.moments is not None:
            m = moments_of(activation, q=variance)
            # the correlation of a product of units is not one of φ: what was measured stands in
            seen_in, seen = _measured(self.graph.nodes[node.inputs[0]]), _measured(node)
            ratio = (seen.p / seen.s) if seen.s > 0 else seen_in.c
            self.unknown.append(f"correlation through {activation.name}")
            # per unit sent, over all units received: the factor of the whole gradient's norm
            return _State(m.mean, m.second, ratio * m.second), (m.slope_second,)
        m = moments(activation.fn, kinks=activation.kinks, q=variance, mean=x.m)
        c = x.c
        p = m.second if c > 1 - 1e-12 else _product(activation, variance, c, x.m)
        return _State(m.mean, m.second, p), (m.slope_second,)

    def _norm(self, node: Node, x: _State) -> tuple[_State, tuple[float, ...]]:
        gamma2 = self.squares.get(f"{node.name}.weight", 1.0)
        variance = x.s - x.p if node.over_examples else x.variance
        if not variance > 0:
            return _State(0.0, 0.0, 0.0), (0.0,)
        if node.over_examples:  # leaves examples uncorrelated
            return _State(0.0, gamma2, 0.0), (gamma2 / variance,)
        return _State(0.0, gamma2, gamma2 * (x.p - x.m**2) / variance), (gamma2 / variance,)

    def _unknown(self, node: Node, x: _State) -> tuple[_State, tuple[float, ...]]:
        seen_in, seen = _measured(self.graph.nodes[node.inputs[0]]), _measured(node)
        short = node.name.rsplit(".", 1)[-1]
        if node.op == "opaque" and short not in (*_AVERAGES, *_MAXIMA):
            self.unknown.append(short)
        elif node.op in ("recurrent", "attention"):
            self.unknown.append(f"{node.op} {node.name}")
        ratio = seen.s / seen_in.s if seen_in.s > 0 else 1.0
        mean = seen.m / math.sqrt(seen.s) * math.sqrt(ratio * x.s) if seen.s > 0 else 0.0
        # examples that were as alike as these become as alike as they were seen to become
        gap_in = 1 - seen_in.p / seen_in.s if seen_in.s > 0 else 0.0
        gap = 1 - seen.p / seen.s if seen.s > 0 else 0.0
        mine = 1 - x.p / x.s if x.s > 0 else 0.0
        p = ratio * x.s * (1 - min(1.0, mine * (gap / gap_in if gap_in > 0 else 1.0)))
        before = math.prod(self.graph.nodes[node.inputs[0]].shape)
        back = math.prod(node.shape) / before if short in _AVERAGES else 1.0
        return _State(mean, ratio * x.s, p), (back, *(0.0 for _ in node.inputs[1:]))

    # ---------------------------------------------------------- backward
    def _is_head(self, node: Node) -> bool:
        site = self.weights.get(node.name)
        return site is not None and site.role == "head" and site.branch is None

    def backward(self) -> list[float]:
        """ln ‖∂E/∂node‖² relative to that at the heads' inputs, for each node; -inf where nothing arrives.

        A head scales all gradients alike, and may begin at zero.
        """
        logs = [-math.inf] * len(self.graph.nodes)
        heads = [n.inputs[0] for n in self.graph.nodes if n.op == "weight" and n.inputs and self._is_head(n)]
        for i in dict.fromkeys(heads or [self.graph.output]):
            logs[i] = 0.0
        for node in reversed(self.graph.nodes):
            here = logs[node.index]
            for i, factor in zip(node.inputs, self.back[node.index], strict=False):
                if factor > 0 and here > -math.inf:
                    logs[i] = _log_add(logs[i], here + math.log(factor))
        return logs

    def layers(self, gradient: list[float]) -> tuple[LayerPrediction, ...]:
        rows: list[tuple[LayerPrediction, float]] = []
        nodes = self.graph.named("activation")
        seen: set[str] = set()
        for site in self.weights.values():
            node = nodes.get(site.activation or "")
            # the sum of a branch and its shortcut is one pre-activation, and so one row
            if node is None or node.name in seen or not node.inputs:
                continue
            seen.add(node.name)
            h = node.inputs[0]
            state, activation = (
                self.states[h],
                self.context.activations.get(node.name.partition("#")[0], self.context.activation),
            )
            sw2, sb2 = self._sigmas(site)
            back = self.back[node.index]
            rows.append((
                LayerPrediction(
                    site=site.name, order=site.order, sigma_w2=sw2, sigma_b2=sb2, q=state.s, mean=state.m, c=state.c,
                    log10_gradient=gradient[h] / math.log(10), saturated=_saturated(activation, state),
                    chi=sw2 * back[0] if back else math.nan,
                ),
                gradient[h],
            ))  # fmt: skip
        if not rows:
            return ()
        rows.sort(key=lambda r: r[0].order)
        last = next((g for _, g in reversed(rows) if g > -math.inf), math.nan) / math.log(10)
        return tuple(
            replace(r, log10_gradient=r.log10_gradient - last if r.log10_gradient > -math.inf else math.nan)
            for r, _ in rows
        )

    # ---------------------------------------------------------- finite width
    def spread(self, row: LayerPrediction) -> float:
        """Variance of ln q that the layer adds."""
        site = self.sites[row.site]
        activation = self.context.after(site) or self.context.activation
        if not 1e-60 < row.q < 1e60:  # fourth moments of what has collapsed or exploded are out of range
            return 0.0
        return log_q_variance(activation, row.q, round(site.fan_out))

    def trainable_depth(self, layers: tuple[LayerPrediction, ...]) -> float:
        """6 ξ_c where the signal has settled, at the last layer but one (Schoenholz et al., ICLR 2017)."""
        inner = layers[1:]
        if not inner:
            return math.nan
        row, before = inner[-1], layers[-2]
        activation = self.context.before(self.sites[row.site]) or self.context.activation
        if activation.moments is not None or not 0 < before.q < 1e300 or not row.sigma_w2 > 0:
            return 0.0 if activation.moments is None else math.nan
        return 6 * correlation_depth(activation, before.q, sigma_w2=row.sigma_w2)

    def born_dead(self, layers: tuple[LayerPrediction, ...]) -> float:
        """Of a ReLU network (an activation without slope on one side) with zero biases."""
        widths: list[int] = []
        for row in layers:
            activation = self.context.after(self.sites[row.site]) or self.context.activation
            if activation.name != "relu" or row.sigma_b2 > 0:
                return 0.0
            widths.append(self.sites[row.site].shape[0])
        return born_dead(widths)


# ------------------------------------------------------------------ pieces
def _measured(node: Node) -> _State:
    return _State(*(node.moments or (0.0, 1.0, 0.0)))


def _log_add(a: float, b: float) -> float:
    high, low = max(a, b), min(a, b)
    return high if low == -math.inf else high + math.log1p(math.exp(low - high))


@lru_cache(maxsize=4096)
def _product(activation: Activation, variance: float, c: float, mean: float) -> float:
    """E[φ(u₁) φ(u₂)] for u ~ N(mean, variance) with correlation c."""
    if mean == 0.0:
        return product(activation, variance, c)

    def shifted(h: Tensor) -> Tensor:
        return activation.fn(h + mean)

    moved = replace(activation, fn=shifted, kinks=tuple(k - mean for k in activation.kinks))
    return product(moved, variance, c)


def _saturated(activation: Activation, state: _State) -> float:
    """P(|φ'(h)| below 5 % of its maximum) for h ~ N(m, ν)."""
    if activation.moments is not None or not 0 < state.variance < 1e300:
        return math.nan
    inside = 0.0
    scale = math.sqrt(2 * state.variance)
    for low, high in slope_band(activation.fn).alive:
        inside += 0.5 * (math.erf((high - state.m) / scale) - math.erf((low - state.m) / scale))
    return min(1.0, max(0.0, 1 - inside))


def _gradient_depth(layers: tuple[LayerPrediction, ...]) -> float:
    """6/|ln χ| at the middle layer: over so many layers the squared gradient changes by e^±6."""
    inner = layers[1:]
    if not inner:
        return math.inf
    chi = inner[len(inner) // 2].chi
    if not 0 < chi < math.inf:
        return 0.0
    log = abs(math.log(chi))
    return math.inf if log < 1e-9 else 6 / log


def _stable(layers: tuple[LayerPrediction, ...]) -> bool:
    """Whether ln q changes by less than 5 % of e a layer in the upper half, where the transient is over."""
    upper = [r.q for r in layers[len(layers) // 2 :]]
    if any(not 0 < q < math.inf for q in upper) or len(upper) < 2:
        return False
    return abs(math.log(upper[-1] / upper[0])) / (len(upper) - 1) < 0.05


# ------------------------------------------------------------------ what each weight receives
def input_squares(graph: Graph, sites: tuple[Site, ...], context: InitContext) -> dict[str, float]:
    """Name of each weight → mean square of its input, if every weight before it sends mean 0 and mean square 1.

    What a layer has to be divided by for its own output to have mean square 1 (Bingham & Miikkulainen, AAAI 2023).
    """
    walk = _UnitWalk(graph, sites, {}, context)
    walk.forward()
    return walk.received


class _UnitWalk(_Walk):
    """The walk of a network whose weights are all scaled so that they send mean square 1."""

    def __init__(
        self, graph: Graph, sites: tuple[Site, ...], mean_squares: Mapping[str, float], context: InitContext
    ) -> None:
        super().__init__(graph, sites, mean_squares, context)
        self.received: dict[str, float] = {}

    def _weight(self, node: Node, site: Site, x: _State) -> tuple[_State, tuple[float, ...]]:
        if site.kind != "embedding":
            self.received.setdefault(site.name, x.s)
        return _State(0.0, 1.0, x.p / x.s if x.s > 0 else 1.0), (1.0,)
