"""Describes each parameter of a network: role, fans, gates, and the activation that it feeds (`describe`).

Fans are computed from the module that owns a parameter. The tensor's shape alone misleads: a transposed convolution
stores (in, out / groups, ...), so a rule that reads dimension 1 as "in" takes its fan_out for its fan_in, and a
depthwise convolution's fan_out comes out `groups` times too large (both are so in `torch.nn.init`).

Where an example input is given, one forward pass in eval mode shows which activation each weight reaches next, by
walking the autograd graph back from every activation's input to the nearest weights. That holds for any wiring,
residual additions included, and needs no tracing compiler.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from torch import Tensor, nn

from initlab.activations.slope import is_activation
from initlab.network.graph import CONV, CONV_TRANSPOSE, NORM, is_scale
from initlab.network.layer_trace import trace_forward, trace_registration
from initlab.spec import Gate, Role, Site

_EMBEDDING = (nn.Embedding, nn.EmbeddingBag)

#: order of the gates in torch's stacked parameters (torch.nn.LSTM and torch.nn.GRU documentation, "Variables")
GATES: dict[str, tuple[str, ...]] = {"lstm": ("i", "f", "g", "o"), "gru": ("r", "z", "n"), "rnn": ()}


def describe(model: nn.Module, example: Tensor | None = None) -> tuple[Site, ...]:
    """Every parameter of `model` as a `Site`, in the order of the forward pass.

    Args:
        model: any module. Parameters that two modules share appear once, under their first name.
        example: an input batch on the model's device. Without it the order is that of registration, activations are
            taken to follow in that order too, and the last weight is the head.

    Returns:
        One site a parameter. Parameters of modules that initlab does not know get ``kind="free"`` and are told apart by
        their dimension: below 2 a ``bias`` (or ``scale``), else a ``weight`` with fans as `torch.nn.init` counts them.
    """
    traced = trace_forward(model, example) if example is not None else trace_registration(model)
    position = {layer: i for i, layer in enumerate(traced.order)}
    seen: set[int] = set()
    sites: list[Site] = []
    for layer, module in model.named_modules():
        for site, parameter in _of_module(layer, module):
            if id(parameter) in seen:
                continue
            seen.add(id(parameter))
            is_head = site.role == "weight" and layer in traced.heads and site.kind not in GATES
            role: Role = "head" if is_head else site.role
            sites.append(
                replace(
                    site,
                    role=role,
                    order=position.get(layer, len(position)),
                    activation=traced.after.get(layer),
                    activation_before=traced.before.get(layer),
                    branch=traced.branches.get(layer),
                )
            )
    return tuple(sorted(sites, key=lambda s: s.order))


def weights(sites: tuple[Site, ...]) -> tuple[Site, ...]:
    """The sites that hold a matrix of weights: roles weight, recurrent, embedding and head."""
    return tuple(s for s in sites if s.role in ("weight", "recurrent", "embedding", "head"))


# ------------------------------------------------------------------ one module's parameters
def _of_module(layer: str, module: nn.Module) -> Iterator[tuple[Site, nn.Parameter]]:
    for short, parameter in module.named_parameters(recurse=False):
        name = f"{layer}.{short}" if layer else short
        yield _site(name, layer, module, short, parameter), parameter


def _site(name: str, layer: str, module: nn.Module, short: str, parameter: nn.Parameter) -> Site:
    shape = tuple(parameter.shape)
    base = Site(name=name, layer=layer, kind="free", role="weight", shape=shape)
    if isinstance(module, nn.RNNBase):
        return _recurrent(base, module, short)
    if isinstance(module, nn.MultiheadAttention):
        return _attention(base, module, short)
    if isinstance(module, NORM):
        return replace(base, kind="norm", role="norm" if "weight" in short else "bias")
    if is_activation(module):
        return replace(base, kind="activation", role="scale")
    if is_scale(module):
        return replace(base, kind="scale", role="scale")
    if isinstance(module, _EMBEDDING):
        # one row is looked up for a token: a unit of the output sums over a single active input
        return replace(base, kind="embedding", role="embedding", fan_in=1.0, fan_out=float(shape[1]))
    known = _feedforward(module)
    if known is not None:
        kind, fan_in, fan_out, groups, transposed = known
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


def _recurrent(base: Site, module: nn.RNNBase, short: str) -> Site:
    kind = module.mode.lower().split("_")[0]
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


# ------------------------------------------------------------------ who feeds whom
