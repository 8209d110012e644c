"""Carries the hidden state of a network from batch to batch, for data that are streams."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from torch import nn

from initlab.spec import Carrying, Splits


def stateful_model(model: nn.Module, splits: Splits) -> Carrying | None:
    """`model`, where it can carry its state and the data are such that it should."""
    return model if splits.streams and isinstance(model, Carrying) else None


@contextmanager
def carry_state(model: nn.Module, splits: Splits) -> Generator[None]:
    """Passes made inside go on from one to the next, from an empty state; what was carried before is given back."""
    network = stateful_model(model, splits)
    if network is None:
        yield
        return
    before = network.carry, network.state
    network.carry, network.state = True, ()
    try:
        yield
    finally:
        network.carry, network.state = before
