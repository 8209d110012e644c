"""Checks what `_target_` may name: an untrusted configuration must not choose which code runs.

A package prefix is not enough: `torch.hub.load` runs downloaded code, `initlab.operations.schedule.child.Process`
starts a program. So of initlab only what registers itself as a factory is allowed (`core/factories.py`), of torch and
torchvision only layers, optimisers and schedules, and nothing is imported before its name was checked.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from initlab.config.former_names import current_name
from initlab.config.own_targets import find_package
from initlab.core.factories import is_factory
from initlab.core.plugins import installed_plugins
from initlab.errors import ConfigError

#: packages of initlab's factories
FACTORY_PREFIXES = (
    "initlab.activations.", "initlab.inits.", "initlab.models.", "initlab.tasks.", "initlab.theory.",
    "initlab.train.optimizers.", "initlab.train.muon.", "initlab.train.schedules.", "initlab.advice.auto.",
)  # fmt: skip
#: modules whose classes are layers, optimisers and schedules
LAYER_PREFIXES = ("torch.nn.", "torch.optim.", "torchvision.models.", "torchvision.ops.")
_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", re.ASCII)
_PACKAGE = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_KEY = "config.targets"
_LIBRARIES = ("initlab", "torch", "torchvision")


def locate(
    target: object, key: str, packages: Iterable[str] = (), *, searchpath: Iterable[str] | None = None
) -> Callable[..., Any]:
    """Import the factory `target`.

    Args:
        key: of the configuration, for errors.
        packages: named by the user, in addition to initlab, torch and torchvision.
        searchpath: the places of `hydra.searchpath`; None takes those of the running command.

    Raises:
        ConfigError: it is not allowed, or does not exist.
    """
    target = current_name(target)
    if not isinstance(target, str) or not _NAME.fullmatch(target):
        raise ConfigError(key, _short(target), "must be the dotted name of a function or class")
    package = target.partition(".")[0]
    trusted = {*packages, *_searchpath_packages(searchpath), *(p.package for p in installed_plugins())}
    chosen = package in trusted and package not in _LIBRARIES
    known = package in _LIBRARIES or package in sys.stdlib_module_names or package in sys.modules
    if not known and find_package(package) is None:
        raise ConfigError(
            key, target, f"there is no package {package}: run from the folder that holds it, or put that on PYTHONPATH"
        )
    if not chosen and not target.startswith((*FACTORY_PREFIXES, *LAYER_PREFIXES)):
        raise ConfigError(
            key, target,
            f"must begin with one of {', '.join((*FACTORY_PREFIXES, *LAYER_PREFIXES))} or a package that you name: on"
            f" hydra.searchpath, or {_KEY}=[{package}] where you trust it",
        )  # fmt: skip
    if not chosen and "._" in target:
        raise ConfigError(key, target, "is not a factory")
    found = _import(target, key)
    if not chosen and not _is_allowed(found):
        raise ConfigError(
            key, target, "is not a factory: only what initlab registers as one, layers, optimisers and schedules are"
        )
    return found


def trusted_packages(tree: Mapping[str, Any], typed: Iterable[str]) -> tuple[str, ...]:
    """The packages of `config.targets`, which only the command line may set.

    Raises:
        ConfigError: a file sets it, or it contains an invalid package.
    """
    node: Any = tree.get("config")
    if node is not None and (not isinstance(node, dict) or set(cast("dict[str, Any]", node)) - {"targets"}):
        raise ConfigError("config", _short(node), "has only the key targets")
    named: Any = (node or {}).get("targets") or []
    if not isinstance(named, list) or not all(isinstance(n, str) for n in cast("list[Any]", named)):
        raise ConfigError(_KEY, _short(named), "must be a list of packages")
    names = cast("list[str]", named)
    if names and not any(t.lstrip("+").partition("=")[0] == _KEY for t in typed):
        raise ConfigError(_KEY, _short(names), "can only be set on the command line: no file may grant trust")
    for name in names:
        if not _PACKAGE.fullmatch(name) or name in sys.stdlib_module_names:
            raise ConfigError(_KEY, _short(name), "must name packages of factories, such as mylab")
    return tuple(names)


# ------------------------------------------------------------------ pieces
def _import(target: str, key: str) -> Callable[..., Any]:
    module, _, attribute = target.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigError(key, target, f"cannot be imported ({error})") from error
    if not callable(found):
        raise ConfigError(key, target, "is not callable")
    return cast("Callable[..., Any]", found)


def _is_allowed(found: Any) -> bool:
    """Whether the object itself is a factory, by whatever name it was found: a module also contains imported ones."""
    home = f"{getattr(found, '__module__', '')}."
    if home.startswith("initlab."):
        return home.startswith(FACTORY_PREFIXES) and is_factory(found)
    import torch

    kinds = (torch.nn.Module, torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler)
    return home.startswith(LAYER_PREFIXES) and isinstance(found, type) and issubclass(found, kinds)


def _searchpath_packages(searchpath: Iterable[str] | None) -> set[str]:
    """Packages that the user put on `hydra.searchpath=[pkg://...]`, which makes them trusted."""
    from hydra.core.hydra_config import HydraConfig

    if searchpath is None and not HydraConfig.initialized():
        return set()
    declared = [str(path) for path in (HydraConfig.get().searchpath if searchpath is None else searchpath)]
    return {path.removeprefix("pkg://").partition(".")[0] for path in declared if path.startswith("pkg://")}


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
