"""Adapts classes and functions that know nothing of initlab: networks, initialisers of torch.nn.init's kind, tasks."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from initlab.config.instantiate import check_arguments, hints_of
from initlab.config.targets import locate
from initlab.core import seeds
from initlab.core.text import listed
from initlab.errors import ConfigError, InitlabError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from initlab.models.own import OwnNetwork
    from initlab.spec import InitContext, Initializer, Site

#: names by which the first parameter of an initialiser is known as a tensor, or as a module
_TENSORS = ("tensor", "w", "weight", "weights", "param", "parameter", "t")
_MODULES = ("module", "m", "model", "net", "network", "layer")


def own_network(
    target: Callable[..., Any], name: str, arguments: Mapping[str, Any], *, named: bool
) -> OwnNetwork | None:
    """A builder of the network that `target` makes; None where it is a factory of builders.

    Args:
        named: whether the activation was chosen by name.

    Raises:
        ConfigError: an unknown, wrong or missing argument.
    """
    from torch import nn

    from initlab.models.own import ACTIVATION, DATA, OwnNetwork

    hints = hints_of(target)
    if isinstance(target, type):
        if not issubclass(target, nn.Module):
            return None
    elif name.startswith("initlab.") or not _gives_module(hints.get("return")):
        return None
    checked = check_arguments(target, arguments, "model", given=(*DATA, *ACTIVATION))
    return OwnNetwork(target=target, name=name, arguments=checked, hints=hints, named=named)


def own_initializer(target: Callable[..., Any], name: str, arguments: Mapping[str, Any]) -> Initializer | None:
    """An initialiser that calls `target` with each weight, or with each module; None where it is a factory.

    Raises:
        ConfigError: an unknown, wrong or missing argument.
    """
    if isinstance(target, type) or name.startswith("initlab."):
        return None
    parameters = list(inspect.signature(target).parameters.values())
    first = next(iter(parameters), None)
    if first is None or first.default is not inspect.Parameter.empty or first.name in arguments:
        return None
    kind = _first_kind(first, hints_of(target).get(first.name))
    if first.kind not in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD) or not kind:
        return None
    checked = check_arguments(target, arguments, "init", given=(first.name, "generator"), hidden=(first.name,))
    short = name.rpartition(".")[2]
    takes_generator = any(p.name == "generator" for p in parameters) and "generator" not in checked
    if kind == "tensor":
        return _by_tensor(partial(target, **checked), short, takes_generator=takes_generator)
    return _by_module(partial(target, **checked), short)


def require_kind(group: str, made: object, name: str) -> None:
    """Raises ConfigError where a factory gave something else than the group is made of."""
    from initlab.spec import Activation, Initializer, Task

    kinds: dict[str, tuple[type, str]] = {
        "task": (Task, "an initlab.spec.Task (docs/own_network.md)"),
        "init": (
            Initializer, "an initlab.spec.Initializer, or a function whose first argument is a tensor or module, "
            "annotated so",
        ),
        "activation": (Activation, "an initlab.spec.Activation"),
    }  # fmt: skip
    if group in kinds and not isinstance(made, kinds[group][0]):
        raise ConfigError(f"{group}._target_", name, f"gives a {type(made).__name__}, and not {kinds[group][1]}")
    if group == "model" and not callable(made):
        raise ConfigError(f"{group}._target_", name, f"gives a {type(made).__name__}, and no network or builder")


def takes_data(tree: Mapping[str, Any], packages: Iterable[str]) -> bool:
    """Whether the task takes a data set from the configuration; one's own may bring its own."""
    target = (tree.get("task") or {}).get("_target_")
    if not isinstance(target, str) or target.startswith("initlab."):
        return True
    parameters = inspect.signature(locate(target, "task._target_", packages)).parameters.values()
    return any(p.name == "data" or p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)


def refuse_data(typed: Iterable[str]) -> None:
    """Raises ConfigError where data are typed for a task that takes none."""
    for override in typed:
        key, _, value = override.lstrip("+~").partition("=")
        if key == "data" or key.startswith("data."):
            raise ConfigError(key, value, "is not used: this task has no parameter data, and brings its own")


