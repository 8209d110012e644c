"""Reads norms and factors out of a row of nodes of a network's graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from initlab.network.graph import Node
from initlab.spec import Activation
from initlab.theory.transformer.network import NO_NORM, Norm


@dataclass(frozen=True)
class Chain:
    """A norm and a factor in a row.

    Attributes:
        norm: the first that was met, `NO_NORM` without one.
        factor2: mean square of the factors outside of the norm.
        unknown: what else there was.
    """

    norm: Norm = NO_NORM
    factor2: float = 1.0
    unknown: tuple[str, ...] = ()


def mean_square(value: Tensor) -> float:
    """Mean square of a tensor's entries."""
    return float(value.detach().double().square().mean())


def read_chain(nodes: Sequence[Node], parameters: Mapping[str, Tensor], activations: Mapping[str, Activation]) -> Chain:
    """What the nodes, each of which reads the one before it, do to the size of a token.

    Args:
        nodes: in the order of the forward pass.
        parameters: of the network, by name.
        activations: what each activation is.
    """
    chain = Chain()
    place = 0
    while place < len(nodes):
        taken, chain = _dynamic(nodes[place:], chain, parameters, activations)
        if not taken:
            chain = _step(nodes[place], nodes[place - 1] if place else None, chain, parameters)
        place += max(taken, 1)
    return chain


def _dynamic(
    nodes: Sequence[Node], chain: Chain, parameters: Mapping[str, Tensor], activations: Mapping[str, Activation]
) -> tuple[int, Chain]:
    """How many nodes are the start of a DyT or Derf: a number that is multiplied with, a shift, a tanh or erf."""
    value = parameters.get(nodes[0].name) if nodes[0].op == "factor" and nodes[0].factor is None else None
    if chain.norm.kind != "none" or value is None or value.numel() != 1:
        return 0, chain
    count = 2 if len(nodes) > 2 and nodes[1].op == "shape" and nodes[2].op == "activation" else 1
    if len(nodes) <= count or nodes[count].op != "activation":
        return 0, chain
    found = activations.get(nodes[count].name.partition("#")[0])
    if found is None or found.name not in ("tanh", "erf"):
        return 0, chain
    shift = parameters.get(nodes[1].shift) if count == 2 else None
    unknown = ("a shifted norm",) if shift is not None and mean_square(shift) > 0 else ()
    kind = "dyt" if found.name == "tanh" else "derf"
    norm = Norm(kind=kind, alpha=float(value.detach()))
    return count + 1, replace(chain, norm=norm, unknown=(*chain.unknown, *unknown))


def _step(node: Node, before: Node | None, chain: Chain, parameters: Mapping[str, Tensor]) -> Chain:
    if node.op == "norm" and chain.norm.kind == "none" and not node.over_examples:
        return replace(chain, norm=_norm(node, parameters))
    if node.op in ("factor", "scale"):
        name = f"{node.name}.weight" if node.op == "scale" else node.name
        value = parameters.get(name) if node.factor is None else None
        square = node.factor**2 if node.factor is not None else mean_square(value) if value is not None else 1.0
        behind = before is not None and before.op in ("norm", "activation")
        if chain.norm.kind != "none" and behind and value is not None:
            return replace(chain, norm=replace(chain.norm, gain2=chain.norm.gain2 * square))
        return replace(chain, factor2=chain.factor2 * square)
    if node.op == "shape":
        shift = parameters.get(node.shift)
        if shift is None or mean_square(shift) == 0:
            return chain
        return replace(chain, norm=replace(chain.norm, shift2=chain.norm.shift2 + mean_square(shift)))
    if node.op == "dropout":
        return replace(chain, factor2=chain.factor2 * (node.factor or 1.0))
    if node.op == "join" and len(node.inputs) == 1:
        return chain
    return replace(chain, unknown=(*chain.unknown, f"{node.name} in a branch"))


def _norm(node: Node, parameters: Mapping[str, Tensor]) -> Norm:
    scale = parameters.get(node.parameter)
    shift = parameters.get(f"{node.name}.bias") if scale is not None else None
    return Norm(
        kind="layer" if node.centred else "rms",
        gain2=mean_square(scale) if scale is not None else node.level,
        shift2=mean_square(shift) if shift is not None else 0.0,
    )


def passed_factor2(node: Node, before: Node) -> float | None:
    """Square of the number by which a node multiplied all of its input, as the pass shows; None where it did more."""
    if node.moments is None or before.moments is None or len(node.inputs) != 1:
        return None
    (_, s, p), (_, s0, p0) = node.moments, before.moments
    if not s0 > 0:
        return None
    ratio = s / s0
    return ratio if abs(p - ratio * p0) <= 1e-4 * s else None
