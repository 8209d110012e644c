"""Hidden layers of a network of initlab: their outputs, and the arguments of measurements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from initlab.core import seeds
from initlab.errors import ConfigError, one_of
from initlab.run.prepare import Prepared
from initlab.spec import Experiment


def settings_of(name: str, given: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a measurement, with its defaults.

    Raises:
        ConfigError: a setting that it does not have, or of another type.
    """
    for key, value in given.items():
        if key not in defaults:
            raise ConfigError(
                f"claim.measures.settings.{key}", value, f"{name} has no such setting; {one_of(defaults, key)}"
            )
        kind = type(defaults[key])
        if not isinstance(value, kind) or isinstance(value, bool) is not (kind is bool):
            raise ConfigError(f"claim.measures.settings.{key}", value, f"must be of type {kind.__name__}")
        least = min(1, defaults[key]) if kind is int else 0
        if kind is int and value < least:
            raise ConfigError(f"claim.measures.settings.{key}", value, f"must be {least} or more")
    return {**defaults, **given}


def generator(experiment: Experiment, name: str) -> torch.Generator:
    """Of the measurement `name` under the experiment's seed."""
    return seeds.generator(experiment.seed, "probe", name)


def inputs_of(prepared: Prepared, experiment: Experiment, *, kind: str, examples: int) -> Tensor:
    """A batch of inputs: N(0, 1) of the data's shape (``normal``), or training examples (``data``)."""
    if kind == "data":
        return prepared.splits.prepare(prepared.splits.train.x[:examples])
    if kind != "normal":
        raise ConfigError("claim.measures.settings.inputs", kind, f"no such inputs; {one_of(('data', 'normal'), kind)}")
    shape = (examples, *prepared.splits.io.input_shape)
    return torch.randn(shape, generator=generator(experiment, "inputs")).to(prepared.device)


def layer_range(name: str, layers: Sequence[Tensor], first: int, last: int) -> None:
    """Check that there are layers from `first` to `last`, two or more.

    Raises:
        ConfigError: naming how many there are.
    """
    if not 0 <= first < last < len(layers):
        raise ConfigError(
            "claim.measures.settings", f"{first} to {last}", f"{name} needs two hidden layers or more among the"
            f" {len(layers)} of the network, which are counted from 0"
        )  # fmt: skip


def layers_of(model: nn.Module, list_name: str) -> Sequence[nn.Module]:
    """The modules of a list of the network, such as ``activations`` of `mlp` and `convnet`.

    Raises:
        ConfigError: the network has no such list.
    """
    found = getattr(model, list_name, None)
    if not isinstance(found, nn.ModuleList) or not len(found):
        raise ConfigError(
            "model",
            type(model).__name__,
            f"has no list of {list_name}: this measurement takes model=mlp or model=convnet",
        )
    return list(found)


def outputs_of(model: nn.Module, x: Tensor, *, list_name: str = "activations") -> list[Tensor]:
    """Outputs of the listed layers for the inputs `x`, in their order; their graph is kept."""
    seen: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: Any, out: Any) -> None:
        seen.append(out)

    hooks = [m.register_forward_hook(keep) for m in layers_of(model, list_name)]
    try:
        model(x)
    finally:
        for hook in hooks:
            hook.remove()
    return seen
