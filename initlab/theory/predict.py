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
from dataclasses import replace

import torch
from torch import nn

from initlab.network.graph import Graph, Node
from initlab.spec import InitContext, LayerPrediction, Prediction, Site
from initlab.theory.spread import log_q_spread
from initlab.theory.state import State
from initlab.theory.walk import Walk


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
    walk = Walk(graph, sites, mean_squares, context)
    walk.forward()
    gradient = walk.backward()
    layers = walk.layers(gradient)
    if any(names_attention(part) for part in walk.unknown):
        # tokens are mixed, and gradients pass through what is mixed: `theory.transformer` speaks of both
        layers = tuple(replace(row, c=math.nan, log10_gradient=math.nan, chi=math.nan) for row in layers)
    straight = not any(n.op in ("sum", "norm", "recurrent", "attention") for n in graph.nodes)
    return Prediction(
        layers=layers,
        output_q=walk.states[graph.output].s,
        depth=len(layers),
        trainable_depth=walk.trainable_depth(layers) if straight else math.nan,
        gradient_depth=_gradient_depth(layers) if straight else math.nan,
        log_q_sd=_log_q_sd(walk, layers) if straight else math.nan,
        born_dead=walk.born_dead(layers) if straight else math.nan,
        stable=_stable(layers) if straight and len(layers) > 2 else None,
        out_of_scope=tuple(dict.fromkeys(walk.unknown)),
    )


def names_attention(part: str) -> bool:
    """Whether a part that is out of scope is attention, fused or step by step, or a module of it."""
    return part in ("softmax", "matmul", "scaled_dot_product_attention") or part.startswith("attention ")


# ------------------------------------------------------------------ pieces
def _log_q_sd(walk: Walk, layers: tuple[LayerPrediction, ...]) -> float:
    sites = [walk.sites[row.site] for row in layers]
    return log_q_spread(
        (row, walk.context.after(site) or walk.context.activation, round(site.fan_out))
        for row, site in zip(layers, sites, strict=True)
    )


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


class _UnitWalk(Walk):
    """The walk of a network whose weights are all scaled so that they send mean square 1."""

    def __init__(
        self, graph: Graph, sites: tuple[Site, ...], mean_squares: Mapping[str, float], context: InitContext
    ) -> None:
        super().__init__(graph, sites, mean_squares, context)
        self.received: dict[str, float] = {}

    def _weight(self, node: Node, site: Site, x: State) -> tuple[State, tuple[float, ...]]:
        if site.kind != "embedding":
            self.received.setdefault(site.name, x.s)
        return State(0.0, 1.0, x.p / x.s if x.s > 0 else 1.0), (1.0,)
