"""Builds the network of a recorded run again, with the weights of its checkpoint."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from initlab.errors import InitlabError
from initlab.run.prepare import prepare
from initlab.spec import Experiment

#: names of the weights in the checkpoint of a whole state
_OF_STATE = "model."


def restore_network(experiment: Experiment, weights: Path) -> tuple[nn.Module, Tensor]:
    """The network of `experiment` with `weights`, and two of its inputs (2, ...), on the CPU.

    Args:
        experiment: of the run.
        weights: its ``best.safetensors`` or ``last.safetensors``.

    Raises:
        InitlabError: the data cannot be opened, or the weights are not of this network.
    """
    prepared = prepare(replace(experiment, device="cpu"))
    try:
        tensors = load_file(weights)
        inside = {k.removeprefix(_OF_STATE): v for k, v in tensors.items() if k.startswith(_OF_STATE)}
        prepared.model.load_state_dict(inside if weights.name.startswith("last") else tensors)
    except (SafetensorError, RuntimeError, OSError) as error:
        raise InitlabError(f"{weights.name} does not fit the network of its run: {error}") from error
    return prepared.model.eval(), prepared.splits.prepare(prepared.splits.test.x[:2])
