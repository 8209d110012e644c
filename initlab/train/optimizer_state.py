"""State of an optimiser as named tensors and plain JSON, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def pack_optimizer(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Split an optimiser's state into named tensors and plain JSON."""
    state = optimizer.state_dict()
    tensors: dict[str, Tensor] = {}
    plain: dict[str, Any] = {"groups": state["param_groups"], "state": {}}
    for index, entries in state["state"].items():
        for key, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"optim.{index}.{key}"] = value
            else:
                plain["state"].setdefault(str(index), {})[key] = value
    return tensors, plain


def unpack_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], plain: Mapping[str, Any]) -> None:
    """Restore what `pack_optimizer` gave; `tensors` may hold others too.

    Raises what torch raises where it does not fit.
    """
    state: dict[int, dict[str, Any]] = {int(i): dict(entries) for i, entries in plain["state"].items()}
    for name, value in tensors.items():
        if name.startswith("optim."):
            _, index, key = name.split(".", 2)
            state.setdefault(int(index), {})[key] = value
    groups = [dict(g) for g in plain["groups"]]
    for group in groups:  # JSON has no tuples
        if "betas" in group:
            group["betas"] = tuple(group["betas"])
    now = optimizer.state_dict()["param_groups"]
    if len(groups) != len(now) and sum(len(g["params"]) for g in groups) == sum(len(g["params"]) for g in now):
        groups = now  # of a version that kept groups apart although they were treated alike; the order is the same
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    for p, entries in optimizer.state.items():
        # fused updates read weight and momentum in the order of memory: a file has lost it
        for key, value in entries.items():
            if isinstance(value, Tensor) and value.shape == p.shape and value.stride() != p.stride():
                entries[key] = torch.empty_like(p, dtype=value.dtype).copy_(value)
