"""Hash that identifies an arm (a configuration without its seed), and the configuration as flat parameters."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, cast

from initlab.config.former_names import with_former_names
from initlab.spec import Scalar

#: keys that configure where a run trains and how it is observed; runs that differ only in these are one arm
_NOT_OF_THE_ARM = (
    "seed",
    "device",
    "threads",
    "resume",
    "tracking",
    "probes",
    "inspect",
    "compare",
    "study",
    "replicas",
    "config",
    "gc",
    "claim",
)


def arm_hash(tree: Mapping[str, Any]) -> str:
    """Twelve hex digits that identify a configuration without its seed, its place and its observers."""
    arm = {k: v for k, v in tree.items() if k not in _NOT_OF_THE_ARM and k != "hydra"}
    # the location of files and the number of processes do not change the result
    for group, key in (("data", "root"), ("trainer", "ddp")):
        if isinstance(arm.get(group), dict):
            arm[group] = {k: v for k, v in arm[group].items() if k != key}
    return hashlib.blake2b(
        json.dumps(with_former_names(arm), sort_keys=True, default=str).encode(), digest_size=6
    ).hexdigest()


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Scalar]:
    """Flatten nested mappings to dotted keys; lists become JSON text; the value of a group is its factory's name."""
    flat: dict[str, Scalar] = {}
    for key, value in tree.items():
        dotted = f"{prefix}{key}"
        if isinstance(value, Mapping):
            flat.update(flatten(cast("Mapping[str, Any]", value), f"{dotted}."))
        elif key == "_target_":
            # the group itself: init = he, model = cnn
            flat[prefix.rstrip(".")] = str(value).rsplit(".", 1)[-1]
        else:
            flat[dotted] = value if isinstance(value, (str, int, float, bool, type(None))) else json.dumps(value)
    return flat
