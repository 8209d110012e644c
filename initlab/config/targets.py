"""What `_target_` may name: a configuration from a stranger must not choose what code runs.

A prefix alone would not do: `torch.hub.load` runs what it fetched, `initlab.operations.schedule.child.Process` starts
a program. So of initlab only the rooms count whose functions configurations are made of, of torch and torchvision only
layers, optimisers and schedules, and nothing is imported before its name was checked.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from initlab.config.former_names import current_name
from initlab.core.plugins import installed_plugins
from initlab.errors import ConfigError

#: where initlab's factories are
ROOMS = (
    "initlab.activations.", "initlab.inits.", "initlab.models.", "initlab.tasks.", "initlab.theory.",
    "initlab.train.optimizers.", "initlab.train.schedules.", "initlab.advice.auto.",
)  # fmt: skip
#: what of them fetches and writes files where it is told to
_CLOSED = ("initlab.tasks.download.",)
#: modules whose classes are layers, optimisers and schedules
LAYERS = ("torch.nn.", "torch.optim.", "torchvision.models.", "torchvision.ops.")
_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", re.ASCII)
_PACKAGE = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_KEY = "config.targets"


def locate(target: object, key: str, packages: Iterable[str] = ()) -> Callable[..., Any]:
    """What `target` names.

    Args:
        key: of the configuration, for errors.
        packages: beside initlab, torch and torchvision, those that the user named.

    Raises:
        ConfigError: it may not be named, or is not there.
    """
    target = current_name(target)
    if not isinstance(target, str) or not _NAME.fullmatch(target):
        raise ConfigError(key, _short(target), "must be the dotted name of a function or class")
    package = target.partition(".")[0]
    trusted = {*packages, *_on_searchpath(), *(p.package for p in installed_plugins())}
    chosen = package in trusted and package not in ("initlab", "torch", "torchvision")
    if not chosen and not target.startswith((*ROOMS, *LAYERS)):
        raise ConfigError(
            key, target,
            f"must begin with one of {', '.join((*ROOMS, *LAYERS))} or a package that you name: on hydra.searchpath,"
            f" or {_KEY}=[{package}] where you trust it",
        )  # fmt: skip
    if not chosen and (target.startswith(_CLOSED) or "._" in target):
        raise ConfigError(key, target, "is no factory")
    found = _imported(target, key)
    if not chosen and not _is_allowed(found):
        raise ConfigError(key, target, "is no factory: only functions of initlab, layers, optimisers and schedules are")
    return found


def consent(tree: Mapping[str, Any], typed: Iterable[str]) -> tuple[str, ...]:
    """The packages of `config.targets`, which counts as consent where the user typed it, and nowhere else.

    Raises:
        ConfigError: a file says it, or it names what no factory is in.
    """
    node: Any = tree.get("config")
    if node is not None and (not isinstance(node, dict) or set(cast("dict[str, Any]", node)) - {"targets"}):
        raise ConfigError("config", _short(node), "has the key targets alone")
    named: Any = (node or {}).get("targets") or []
    if not isinstance(named, list) or not all(isinstance(n, str) for n in cast("list[Any]", named)):
        raise ConfigError(_KEY, _short(named), "must be a list of packages")
    names = cast("list[str]", named)
    if names and not any(t.lstrip("+").partition("=")[0] == _KEY for t in typed):
        raise ConfigError(_KEY, _short(names), "is for the command line alone: no file may say whom you trust")
    for name in names:
        if not _PACKAGE.fullmatch(name) or name in sys.stdlib_module_names:
            raise ConfigError(_KEY, _short(name), "must name packages of factories, such as mylab")
    return tuple(names)


# ------------------------------------------------------------------ pieces
def _imported(target: str, key: str) -> Callable[..., Any]:
    module, _, attribute = target.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigError(key, target, f"cannot be imported ({error})") from error
    if not callable(found):
        raise ConfigError(key, target, "is not callable")
    return cast("Callable[..., Any]", found)


def _is_allowed(found: Any) -> bool:
    """Whether it is made by whom its name says, and a thing to build with: a module may hold others' functions too."""
    home = f"{getattr(found, '__module__', '')}."
    if home.startswith(ROOMS):
        return True
    import torch

    kinds = (torch.nn.Module, torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler)
    return home.startswith(LAYERS) and isinstance(found, type) and issubclass(found, kinds)


def _on_searchpath() -> set[str]:
    """Packages that were put on `hydra.searchpath=[pkg://...]` by the user, which is consent."""
    from hydra.core.hydra_config import HydraConfig

    if not HydraConfig.initialized():
        return set()
    declared = [str(path) for path in HydraConfig.get().searchpath]
    return {path.removeprefix("pkg://").partition(".")[0] for path in declared if path.startswith("pkg://")}


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
