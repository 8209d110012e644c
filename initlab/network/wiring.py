"""Who feeds whom: the activation before and after each weight, heads and residual branches, from a traced graph."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from itertools import pairwise

from torch import nn

from initlab.activations.slope import is_activation
from initlab.network.branches import branches
from initlab.network.graph import Graph, Node
from initlab.network.modules import RECURRENT, WEIGHTED
from initlab.network.use_kinds import PRODUCTS
from initlab.spec import Branch, Reading

#: modules whose weights are layers
WEIGHT_LAYERS = (*WEIGHTED, *RECURRENT, nn.MultiheadAttention)
_LAYERS = ("weight", "recurrent", "attention")
#: contractions; one of two signals, such as queries with keys, is no layer's output any more
_CONTRACTIONS = (*PRODUCTS, "__matmul__", "__rmatmul__", "einsum", "tensordot")


@dataclass
class Wiring:
    """For each layer (by parameter, and by module where that is a layer as a whole) what it feeds and is fed by.

    Attributes:
        mix: layer → (activation or "", share of the units) of each tensor that is joined into its input.
        order: layer → its place in the forward pass.
        after, before: layer → name of the activation. reading: that activation → where it is read.
        values: the layers whose output a gate multiplies, not those that the gate receives.
        normed: the layers that a norm feeds, with nothing but moves between.
        heads: the layers whose output is the network's.
        branches: layer → its place in a residual branch.
    """

    order: dict[str, int] = field(default_factory=dict)
    after: dict[str, str] = field(default_factory=dict)
    before: dict[str, str] = field(default_factory=dict)
    mix: dict[str, tuple[tuple[str, float], ...]] = field(default_factory=dict)
    values: set[str] = field(default_factory=set)
    normed: set[str] = field(default_factory=set)
    heads: set[str] = field(default_factory=set)
    branches: dict[str, Branch] = field(default_factory=dict)
    reading: dict[str, Reading] = field(default_factory=dict)


def wire(graph: Graph) -> Wiring:
    """The wiring that a graph shows."""
    found = Wiring(order=dict(graph.order), branches=branches(graph))
    for node in graph.nodes:
        if node.op == "activation":
            _add_activation(found, graph, node)
        elif node.op in _LAYERS:
            _add_layer(found, graph, node)
    found.heads = _heads(graph, found.branches)
    return found


def _add_activation(found: Wiring, graph: Graph, node: Node) -> None:
    for source in _nearest(graph, node.inputs, through_products=False):
        for name in _names(graph, source) if source.op in _LAYERS else ():
            found.after.setdefault(name, node.name)
    if len(node.inputs) == 2:
        for source in _nearest(graph, node.inputs[:1]):
            found.values.update(_names(graph, source) if source.op in _LAYERS else ())
    if node.reading is not None:
        found.reading.setdefault(node.name, node.reading)


def _add_layer(found: Wiring, graph: Graph, node: Node) -> None:
    names = _names(graph, node)
    mix = _joined(graph, node)
    if len({name.partition("#")[0] for name, _ in mix}) > 1:
        for name in names:
            found.mix.setdefault(name, mix)
    if _fed_by_norm(graph, node):
        found.normed.update(names)
    before = next((s for s in _nearest(graph, node.inputs, main_only=True) if s.op == "activation"), None)
    if before is not None:
        for name in names:
            found.before.setdefault(name, before.name)


def wire_by_registration(model: nn.Module, *, given: bool = False) -> Wiring:
    """Take the order of registration for the order of the forward pass.

    Args:
        given: whether the activation is known from elsewhere; it is then taken to lie between any two layers of a
            network that has no activation modules.
    """
    found = Wiring()
    last_activation: str | None = None
    last_weight: str | None = None
    seen: list[str] = []
    parameters = {id(p) for p in model.parameters()}
    for name, module in model.named_modules():
        if next(module.parameters(recurse=False), None) is not None:
            found.order.setdefault(name, len(found.order))
        if isinstance(module, WEIGHT_LAYERS):
            weight = getattr(module, "weight", None)
            if isinstance(weight, nn.Parameter) and id(weight) not in parameters:
                continue
            last_weight = name
            seen.append(name)
            if last_activation is not None:
                found.before[name] = last_activation
        elif is_activation(module):
            if last_weight is not None:
                found.after.setdefault(last_weight, name)
            last_activation = name
    if last_weight is not None and last_weight not in found.after:
        found.heads.add(last_weight)
    if given and last_activation is None:
        for first, second in pairwise(seen):
            found.after[first] = found.before[second] = "given"
    return found


def _names(graph: Graph, node: Node) -> tuple[str, ...]:
    """What a layer's sites are found by: its parameters, and its module."""
    if node.op != "weight":
        return node.name, f"{node.name}.out_proj"
    behind = graph.nodes[node.index + 1] if node.index + 1 < len(graph.nodes) else node
    added = behind.shift if behind.op == "shape" and behind.inputs == (node.index,) else ""
    return tuple(n for n in (node.parameter, node.shift, added, node.name) if n)


