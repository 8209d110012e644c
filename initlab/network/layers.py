"""What the class of a module says of its parameters: role, fans and gates of torch.nn's layers.

Fans are computed from the module that owns a parameter. The tensor's shape alone misleads: a transposed convolution
stores (in, out / groups, ...), so a rule that reads dimension 1 as "in" takes its fan_out for its fan_in, and a
depthwise convolution's fan_out comes out `groups` times too large (both are so in `torch.nn.init`).
"""

from __future__ import annotations

import math
from dataclasses import replace

from torch import nn

from initlab.activations.slope import is_activation
from initlab.network.modules import CONV, CONV_TRANSPOSE, NORM, RECURRENT, is_scale
from initlab.spec import Gate, Role, Site

_EMBEDDING = (nn.Embedding, nn.EmbeddingBag)

#: order of the gates in torch's stacked parameters (torch.nn.LSTM and torch.nn.GRU documentation, "Variables")
GATES: dict[str, tuple[str, ...]] = {"lstm": ("i", "f", "g", "o"), "gru": ("r", "z", "n"), "rnn": ()}


def by_class(name: str, layer: str, module: nn.Module, short: str, parameter: nn.Parameter) -> Site:
    """The site of one parameter as its module's class tells; ``kind="free"`` where the class is not known.

    Args:
        short: the parameter's name in its module.
    """
    shape = tuple(parameter.shape)
    base = Site(name=name, layer=layer, kind="free", role="weight", shape=shape)
    if isinstance(module, RECURRENT):
        return _recurrent(base, module, short)
    if isinstance(module, nn.MultiheadAttention):
        return _attention(base, module, short)
    known = (*NORM, *_EMBEDDING, nn.Linear, nn.Bilinear, *CONV, *CONV_TRANSPOSE)
    if isinstance(module, known) and short not in ("weight", "bias"):  # a parameter that a subclass adds
        return _free(base, short)
    if isinstance(module, NORM):
        return replace(base, kind="norm", role="norm" if "weight" in short else "bias")
    if is_activation(module):
        return replace(base, kind="activation", role="scale")
    if is_scale(module):
        return replace(base, kind="scale", role="scale")
    if isinstance(module, _EMBEDDING):
        # one row is looked up for a token: a unit of the output sums over a single active input
        zero = getattr(module, "padding_idx", None)
        return replace(base, kind="embedding", role="embedding", fan_in=1.0, fan_out=float(shape[1]), zero_row=zero)
    feeding = _feedforward(module)
    if feeding is not None:
        kind, fan_in, fan_out, groups, transposed = feeding
        role: Role = "bias" if short == "bias" else "weight"
        stride = tuple(module.stride) if isinstance(module, (*CONV, *CONV_TRANSPOSE)) else ()
        return replace(
            base,
            kind=kind,
            role=role,
            fan_in=fan_in,
            fan_out=fan_out,
            groups=groups,
            transposed=transposed,
            stride=stride,
            padding=_zero_padding(module),
        )
    return _free(base, short)


def _free(base: Site, short: str) -> Site:
    """A parameter of which the class says nothing."""
    shape = base.shape
    if short.endswith("bias") or len(shape) < 2:
        return replace(base, role="bias" if short.endswith("bias") else "scale")
    receptive = math.prod(shape[2:])
    return replace(base, fan_in=float(shape[1] * receptive), fan_out=float(shape[0] * receptive))


def _feedforward(module: nn.Module) -> tuple[str, float, float, int, bool] | None:
    """(kind, fan_in, fan_out, groups, transposed) of a linear map, or None where the module is not one."""
    if isinstance(module, nn.Linear):
        return "linear", float(module.in_features), float(module.out_features), 1, False
    if isinstance(module, nn.Bilinear):
        return "linear", float(module.in1_features * module.in2_features), float(module.out_features), 1, False
    if isinstance(module, CONV):
        taps = math.prod(module.kernel_size)
        fan_in = module.in_channels / module.groups * taps
        return (
            f"conv{len(module.kernel_size)}d",
            fan_in,
            module.out_channels / module.groups * taps,
            module.groups,
            False,
        )
    if isinstance(module, CONV_TRANSPOSE):
        # An output position receives on average taps / Π stride of the kernel's taps; an input position feeds them all.
        taps = math.prod(module.kernel_size)
        fan_in = module.in_channels / module.groups * taps / math.prod(module.stride)
        kind = f"conv_transpose{len(module.kernel_size)}d"
        return kind, fan_in, module.out_channels / module.groups * taps, module.groups, True
    return None


def _zero_padding(module: nn.Module) -> tuple[int, ...]:
    if not isinstance(module, CONV) or module.padding_mode != "zeros" or module.padding == "valid":
        return ()
    if module.padding == "same":
        return tuple((k - 1) // 2 for k in module.kernel_size)
    return tuple(int(n) for n in module.padding)


def _gates(names: tuple[str, ...], rows: int) -> tuple[Gate, ...]:
    size = rows // len(names) if names else 0
    return tuple(Gate(name=g, start=i * size, stop=(i + 1) * size) for i, g in enumerate(names))


def _recurrent(base: Site, module: nn.RNNBase | nn.RNNCellBase, short: str) -> Site:
    mode = module.mode if isinstance(module, nn.RNNBase) else type(module).__name__.removesuffix("Cell")
    kind = next((k for k in GATES if mode.lower().startswith(k)), "rnn")
    names = GATES[kind]
    if short.startswith("weight_hr"):  # projection of an LSTM: (proj_size, hidden_size)
        return replace(base, kind=kind, fan_in=float(base.shape[1]), fan_out=float(base.shape[0]))
    gates = _gates(names, base.shape[0])
    rows = base.shape[0] // max(len(names), 1)
    if short.startswith("bias"):
        return replace(base, kind=kind, role="bias", fan_in=float(module.hidden_size), gates=gates)
    role: Role = "recurrent" if short.startswith("weight_hh") else "weight"
    return replace(base, kind=kind, role=role, fan_in=float(base.shape[1]), fan_out=float(rows), gates=gates)


def _attention(base: Site, module: nn.MultiheadAttention, short: str) -> Site:
    if short in ("bias_k", "bias_v") or "bias" in short:
        gates = _gates(("q", "k", "v"), base.shape[0]) if short == "in_proj_bias" else ()
        return replace(base, kind="attention", role="bias", fan_in=float(module.embed_dim), gates=gates)
    gates = _gates(("q", "k", "v"), base.shape[0]) if short == "in_proj_weight" else ()
    rows = base.shape[0] // max(len(gates), 1)
    return replace(base, kind="attention", fan_in=float(base.shape[1]), fan_out=float(rows), gates=gates)
