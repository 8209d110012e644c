"""A multilayer perceptron."""

from __future__ import annotations

import math
from functools import partial

from torch import Tensor, nn

from initlab.models.pieces import NormName, flat_norm, require
from initlab.spec import IO, Activation, ModelBuilder, PositiveInt


def mlp(
    *,
    depth: PositiveInt = 2,
    width: PositiveInt = 256,
    residual: bool = False,
    norm: NormName = "none",
    bias: bool = True,
) -> ModelBuilder:
    """Builder of a perceptron with `depth` hidden layers of `width` units; see `MLP`.

    Args:
        depth: number of hidden layers, 1 or more; the output layer is not counted.
        width: units of each hidden layer.
        residual: add each hidden layer's input to its output, from the second hidden layer on.
        norm: before each activation, ``batch`` (Ioffe & Szegedy, 2015) or ``layer`` (Ba, Kiros & Hinton, 2016).
        bias: of the hidden layers; a layer followed by a norm has none, the output layer always has one.

    Raises:
        ConfigError: depth or width below 1.
    """
    require("depth", depth, "must be 1 or more (depth counts the hidden layers)", holds=depth >= 1)
    require("width", width, "must be 1 or more", holds=width >= 1)
    return partial(MLP, depth=depth, width=width, residual=residual, norm=norm, bias=bias)


class MLP(nn.Module):
    """Inputs are flattened; each hidden layer is linear → norm → activation; the head is linear.

    Parameters are named ``layers.0.weight`` ... ``layers.<depth-1>.weight``, ``norms.<i>.weight``, ``head.weight``.
    """

    def __init__(
        self,
        io: IO,
        activation: Activation,
        *,
        depth: int = 2,
        width: int = 256,
        residual: bool = False,
        norm: NormName = "none",
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.residual = residual
        sizes = [math.prod(io.input_shape), *[width] * depth]
        own_bias = bias and norm == "none"
        self.layers = nn.ModuleList([nn.Linear(sizes[i], sizes[i + 1], bias=own_bias) for i in range(depth)])
        self.norms = nn.ModuleList([flat_norm(norm, width) for _ in range(depth)])
        self.activations = nn.ModuleList([activation.make() for _ in range(depth)])
        self.head = nn.Linear(width, io.classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) to logits (B, classes)."""
        x = x.flatten(1)
        for i, (layer, norm, activation) in enumerate(zip(self.layers, self.norms, self.activations, strict=True)):
            y = activation(norm(layer(x)))
            x = x + y if self.residual and i > 0 else y
        return self.head(x)
