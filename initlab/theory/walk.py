"""Walks the graph of a network forward and backward: moments of the signal, correlation and gradient by layer."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import torch

from initlab.activations.slope import derivative
from initlab.network.call_kinds import MAXIMA
from initlab.network.graph import Graph, Node
from initlab.spec import InitContext, LayerPrediction, Site
from initlab.theory.finite_width import born_dead, zero_padding_share
from initlab.theory.joined import inverse_variance
from initlab.theory.meanfield import correlation_depth
from initlab.theory.pooling import overlap_factor, winners_slope
from initlab.theory.quadrature import moments, moments_of
from initlab.theory.state import (
    State,
    drop,
    in_range,
    is_lookup,
    log_add,
    measured,
    saturated,
    shifted_product,
    within_moments,
)

#: poolings whose backward pass spreads one gradient over many positions
_AVERAGES = ("mean", "avg_pool1d", "avg_pool2d", "avg_pool3d", "adaptive_avg_pool1d", "adaptive_avg_pool2d")

#: numbers of a channel below which a batch norm's statistics are not those of the layer
_FEW = 32


class Walk:
    def __init__(
        self, graph: Graph, sites: tuple[Site, ...], mean_squares: Mapping[str, float], context: InitContext
    ) -> None:
        self.graph = graph
        self.context = context
        self.squares = mean_squares
        self.weights = {s.name: s for s in sites if s.role in ("weight", "head", "embedding") and s.fan_in > 0}
        self.sites = {s.name: s for s in sites}
        self._nodes = graph.of_parameter()
        self.states: list[State] = []
        self.back: list[tuple[float, ...]] = []  # for each node, the factor to each of its inputs
        self.unknown: list[str] = []
        self.readers = Counter(i for n in graph.nodes for i in n.inputs)

    # ---------------------------------------------------------- forward
    def forward(self) -> None:
        for node in self.graph.nodes:
            inputs = [self.states[i] for i in node.inputs]
            state, factors = self._step(node, inputs)
            self.states.append(state)
            self.back.append(factors)

    def _step(self, node: Node, inputs: list[State]) -> tuple[State, tuple[float, ...]]:
        if not inputs:
            return measured(node), ()
        x = inputs[0]
        if node.op == "weight" and node.parameter in self.weights:
            return self._weight(node, self.weights[node.parameter], x)
        if node.op == "activation":
            return self._gate(node, *inputs) if len(inputs) == 2 else self._activation(node, x)
        if node.op == "norm":
            return self._norm(node, x)
        if node.op in ("scale", "factor"):
            name = f"{node.name}.weight" if node.op == "scale" else node.name
            square = node.factor**2 if node.factor is not None else self.squares.get(name, 1.0)
            sign = math.copysign(1.0, node.factor) if node.factor is not None else 1.0
            return State(sign * math.sqrt(square) * x.m, square * x.s, square * x.p), (square,)
        if node.op == "sum" and len(inputs) == 2:
            a, b = inputs
            sign = -1.0 if "sub" in node.name else 1.0
            cross = 2 * sign * a.m * b.m
            return State(a.m + sign * b.m, a.s + b.s + cross, a.p + b.p + cross), (1.0, 1.0)
        if node.op == "product" and len(inputs) == 2:
            a, b = inputs
            self._assumed(node)
            if len({math.prod(self.graph.nodes[i].shape) for i in node.inputs}) > 1:
                self.unknown.append("a gate for each channel")  # its gradient is a sum over positions
            return State(a.m * b.m, a.s * b.s, a.p * b.p), (b.s, a.s)
        if node.op in ("dropout", "alpha_dropout"):
            return drop(node, x)
        if node.op == "join":
            sizes = [math.prod(self.graph.nodes[i].shape[1:]) for i in node.inputs]
            share = [n / sum(sizes) for n in sizes]
            mixed = State(*(sum(w * getattr(t, k) for w, t in zip(share, inputs, strict=True)) for k in "msp"))
            return mixed, tuple(share)
        if node.op == "shape":
            sb2 = self.squares.get(node.shift, 0.0)
            return State(x.m, x.s + sb2, x.p + sb2), (1.0, *(0.0 for _ in node.inputs[1:]))
        return self._unknown(node, x)

    def _weight(self, node: Node, site: Site, x: State) -> tuple[State, tuple[float, ...]]:
        sw2, sb2 = self._sigmas(site, node)
        if is_lookup(self.graph, node):
            square = self.squares.get(site.name, 0.0)
            return State(0.0, square, measured(node).p), (1.0,)
        if node.balanced:
            x = State(0.0, x.variance, x.p - x.m**2)
        inside = 1.0
        before = self.graph.nodes[node.inputs[0]].shape[2:]
        kernel, dims = site.shape[2:], len(site.padding)
        if dims and len(before) == dims:
            for n, k, pad, stride in zip(before, kernel, site.padding, site.stride, strict=True):
                inside *= zero_padding_share(n, k, pad, stride)
        sw2 *= inside
        return State(0.0, sw2 * x.s + sb2, sw2 * x.p + sb2), (sw2,)

    def _sigmas(self, site: Site, node: Node | None = None) -> tuple[float, float]:
        """σ_w² and σ_b², of the weight that is used where it is computed from parameters."""
        node = node or self._nodes.get(site.name)
        square = self.squares.get(site.name, 0.0)
        if node is not None and node.effective is not None:
            square = node.effective
        return site.fan_in * square, self.squares.get(node.shift, 0.0) if node is not None else 0.0

    def _assumed(self, node: Node) -> None:
        """A product of two signals is that of independent ones; where it was not, it is named."""
        a, b = (measured(self.graph.nodes[i]) for i in node.inputs)
        seen, expected = measured(node).s, a.s * b.s
        if expected > 0 and not 0.67 < seen / expected < 1.5:
            self.unknown.append(node.name)

    def _activation(self, node: Node, x: State) -> tuple[State, tuple[float, ...]]:
        activation = self.context.activations.get(node.name.partition("#")[0], self.context.activation)
        variance = x.variance
        if not in_range(activation, x):
            value = float(activation.fn(torch.tensor([x.m], dtype=torch.float64))) if variance < 1 else math.inf
            slope = (
                float(derivative(activation.fn, torch.tensor([x.m], dtype=torch.float64))) if variance < 1 else math.nan
            )
            return State(value, value * value, value * value), (slope * slope,)
        if activation.moments is not None:
            m = moments_of(activation, q=variance)
            # the correlation of a product of units is not one of φ: what was measured stands in
            seen_in, seen = measured(self.graph.nodes[node.inputs[0]]), measured(node)
            ratio = (seen.p / seen.s) if seen.s > 0 else seen_in.c
            self.unknown.append(f"correlation through {activation.name}")
            # per unit sent, over all units received: the factor of the whole gradient's norm
            return State(m.mean, m.second, ratio * m.second), (m.slope_second,)
        m = moments(activation.fn, kinks=activation.kinks, q=variance, mean=x.m)
        c = x.c
        p = m.second if c > 1 - 1e-12 else shifted_product(activation, variance, c, x.m)
        return State(m.mean, m.second, p), (m.slope_second,)

    def _gate(self, node: Node, value: State, turned: State) -> tuple[State, tuple[float, ...]]:
        """h₁·gate(h₂) of two inputs, taken for independent."""
        known = self.context.activations.get(node.name.partition("#")[0], self.context.activation)
        gate = known.gate or known
        if not in_range(gate, turned):
            return self._activation(node, turned)
        m = moments(gate.fn, kinks=gate.kinks, q=turned.variance, mean=turned.m)
        p = m.second if turned.c > 1 - 1e-12 else shifted_product(gate, turned.variance, turned.c, turned.m)
        return State(value.m * m.mean, value.s * m.second, value.p * p), (m.second, value.s * m.slope_second)

    def _norm(self, node: Node, x: State) -> tuple[State, tuple[float, ...]]:
        gamma2 = self.squares.get(node.parameter, 1.0) * node.level
        if not node.centred:
            if not 1e-300 < x.s < 1e300:
                return State(0.0, 0.0, 0.0), (0.0,)
            scale = gamma2 / x.s
            return State(x.m * math.sqrt(scale), gamma2, x.p * scale), (scale,)
        variance = x.s - x.p if node.over_examples else x.variance
        if not 1e-300 < variance < 1e300:
            return State(0.0, 0.0, 0.0), (0.0,)
        if node.over_examples:  # leaves examples uncorrelated
            numbers = math.prod(node.shape) // max(node.shape[1] if len(node.shape) > 1 else 1, 1)
            if numbers < _FEW:  # its statistics scatter, and so do gradients through them
                self.unknown.append(f"batch norm over {numbers} numbers")
            return State(0.0, gamma2, 0.0), (gamma2 * inverse_variance(self, node.inputs[0]),)
        return State(0.0, gamma2, gamma2 * (x.p - x.m**2) / variance), (gamma2 / variance,)

    def _unknown(self, node: Node, x: State) -> tuple[State, tuple[float, ...]]:
        seen_in, seen = measured(self.graph.nodes[node.inputs[0]]), measured(node)
        short = node.name.rsplit(".", 1)[-1]
        if node.op == "opaque" and short not in (*_AVERAGES, *MAXIMA, "pad"):
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
        if short in MAXIMA:
            back = self._winners(node, ratio) * self._overlap(node, before)
        return State(mean, ratio * x.s, p), (back, *(0.0 for _ in node.inputs[1:]))

    def _winners(self, node: Node, ratio: float) -> float:
        """Mean square slope of the units that a maximum takes its numbers from, over that of all units."""
        before = self.graph.nodes[node.inputs[0]]
        if before.op != "activation" or len(before.inputs) != 1:
            return 1.0
        activation = self.context.activations.get(before.name.partition("#")[0], self.context.activation)
        x = self.states[before.inputs[0]]
        if activation.moments is not None or not 1e-12 < x.variance < 1e12:
            return 1.0
        return winners_slope(activation, x.m, x.variance, node.window, ratio)

    def _overlap(self, node: Node, before: int) -> float:
        """Where windows overlap, a unit can win several, and their gradients add."""
        factor = overlap_factor(node.window * math.prod(node.shape) / before)
        if factor > 1.5:  # stride 1
            self.unknown.append(f"gradient of {node.name} with overlapping windows")
        return factor

    # ---------------------------------------------------------- backward
    def _is_head(self, node: Node) -> bool:
        site = self.weights.get(node.parameter)
        return site is not None and site.role == "head" and site.branch is None and site.activation is None

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
                    logs[i] = log_add(logs[i], here + math.log(factor))
        return logs

    def layers(self, gradient: list[float]) -> tuple[LayerPrediction, ...]:
        rows: list[tuple[LayerPrediction, float]] = []
        nodes = self.graph.named("activation")
        seen: set[str] = set()
        for site in sorted(self.weights.values(), key=lambda s: (s.gated, s.order)):
            node = nodes.get(site.activation or "")
            # the sum of a branch and its shortcut is one pre-activation, and so one row
            if node is None or node.name in seen or not node.inputs:
                continue
            seen.add(node.name)
            h = node.inputs[-1]  # of a gated one, what the gate receives
            activation = self.context.activations.get(node.name.partition("#")[0], self.context.activation)
            sw2, sb2 = self._sigmas(site)
            back = self.back[node.index]
            rows.append(
                (
                    LayerPrediction(
                        site=site.name,
                        order=site.order,
                        sigma_w2=sw2,
                        sigma_b2=sb2,
                        q=self.states[h].s,
                        mean=self.states[h].m,
                        c=self.states[h].c,
                        log10_gradient=gradient[h] / math.log(10),
                        saturated=saturated(activation, self.states[h]),
                        chi=sw2 * back[0] if back else math.nan,
                    ),
                    gradient[h],
                )
            )
        if not rows:
            return ()
        rows.sort(key=lambda r: r[0].order)
        last = next((g for _, g in reversed(rows) if g > -math.inf), math.nan) / math.log(10)
        return tuple(
            replace(r, log10_gradient=r.log10_gradient - last if r.log10_gradient > -math.inf else math.nan)
            for r, _ in rows
        )

    # ---------------------------------------------------------- finite width
    def trainable_depth(self, layers: tuple[LayerPrediction, ...]) -> float:
        """6 ξ_c where the signal has settled, at the last layer but one (Schoenholz et al., ICLR 2017)."""
        inner = layers[1:]
        if not inner:
            return math.nan
        row, before = inner[-1], layers[-2]
        activation = self.context.before(self.sites[row.site]) or self.context.activation
        if activation.moments is not None or not within_moments(activation, before.q) or not row.sigma_w2 > 0:
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
