"""The graph of a network's forward pass: weights, norms, activations, sums and what lies between (`trace`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from initlab.network.modules import Op
from initlab.network.use_kinds import Use
from initlab.spec import Activation, Reading


@dataclass(frozen=True, kw_only=True)
class Node:
    """One step of the forward pass.

    Attributes:
        op: what it does; ``opaque`` is anything that is known by its inputs and output only.
        name: dotted module name (with ``#k`` for a later use of an activation), or the function's name.
        inputs: indices of the nodes it reads, in order.
        shape: of its output, with the batch dimension.
        factor: of a ``factor``: the number that is multiplied with; None where it is a parameter (named in `name`).
            Of a ``dropout``: 1/(1 - p), by which it multiplies the mean square. Of an ``alpha_dropout``: likewise.
        over_examples: of a ``norm``: whether its statistics are taken over the batch, and not within each example.
        centred: of a ``norm``: whether it removes the mean.
        level: of a ``norm`` without a scale of its own: mean square of what it sends.
        parameter: of a ``weight``: the parameter that is contracted or looked up; of a ``norm``: its scale.
        shift: the parameter that is added in this step.
        balanced: of a ``weight`` that is computed: whether the weights of every unit sum to zero (standardisation), so
            that the mean of the input is lost.
        effective: of a ``weight`` that is computed from parameters: mean square of the weight that is used.
        moments: (mean, mean square, mean product of two examples) of its output in this pass, where asked for.
        window: of a maximum over a window: numbers that it is taken over.
        reading: of an ``activation`` that is not a module: the calls that its input and output are read from.
    """

    index: int
    op: Op
    name: str
    inputs: tuple[int, ...]
    shape: tuple[int, ...]
    factor: float | None = None
    over_examples: bool = False
    centred: bool = True
    level: float = 1.0
    parameter: str = ""
    shift: str = ""
    balanced: bool = False
    effective: float | None = None
    moments: tuple[float, float, float] | None = None
    window: int = 1
    reading: Reading | None = None


@dataclass(frozen=True)
class Graph:
    """Nodes in the order of the forward pass; node 0 is the network's input, `output` what it returns.

    Attributes:
        outputs: all that it returns, where that is several tensors.
        activations: node name (without ``#k``) → what it is, of the activations that are not modules known as such.
        uses: parameter name → how it is used, the first use of each.
        parts: parameter name → row borders of the parts that its output is split into.
        order: parameter, or module that is a node as a whole → position of its first use.
        learned: parameters of activations. beside_data: parameters that are joined to the input itself.
        reached: the parameters that the pass read.
    """

    nodes: tuple[Node, ...]
    output: int
    outputs: tuple[int, ...] = ()
    activations: Mapping[str, Activation] = field(default_factory=dict)
    uses: Mapping[str, tuple[Use, ...]] = field(default_factory=dict)
    parts: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    order: Mapping[str, int] = field(default_factory=dict)
    learned: frozenset[str] = frozenset()
    beside_data: frozenset[str] = frozenset()
    reached: frozenset[str] = frozenset()

    def named(self, op: Op) -> dict[str, Node]:
        """Name → node of an operation; the first use counts."""
        found: dict[str, Node] = {}
        for node in self.nodes:
            if node.op == op:
                found.setdefault(node.name, node)
        return found

    def of_parameter(self) -> dict[str, Node]:
        """Parameter → node of the weight that it is; the first use counts."""
        found: dict[str, Node] = {}
        for node in self.nodes:
            if node.op == "weight":
                found.setdefault(node.parameter, node)
        return found


def trace(model: nn.Module, example: Any, *, moments: bool = False) -> Graph:
    """One forward pass of `model` in its present mode, as a graph.

    Buffers and random numbers change as in any forward pass; `state.preserve_state` restores them.

    Args:
        example: a batch on the model's device; for `moments` of two examples or more.
        moments: measure what each node sends.
    """
    from initlab.network.record import record
    from initlab.network.reduce import Reduction

    return Reduction(record(model, example, measure=_measure if moments else None)).graph()


def example_moments(x: Tensor) -> Tensor:
    """(mean, mean square, mean product of two different examples) of a batch (B, ...): float32, shape (3,)."""
    flat = x.detach().flatten(1).float() if x.dim() > 1 else x.detach().float().reshape(-1, 1)
    batch, units = flat.shape
    squares = flat.square().sum()
    pairs = flat.sum(0).square().sum() - squares
    return torch.stack([flat.mean(), squares / (batch * units), pairs / max(1, batch * (batch - 1) * units)])


def _measure(x: Tensor, batch: int | None) -> Tensor:
    """`example_moments`, with the examples found in a tensor that holds them elsewhere than in front."""
    x = x.detach()
    if x.is_complex():
        x = torch.view_as_real(x)
    if not x.numel():
        return torch.zeros(3, device=x.device)
    if x.dim() and batch and x.shape[0] != batch:
        if batch > 1 and x.shape[0] % batch == 0:  # (B·T, ...): what one example holds lies together
            x = x.reshape(batch, -1)
        elif batch in x.shape:
            x = x.movedim(x.shape.index(batch), 0)
        else:  # the same for all examples
            square = x.float().square().mean()
            return torch.stack([x.float().mean(), square, square])
    elif not x.dim():
        return torch.stack([x.float(), x.float().square(), x.float().square()])
    return example_moments(x)


def above(graph: Graph) -> list[int]:
    """Bit sets: for each node, itself and all that it is computed from."""
    found: list[int] = []
    for node in graph.nodes:
        bits = 1 << node.index
        for i in node.inputs:
            bits |= found[i]
        found.append(bits)
    return found
