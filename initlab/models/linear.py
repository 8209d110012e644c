"""A linear classifier (softmax regression), without a hidden layer."""

from __future__ import annotations

import math

from torch import Tensor, nn

from initlab.core.factories import factory
from initlab.models.pieces import require_numbers
from initlab.spec import IO, Activation, ModelBuilder


@factory
def linear(*, bias: bool = True) -> ModelBuilder:
    """Builder of a linear classifier; its loss is convex, so that even zero weights train (no symmetry to break)."""

    def build(io: IO, activation: Activation) -> nn.Module:
        del activation  # there is no hidden layer to put it after
        return Linear(io, bias=bias)

    return build


class Linear(nn.Module):
    """Inputs are flattened; parameters ``head.weight`` (classes, inputs) and ``head.bias``."""

    def __init__(self, io: IO, *, bias: bool = True) -> None:
        super().__init__()
        require_numbers(io, "linear")
        self.head = nn.Linear(math.prod(io.input_shape), io.classes, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) to logits (B, classes)."""
        return self.head(x.flatten(1))
