"""Replaces the activations of one's own network: modules, and functions called in forward()."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from initlab.activations import activations_of, is_activation
from initlab.api.gains import ActivationLike, as_activation
from initlab.errors import ConfigError
from initlab.network.sites import survey
from initlab.spec import Activation


@dataclass(frozen=True)
class Swapped:
    """Result of `swap_activations`.

    Attributes:
        model: the network with the new activations: the same object, or a `torch.fx.GraphModule` over the same
            parameters where functions in forward() were replaced.
        replaced: names of the modules and calls that were replaced.
        notes: what was left, and why.
    """

    model: nn.Module
    replaced: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<{len(self.replaced)} activations replaced{'; ' + '; '.join(self.notes) if self.notes else ''}>"


def swap_activations(model: nn.Module, activation: ActivationLike, *, example: Any = None) -> Swapped:
    """Replace every activation of `model`; parameters stay the same objects.

    Modules are replaced in place. Functions (``F.relu(x)``, ``x.relu()``) are replaced where `torch.fx` can trace the
    network; where it cannot, they stay and the notes say so. Output activations (a sigmoid or softmax behind the head)
    and gates are left alone.

    Args:
        activation: a catalogue name, formula, module or function.
        example: an input batch. With it, gates and output activations are told from hidden ones by what they do.

    Returns:
        The network and what was done: use ``swap_activations(model, "silu").model``.

    Example:
        >>> swapped = swap_activations(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), "silu")
        >>> swapped.replaced, swapped.model[1](torch.tensor([0.0])).item()
        (('1',), 0.0)
    """
    wanted = as_activation(activation)
    if wanted.units != (1, 1):
        raise ConfigError("activation", wanted.name, "changes the number of units, and so the layers around it")
    hidden = _hidden(model, example)
    replaced, notes = _swap_modules(model, wanted, hidden)
    functional = [n for n in hidden or () if n.endswith(")") or "()[" in n]
    graph = _swap_functions(model, wanted)
    if graph is not None:
        model, calls = graph
        replaced += calls
    elif functional or hidden is None:
        notes += (
            "functions in forward() were not replaced: torch.fx cannot trace this network"
            + (f" ({', '.join(functional[:4])})" if functional else ""),
        )
    if not replaced:
        raise ConfigError("model", type(model).__name__, "has no activation that could be replaced")
    return Swapped(model=model, replaced=replaced, notes=notes)


def _hidden(model: nn.Module, example: Any) -> set[str] | None:
    """Names of the hidden activations; None where no example shows them."""
    if example is None:
        return None
    found = survey(model, example)
    heads = {s.activation for s in found.sites if s.role == "head"}
    names = {s.activation for s in found.sites if s.activation} - heads
    gated = {n for n, a in found.activations.items() if a.moments is not None}
    return {n for n in names if n and n.partition("#")[0] not in gated}


def _swap_modules(
    model: nn.Module, wanted: Activation, hidden: set[str] | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    known = activations_of(model)
    chosen = {n.partition("#")[0] for n in hidden} if hidden is not None else None
    done: list[str] = []
    left: list[str] = []
    last = list(model.modules())[-1]
    for name, module in list(model.named_modules()):
        if not name or not is_activation(module):
            continue
        if (
            known[name].units != (1, 1)
            or (chosen is not None and name not in chosen)
            or (chosen is None and module is last)
        ):
            left.append(name)
            continue
        owner, _, attribute = name.rpartition(".")
        setattr(model.get_submodule(owner) if owner else model, attribute, wanted.make())
        done.append(name)
    return tuple(done), ((f"left as they are (gates, outputs): {', '.join(left)}",) if left else ())


#: functions of torch that are activations
_FUNCTIONS = frozenset(
    f for f in (
        torch.relu, F.relu, torch.relu_, F.gelu, F.silu, torch.tanh, F.tanh, torch.sigmoid, F.sigmoid, F.elu, F.selu,
        F.celu, F.leaky_relu, F.softplus, F.mish, F.hardswish, F.relu6, F.hardtanh, F.softsign, F.hardsigmoid,
    )
)  # fmt: skip
_METHODS = frozenset(("relu", "relu_", "tanh", "tanh_", "sigmoid", "sigmoid_"))


def _swap_functions(model: nn.Module, wanted: Activation) -> tuple[nn.Module, tuple[str, ...]] | None:
    from torch import fx

    class Tracer(fx.Tracer):
        def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
            return is_activation(m) or super().is_leaf_module(m, module_qualified_name)

    try:
        graph = Tracer().trace(model)
    except Exception:  # control flow that depends on data, and much else
        return None
    done: list[str] = []
    for node in list(graph.nodes):
        called = (node.op == "call_function" and node.target in _FUNCTIONS) or (
            node.op == "call_method" and node.target in _METHODS
        )
        if not called or _is_gate_or_output(node):
            continue
        name = f"swapped_{len(done)}"
        model.add_module(name, wanted.make())
        with graph.inserting_after(node):
            new = graph.call_module(name, (node.args[0] if node.args else node.kwargs["input"],))
        node.replace_all_uses_with(new)
        graph.erase_node(node)
        done.append(str(node.name))
    if not done:
        return model, ()
    return fx.GraphModule(model, graph), tuple(done)


def _is_gate_or_output(node: Any) -> bool:
    """Whether a call's result is multiplied with another signal, or is what the network returns."""
    users = list(node.users)
    if any(u.op == "output" for u in users):
        return True
    products = [u for u in users if u.target in (operator.mul, torch.mul, "mul")]
    return any(isinstance(a, type(node)) and a is not node for u in products for a in u.args)
