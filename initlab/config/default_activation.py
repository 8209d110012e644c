"""Resolves activation=default to the usual activation of the model, before anything is named, hashed or recorded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from initlab.config.former_names import current_name

#: target of conf/activation/default.yaml; it is resolved before any factory is called
TARGET = "initlab.config.default_activation"


def resolve_default_activation(tree: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """`tree` with ``activation=default`` replaced by the file of `folder` that it means.

    The run then has the same name, parameters and arm as if that activation had been typed.
    """
    node = tree.get("activation")
    if not isinstance(node, Mapping) or current_name(node.get("_target_")) != TARGET:
        return dict(tree)
    name = activation_for(str((tree.get("model") or {}).get("_target_", "")))
    chosen = OmegaConf.to_container(OmegaConf.load(folder / f"{name}.yaml"))
    return {**tree, "activation": chosen}


def activation_for(model: str) -> str:
    """Name of the usual activation of the model factory `model` (dotted): tanh for RNNs, gelu for transformers."""
    from initlab.models import recurrent, transformer  # bring torch

    usual = {**recurrent.DEFAULT_ACTIVATIONS, **transformer.DEFAULT_ACTIVATIONS}
    return usual.get(model.rpartition(".")[2], "relu")
