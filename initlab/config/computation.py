"""Tells whether two configurations describe the same computation, whatever their files and values are called."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig

from initlab.config.compose import resolve
from initlab.config.default_activation import resolve_default_activation
from initlab.core.plugins import conf_dir

#: what says how a study is run, and not what an arm of it is; seeds are those of the replicas
_NOT_COMPARED = ("seed", "resume", "inspect", "compare", "study", "replicas", "config", "gc", "hydra")


def computation_hash(config: DictConfig, *, conf: Path | None = None) -> str:
    """Sixteen hex digits that two arms share where they are the same but for words.

    Two files of equal content are the same, and so are 1 and 1.0, a default and its value, and two names of one
    factory. Where an arm runs and how it is observed is compared too: a study over ``probes`` or ``device`` is none of
    equal arms.
    """
    tree = resolve_default_activation(resolve(config), (conf or conf_dir()) / "activation")
    plain = _plain({k: v for k, v in tree.items() if k not in _NOT_COMPARED})
    return hashlib.blake2b(json.dumps(plain, sort_keys=True, default=str).encode(), digest_size=8).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        found = {str(k): _plain(v) for k, v in cast("Mapping[str, Any]", value).items()}
        return (
            {**_defaults(str(found["_target_"])), **found, **_target(found["_target_"])}
            if "_target_" in found
            else found
        )
    if isinstance(value, list | tuple):
        return [_plain(v) for v in cast("list[Any]", value)]
    # a number is compared by its value; True is none
    return float(value) if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 53 else value


def _target(name: Any) -> dict[str, str]:
    """The name under which the factory `name` was defined."""
    found = _factory(str(name))
    module, qualified = getattr(found, "__module__", None), getattr(found, "__qualname__", None)
    return {"_target_": f"{module}.{qualified}"} if module and qualified else {"_target_": str(name)}


def _defaults(name: str) -> dict[str, Any]:
    """Keyword arguments of the factory `name` that have plain defaults."""
    found = _factory(name)
    if not callable(found):
        return {}
    try:
        parameters = inspect.signature(found).parameters
    except (TypeError, ValueError):
        return {}
    plain = (str, int, float, bool, list, tuple, type(None))
    return {n: _plain(p.default) for n, p in parameters.items() if isinstance(p.default, plain)}


def _factory(name: str) -> Any:
    """What initlab's factory `name` is; None for code of one's own, which is not imported to compare it."""
    if not name.startswith("initlab."):
        return None
    module, _, attribute = name.rpartition(".")
    try:
        return getattr(__import__(module, fromlist=[attribute]), attribute, None)
    except ImportError:
        return None
