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
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from initlab.activations.slope import is_activation
from initlab.network.graph import CONV, CONV_TRANSPOSE, NORM, branches, call_name, is_scale, trace
from initlab.network.graph import WEIGHTED as _FEEDFORWARD
from initlab.spec import Branch, Gate, Role, Site

_EMBEDDING = (nn.Embedding, nn.EmbeddingBag)
_WEIGHTED = (*_FEEDFORWARD, nn.RNNBase, nn.MultiheadAttention)

#: order of the gates in torch's stacked parameters (torch.nn.LSTM and torch.nn.GRU documentation, "Variables")
GATES: dict[str, tuple[str, ...]] = {"lstm": ("i", "f", "g", "o"), "gru": ("r", "z", "n"), "rnn": ()}


@dataclass
class _Trace:
    """What one forward pass showed: the order of the layers that own parameters, and which activations they touch."""

    order: list[str] = field(default_factory=list)
    after: dict[str, str] = field(default_factory=dict)
    before: dict[str, str] = field(default_factory=dict)
    heads: set[str] = field(default_factory=set)
    branches: dict[str, Branch] = field(default_factory=dict)


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
    traced = _forward_trace(model, example) if example is not None else _registration_trace(model)
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
            base, kind=kind, role=role, fan_in=fan_in, fan_out=fan_out, groups=groups, transposed=transposed,
            stride=stride, padding=_zero_padding(module),
        )  # fmt: skip
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
def _registration_trace(model: nn.Module) -> _Trace:
    """Take the order of registration for the order of the forward pass."""
    traced = _Trace()
    last_activation: str | None = None
    last_weight: str | None = None
    for name, module in model.named_modules():
        if _owns_parameters(module):
            traced.order.append(name)
        if isinstance(module, _WEIGHTED):
            last_weight = name
            if last_activation is not None:
                traced.before[name] = last_activation
        elif is_activation(module):
            if last_weight is not None:
                traced.after.setdefault(last_weight, name)
            last_activation = name
    if last_weight is not None and last_weight not in traced.after:
        traced.heads.add(last_weight)
    return traced


def _forward_trace(model: nn.Module, example: Tensor) -> _Trace:
    traced = _Trace()
    made_by: dict[Any, tuple[str, str]] = {}  # node of the autograd graph → ("weight" | "activation", module name)
    hooks: list[Any] = []

    calls: dict[str, int] = {}

    def enter(name: str, kind: str) -> Any:
        def hook(_module: nn.Module, inputs: tuple[Any, ...]) -> None:
            found = _nearest(_first_tensor(inputs), made_by)
            if kind == "activation":
                calls[name] = calls.get(name, -1) + 1
                for source_kind, source in found:
                    if source_kind == "weight":
                        traced.after.setdefault(source, call_name(name, calls[name]))
                return
            for source_kind, source in found:
                if source_kind == "activation":
                    traced.before.setdefault(name, source)

        return hook

    def leave(name: str, kind: str) -> Any:
        def hook(_module: nn.Module, _inputs: tuple[Any, ...], output: Any) -> None:
            tensor = _first_tensor((output,))
            if tensor is not None and tensor.grad_fn is not None:
                made_by[tensor.grad_fn] = (kind, call_name(name, calls[name]) if kind == "activation" else name)

        return hook

    def count(name: str) -> Any:
        def hook(_module: nn.Module, _inputs: tuple[Any, ...]) -> None:
            if name not in traced.order:
                traced.order.append(name)

        return hook

    for name, module in model.named_modules():
        if _owns_parameters(module):
            hooks.append(module.register_forward_pre_hook(count(name)))
        kind = "weight" if isinstance(module, _WEIGHTED) else "activation" if is_activation(module) else None
        # attention holds its output projection as a child that is never called by itself
        if kind is not None and not name.endswith("out_proj"):
            hooks.append(module.register_forward_pre_hook(enter(name, kind)))
            hooks.append(module.register_forward_hook(leave(name, kind)))
    was_training = {m: m.training for m in model.modules()}
    fork_devices = [example.device] if example.device.type == "cuda" else []
    try:
        model.eval()
        with torch.enable_grad(), torch.random.fork_rng(devices=fork_devices):
            source = example.clone()
            if source.is_floating_point():
                source.requires_grad_(True)
            output = _first_tensor((model(source),))
            for hook in hooks:
                hook.remove()
            traced.branches = branches(trace(model, example))
    finally:
        for hook in hooks:
            hook.remove()
        for module, training in was_training.items():
            module.training = training
    traced.heads = {name for kind, name in _nearest(output, made_by) if kind == "weight"}
    return traced


def _owns_parameters(module: nn.Module) -> bool:
    return next(module.parameters(recurse=False), None) is not None


def _first_tensor(values: Any) -> Tensor | None:
    if isinstance(values, Tensor):
        return values
    if isinstance(values, (tuple, list)):
        for value in values:
            found = _first_tensor(value)
            if found is not None:
                return found
    return None


def _nearest(tensor: Tensor | None, made_by: dict[Any, tuple[str, str]]) -> list[tuple[str, str]]:
    """The modules whose outputs `tensor` was computed from, none of them through another."""
    if tensor is None or tensor.grad_fn is None:
        return []
    found: list[tuple[str, str]] = []
    stack, seen = [tensor.grad_fn], set[Any]()
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        if node in made_by:
            found.append(made_by[node])
            continue
        stack.extend(parent for parent, _ in node.next_functions if parent is not None)
    return found
