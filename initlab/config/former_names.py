"""Former names of factories: configurations saved under them still load and keep their arm hash."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: former `_target_` → current one
MOVED = {
    "initlab.auto.auto": "initlab.advice.auto.auto",
    "initlab.config.customary": "initlab.config.default_activation",
}
_FORMER = {new: old for old, new in MOVED.items()}


def current_name(target: object) -> object:
    """Current name of the factory `target`; any other value unchanged."""
    return MOVED.get(target, target) if isinstance(target, str) else target


def with_former_names(tree: Mapping[str, Any]) -> dict[str, Any]:
    """`tree` with former names, for hashing: an arm keeps the hash that it was first recorded with."""
    return {k: _former(v) if isinstance(v, dict) else v for k, v in tree.items()}


def _former(group: dict[str, Any]) -> dict[str, Any]:
    target = group.get("_target_")
    return {**group, "_target_": _FORMER[target]} if target in _FORMER else group
