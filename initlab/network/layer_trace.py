"""Traces which activation each layer feeds, from one forward pass or from the order of registration."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from initlab.activations.slope import is_activation
from initlab.network.branches import branches
from initlab.network.graph import WEIGHTED as _FEEDFORWARD
from initlab.network.graph import call_name, trace
from initlab.spec import Branch

#: modules whose weights are traced as layers
WEIGHT_LAYERS = (*_FEEDFORWARD, nn.RNNBase, nn.MultiheadAttention)


@dataclass
class LayerTrace:
    """What one forward pass showed: the order of the layers that own parameters, and which activations they touch."""

    order: list[str] = field(default_factory=list)
    after: dict[str, str] = field(default_factory=dict)
    before: dict[str, str] = field(default_factory=dict)
    heads: set[str] = field(default_factory=set)
    branches: dict[str, Branch] = field(default_factory=dict)


def trace_registration(model: nn.Module) -> LayerTrace:
    """Take the order of registration for the order of the forward pass."""
    traced = LayerTrace()
    last_activation: str | None = None
    last_weight: str | None = None
    for name, module in model.named_modules():
        if _owns_parameters(module):
            traced.order.append(name)
        if isinstance(module, WEIGHT_LAYERS):
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


def trace_forward(model: nn.Module, example: Tensor) -> LayerTrace:
    traced = LayerTrace()
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
        kind = "weight" if isinstance(module, WEIGHT_LAYERS) else "activation" if is_activation(module) else None
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