def refuse_activation(tree: Mapping[str, Any], network: OwnNetwork, *, named: bool) -> None:
    """Raises ConfigError where an activation was chosen for a network that takes none."""
    from initlab.models.own import ACTIVATION

    if named and network.activation_key is None:
        name = str(tree["activation"].get("_target_")).rpartition(".")[2]
        raise ConfigError(
            "activation", name, f"is not taken by {network.name}: give it a parameter {' or '.join(ACTIVATION[:3])},"
            " or leave activation= away",
        )  # fmt: skip


# ------------------------------------------------------------------ pieces
def _gives_module(hint: Any) -> bool:
    """Whether a function may return a network: unless its annotation says something else."""
    from torch import nn

    return hint is None or hint is Any or (isinstance(hint, type) and issubclass(hint, nn.Module))


def _first_kind(first: inspect.Parameter, hint: Any) -> str:
    from torch import Tensor, nn

    if isinstance(hint, type):
        return "tensor" if issubclass(hint, Tensor) else "module" if issubclass(hint, nn.Module) else ""
    if hint is not None:
        return ""
    return "tensor" if first.name in _TENSORS else "module" if first.name in _MODULES else ""


def _by_tensor(fill: Callable[..., Any], name: str, *, takes_generator: bool) -> Initializer:
    """Every weight as `fill` leaves it (or returns it), each gate by itself; biases are zero."""
    import torch

    from initlab.inits.laws import bias_rule
    from initlab.spec import Initializer

    def weight(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
        del context
        # what the function does not write is found as not finite
        values = torch.full(site.shape, torch.nan)
        seed = int(torch.randint(2**62, (), generator=generator))
        try:
            with torch.random.fork_rng(devices=[]), torch.no_grad():
                torch.default_generator.manual_seed(seed)
                made = fill(values, generator=generator) if takes_generator else fill(values)
        except InitlabError:
            raise
        except Exception as error:  # of somebody's code
            raise _failed(name, f"{site.name} of shape {site.shape}", error) from error
        return made.detach().float() if isinstance(made, torch.Tensor) and made.shape == values.shape else values

    return Initializer(name=name, weight=weight, bias=bias_rule(0.0), embedding=weight)


def _by_module(fill: Callable[[nn.Module], Any], name: str) -> Initializer:
    """As ``model.apply(fill)``: what it does not touch keeps the value of its module."""
    import torch

    from initlab.inits import zeros
    from initlab.spec import Initializer

    def step(model: nn.Module, sites: tuple[Site, ...], context: InitContext) -> tuple[str, ...]:
        del sites
        frozen = {s.name for s in context.sites if s.frozen}
        before = {k: p.detach().clone() for k, p in model.named_parameters()}
        names = {id(m): n for n, m in model.named_modules()}

        def one(module: nn.Module) -> None:
            try:
                fill(module)
            except InitlabError:
                raise
            except Exception as error:  # of somebody's code
                raise _failed(name, f"module {names[id(module)] or type(module).__name__}", error) from error

        devices = sorted({p.device.index or 0 for p in model.parameters() if p.is_cuda})
        with torch.random.fork_rng(devices=devices), torch.no_grad():
            torch.manual_seed(seeds.derive(context.seed, "init", name))
            model.apply(one)
            for key, parameter in model.named_parameters():
                if key in frozen:
                    parameter.copy_(before[key])
        same = [k for k, p in model.named_parameters() if torch.equal(p, before[k])]
        notes = (f"{name} set {len(before) - len(same)} of {len(before)} parameters",)
        told = {s.name for s in context.sites if s.frozen or s.own_value}  # `inits.apply` names these
        left = [k for k in same if k not in told]
        return (*notes, f"left by {name} with the value of their module: {listed(left)}") if left else notes

    nothing = zeros()
    return Initializer(
        name=name, weight=nothing.weight, bias=nothing.bias, embedding=nothing.embedding, keep=("*",), adapt=(step,)
    )


def _failed(name: str, at: str, error: Exception) -> ConfigError:
    text = (str(error).strip().splitlines() or [""])[0]
    return ConfigError("init._target_", name, f"failed on {at}: {type(error).__name__}: {text}")
