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
class Reading:
    """Where the input and output of an activation that is no module are read in a forward pass.

    Attributes:
        first: the call that receives the activation's input; position: as its how-manieth tensor.
        last: the call that gives its output.
    """

    first: str
    position: int
    last: str


@dataclass(frozen=True, kw_only=True)
class Site:
    """One parameter of a network, with its role.

    Attributes:
        name: dotted parameter name.
        layer: dotted name of the module that owns it.
        kind: ``linear``, ``conv2d``, ``conv_transpose2d``, ``embedding``, ``position`` (a table that is added, or
            looked up by position), ``token`` (joined to the input), ``rnn``, ``lstm``, ``gru``, ``attention``,
            ``norm``,
            ``scale`` (a residual branch's multiplier), ``activation``, ``computed`` (its tensor is drawn through
            another parameter) or ``free``.
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
        dims: how a weight lies, a letter for each dimension: ``o`` output, ``i`` input (summed over), ``g`` a matrix of
            its own (experts), ``t`` a kernel's taps. Empty: (out, in / groups, taps...), or as `transposed` says.
        reading: where `activation` is read, if it is not a module.
        multiplier, offset: the network uses multiplier · parameter + offset in the parameter's place.
        tied: whether it is both looked up and multiplied with, as the shared matrix of a language model's ends is.
        frozen: whether it asks for no gradient.
        zero_row: a row that stays zero (`padding_idx`).
        own_value: why the value that its module gave it is kept; empty where it is drawn.
        effective: name of the tensor that is computed from it (``0.weight`` of a weight norm), if that is drawn.
        unused: whether no forward pass read it.
        normed: of a weight: whether a norm feeds it.
        gated: of a weight: whether its output is what a gate multiplies; the activation's row is the gate's weight's.
        mix: of a weight whose input is joined of differently activated parts: (activation or "", share of the units).
        alone: whether the output of the module that owns it is what this weight gives: nothing else is in there.
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
    dims: str = ""
    reading: Reading | None = None
    multiplier: float = 1.0
    offset: float = 0.0
    tied: bool = False
    frozen: bool = False
    zero_row: int | None = None
    own_value: str = ""
    effective: str = ""
    unused: bool = False
    normed: bool = False
    gated: bool = False
    mix: tuple[tuple[str, float], ...] = ()
    alone: bool = True
