"""Protocols for model builders and for networks that carry a hidden state between batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from initlab.spec.activations import Activation
from initlab.spec.data import IO

if TYPE_CHECKING:
    from torch import Tensor, nn


class ModelBuilder(Protocol):
    """Builds a network for the given input and output, with the given activation after each hidden layer."""

    def __call__(self, io: IO, activation: Activation) -> nn.Module: ...


@runtime_checkable
class Carrying(Protocol):
    """A network that can carry its hidden state from batch to batch (truncated backpropagation).

    With `carry` set, a forward pass begins with `state` (zeros where it is empty) and leaves its own last state there,
    detached. A batch smaller than the state takes its first rows. Without `carry` every pass begins with zeros and
    `state` is left alone.
    """

    carry: bool
    state: tuple[Tensor, ...]