def _nearest(
    graph: Graph, begin: tuple[int, ...], *, main_only: bool = False, through_products: bool = True
) -> list[Node]:
    """The layers and activations that tensors were computed from, none of them through another; the closest first.

    Args:
        main_only: of tensors that are multiplied entry by entry, the largest alone.
        through_products: whether the factors of a product of two signals count.
    """
    found: list[Node] = []
    waiting, seen = deque(begin), set[int]()
    while waiting:
        index = waiting.popleft()
        if index in seen:
            continue
        seen.add(index)
        node = graph.nodes[index]
        if node.op in (*_LAYERS, "activation"):
            found.append(node)
            continue
        inputs = node.inputs
        if len(inputs) > 1 and node.name in _CONTRACTIONS and not through_products:
            continue
        if main_only and node.op == "product":  # what it is multiplied with, unit by unit or channel by channel
            inputs = (max(inputs, key=lambda i: math.prod(graph.nodes[i].shape)),)
        waiting.extend(inputs)
    return found


def _joined(graph: Graph, layer: Node) -> tuple[tuple[str, float], ...]:
    """(activation or "", share of the units) of the tensors that are joined into a layer's input."""
    node = graph.nodes[layer.inputs[0]] if layer.inputs else layer
    while node.op in ("shape", "dropout", "alpha_dropout") and len(node.inputs) == 1:
        node = graph.nodes[node.inputs[0]]
    if node.op != "join":
        return ()
    sizes = [math.prod(graph.nodes[i].shape) for i in node.inputs]
    sources = [_nearest(graph, (i,), main_only=True) for i in node.inputs]
    names = [s[0].name if s and s[0].op == "activation" else "" for s in sources]
    return tuple((name, size / max(sum(sizes), 1)) for name, size in zip(names, sizes, strict=True))


def _fed_by_norm(graph: Graph, layer: Node) -> bool:
    node = graph.nodes[layer.inputs[0]] if layer.inputs else layer
    while node.op in ("shape", "factor", "dropout", "alpha_dropout") and node.inputs:
        node = graph.nodes[node.inputs[0]]
    return node.op == "norm"


def _heads(graph: Graph, inside: dict[str, Branch]) -> set[str]:
    """Weights behind which no other layer stands, on the way to what the network returns."""
    followed: set[int] = set()  # nodes that another layer reads, directly or not
    for node in reversed(graph.nodes):
        if node.op in _LAYERS or node.index in followed:
            followed.update(node.inputs)
    waiting, seen = list(graph.outputs or (graph.output,)), set[int]()
    heads: set[str] = set()
    while waiting:
        index = waiting.pop()
        if index in seen:
            continue
        seen.add(index)
        node = graph.nodes[index]
        if node.op in _LAYERS:
            if index not in followed and node.op == "weight" and node.parameter not in inside:
                heads.add(node.parameter)
            continue
        if node.op == "norm":
            continue
        waiting.extend(node.inputs)
    return heads
