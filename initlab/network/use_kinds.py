"""The kinds of use that a parameter has, and which of torch's calls make which."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

UseKind = Literal[
    "contract", "lookup", "scale", "shift", "token", "norm_scale", "norm_shift", "slope", "output", "other"
]

#: operation → positions of its two factors
PRODUCTS = {
    "mm": (0, 1), "bmm": (0, 1), "mv": (0, 1), "dot": (0, 1), "addmm": (1, 2), "addmv": (1, 2), "baddbmm": (1, 2),
    "addbmm": (1, 2), "_addmm_activation": (1, 2), "linear": (0, 1), "matmul": (0, 1),
}  # fmt: skip
BATCHED = frozenset(("bmm", "baddbmm", "addbmm"))
LOOKUPS = frozenset(("embedding", "_embedding_bag", "_embedding_bag_forward_only", "index_select", "index", "gather"))
COPIES = frozenset(("clone", "_to_copy", "contiguous", "copy", "_unsafe_view", "detach_copy", "lift_fresh_copy"))
LINEAR_CALLS = frozenset((
    "linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "bilinear",
))  # fmt: skip
_MULTIPLY = frozenset((
    "mul", "multiply", "div", "true_divide", "divide", "mul_", "div_", "__mul__", "__rmul__", "__imul__",
    "__truediv__", "__itruediv__", "__rtruediv__",
))  # fmt: skip
_ADD = frozenset((
    "add", "sub", "subtract", "add_", "sub_", "__add__", "__radd__", "__iadd__", "__sub__", "__rsub__", "__isub__",
))  # fmt: skip
_NORM_CALLS = frozenset(("layer_norm", "rms_norm", "group_norm", "batch_norm", "instance_norm"))
_TOKEN_CALLS = frozenset((
    "cat", "concat", "concatenate", "stack", "where", "masked_fill", "masked_fill_", "lerp", "index_put", "index_put_",
    "__setitem__", "scaled_dot_product_attention", "copy_", "masked_scatter", "vstack", "hstack", "pad_sequence",
))  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Derived:
    """A tensor computed from parameters alone.

    Attributes:
        names: of the parameters, the largest first.
        value: the tensor.
        places: for each entry the place in the parameter that it was copied from; None where it was computed.
        looked_up: whether rows were picked by an index that does not depend on the network's input.
    """

    names: tuple[str, ...]
    value: Tensor
    places: Tensor | None = None
    looked_up: bool = False


@dataclass(frozen=True, kw_only=True)
class Use:
    """One use of a parameter.

    Attributes:
        names: of the parameters, the one that is meant first; several where the used tensor is computed from several.
        fan_in, fan_out: of a contraction.
        dims: of a contraction, a letter for each dimension of the parameter: ``i`` summed over, ``o`` output, ``g`` one
            matrix each (experts), ``t`` a kernel's taps.
        groups, transposed, stride, padding: of a convolution.
        derived: the used tensor, where it is not the parameter itself.
        rank: of a shift or scale, how many of its dimensions are longer than 1.
        makes_signal: whether the result is a signal although no input of the network takes part.
    """

    kind: UseKind
    names: tuple[str, ...]
    fan_in: float = 0.0
    fan_out: float = 0.0
    dims: str = ""
    groups: int = 1
    transposed: bool = False
    stride: tuple[int, ...] = ()
    padding: tuple[int, ...] = ()
    derived: Derived | None = None
    rank: int = 0
    makes_signal: bool = False


def convolution(weight: Tensor, found: Derived, settings: Any, *, constant: bool) -> Use:
    """The use of a convolution's weight.

    Args:
        settings: (stride, padding, dilation, transposed, output padding, groups) of the operation.
    """
    stride, padding, _, transposed, _, groups = settings
    taps = math.prod(weight.shape[2:])
    ins, outs = weight.shape[1], weight.shape[0] // groups
    if transposed:
        ins, outs = weight.shape[0] // groups, weight.shape[1]
    fan_in = ins * taps / (math.prod(stride) if transposed else 1)
    return Use(
        kind="contract", names=found.names, fan_in=float(fan_in), fan_out=float(outs * taps), groups=groups,
        dims=("io" if transposed else "oi") + "t" * (weight.dim() - 2), transposed=transposed, stride=tuple(stride),
        padding=() if transposed else tuple(padding), makes_signal=constant,
        derived=None if found.value is weight or found.places is not None else found,
    )  # fmt: skip


def elementwise_kind(name: str, given: Any, tensor: Tensor, *, has_weight: bool) -> UseKind:
    args, kwargs = given
    if name in _MULTIPLY:
        return "scale"
    if name in _ADD or has_weight:
        return "shift"
    if name in _NORM_CALLS:
        first = 3 if name in ("batch_norm", "instance_norm") else 2
        is_scale = kwargs.get("weight") is tensor or (len(args) > first and args[first] is tensor)
        return "norm_scale" if is_scale else "norm_shift"
    if name in _TOKEN_CALLS:
        return "token"
    return "slope" if name in ("prelu", "_prelu_kernel") else "other"
