"""Carries the hidden state of a network from batch to batch, for data that are streams."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from torch import nn

from initlab.spec import Carrying, Splits


def stateful_model(model: nn.Module, splits: Splits) -> Carrying | None:
    """`model`, where it can carry its hidden state and the data are streams; else None."""
    return model if splits.streams and isinstance(model, Carrying) else None


@contextmanager
def carry_state(model: nn.Module, splits: Splits) -> Generator[None]:
    """Forward passes inside share one hidden state, which starts empty; the previous state is restored at the end."""
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
