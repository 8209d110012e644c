"""The `Site` type: one parameter of a network with its role, fans, gates and residual branch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Role = Literal["weight", "recurrent", "embedding", "head", "bias", "norm", "scale"]


@dataclass(frozen=True, kw_only=True)
class Gate:
    """A block of rows ``[start, stop)`` of a stacked parameter: a gate of an LSTM/GRU, or one of q, k, v."""

    name: str
    start: int
    stop: int


@dataclass(frozen=True, kw_only=True)
class Branch:
    """Place of a parameter in a residual branch, one of the two summands that the input reaches through weights.

    Attributes:
        index: which branch, counted from 0 in the order of the forward pass.
        position: of its weight layer within the branch, from 0; a norm or scale has that of the weight before it.
        length: weight layers in the branch (the m of Fixup).
        count: branches of the whole network (the L of Fixup).
    """

    index: int
    position: int
    length: int
    count: int

    @property
    def is_last(self) -> bool:
        return self.position == self.length - 1


@dataclass(frozen=True, kw_only=True)
class Site:
    """One parameter of a network, with its role.

    Attributes:
        name: dotted parameter name.
        layer: dotted name of the module that owns it.
        kind: ``linear``, ``conv2d``, ``conv_transpose2d``, ``embedding``, ``rnn``, ``lstm``, ``gru``, ``attention``,
            ``norm``, ``scale`` (a residual branch's multiplier), ``activation`` or ``free``.
        role: its function in the network.
        shape: shape of the parameter.
        fan_in: how many inputs one output unit sums over, of one gate, computed from the module.
        fan_out: how many output units one input unit feeds.
        groups: number of groups of a convolution (1 elsewhere). Each group is a linear map of its own.
        gates: blocks along dimension 0, in order; empty where the parameter is one block.
        order: position in the forward pass (or of registration, where no example was traced).
        activation: name of the activation module its output reaches next (dotted module name), None for a head.
        activation_before: the activation module that its input comes from, None for the first layer.
        transposed: weight is stored (in, out / groups, ...), as transposed convolutions do.
        stride: of a convolution, per dimension; empty elsewhere.
        padding: with zeros, of a convolution, per dimension; empty where there is none or where it is circular.
        branch: where it stands in a residual branch, None outside of one (and where no example was traced).
    """

    name: str
    layer: str
    kind: str
    role: Role
    shape: tuple[int, ...]
    fan_in: float = 0.0
    fan_out: float = 0.0
    groups: int = 1
    gates: tuple[Gate, ...] = ()
    order: int = 0
    activation: str | None = None
    activation_before: str | None = None
    transposed: bool = False
    stride: tuple[int, ...] = ()
    padding: tuple[int, ...] = ()
    branch: Branch | None = None
