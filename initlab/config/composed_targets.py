"""Finds every `_target_` of a composed configuration that is not allowed, before anything is built."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from initlab.config.own_targets import GROUPS
from initlab.config.targets import locate, trusted_packages
from initlab.core.plugins import conf_dirs
from initlab.errors import ConfigError

_SPECIAL = ("_target_", "_partial_", "_recursive_", "_convert_", "_args_")


def refused_targets(config: DictConfig, typed: Sequence[str]) -> list[ConfigError]:
    """Why the targets of `config` are not allowed, one error for each; empty where all are.

    Args:
        config: composed; its `hydra` node is not looked at.
        typed: the overrides of the command line, which alone may name trusted packages.
    """
    tree = cast("dict[str, Any]", OmegaConf.to_container(config, resolve=False, throw_on_missing=False))
    tree = {k: v for k, v in tree.items() if k != "hydra"}
    found: list[ConfigError] = []
    packages: tuple[str, ...] = ()
    try:
        packages = trusted_packages(tree, typed)
    except ConfigError as error:
        found.append(error)
    for key, value in _special_keys(tree):
        group, _, rest = key.partition(".")
        if rest != "_target_" or group not in GROUPS:
            found.append(ConfigError(key, str(value)[:80], "is not allowed here: one _target_ a group"))
        elif value not in _own_targets():
            try:
                locate(value, key, packages, searchpath=_packages_of(config))
            except ConfigError as error:
                found.append(error)
    return found


# ------------------------------------------------------------------ pieces
def _special_keys(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(node, Mapping):
        for name, value in cast("Mapping[Any, Any]", node).items():
            below = f"{key}.{name}" if key else str(name)
            if str(name) in _SPECIAL:
                yield below, value
            yield from _special_keys(value, below)
    elif isinstance(node, list):
        for number, value in enumerate(cast("list[Any]", node)):
            yield from _special_keys(value, f"{key}.{number}")


def _packages_of(config: DictConfig) -> list[str]:
    return [str(place) for place in OmegaConf.select(config, "hydra.searchpath", default=None) or []]


@cache
def _own_targets() -> frozenset[str]:
    """The targets that the files of initlab and of plug-ins name."""
    files = (f for conf in conf_dirs() for f in conf.glob("*/*.yaml"))
    return frozenset(t for f in files for t in re.findall(r"^_target_: *([\w.]+)", f.read_text("utf-8"), re.MULTILINE))
