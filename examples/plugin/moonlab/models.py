"""A perceptron in which every layer receives the outputs of all layers before it."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor, nn

from initlab.errors import ConfigError
from initlab.spec import IO, Activation, ModelBuilder, PositiveInt


def dense_mlp(*, depth: PositiveInt = 3, width: PositiveInt = 32) -> ModelBuilder:
    """Builder of a densely connected perceptron: h_l = φ(W_l [x, h_1, ..., h_{l-1}]). Huang et al., CVPR 2017.

    Args:
        depth: number of hidden layers.
        width: units that each hidden layer sends on.
    """
    return partial(DenseMLP, depth=depth, width=width)


class DenseMLP(nn.Module):
    """Inputs are flattened; the head reads the inputs and all hidden layers."""

    def __init__(self, io: IO, activation: Activation, *, depth: int, width: int) -> None:
        super().__init__()
        if io.vocabulary is not None:
            raise ConfigError("model", "dense_mlp", "needs numbers, the data are tokens; use model=lstm")
        if io.per_step:
            raise ConfigError("model", "dense_mlp", "gives one answer for the whole input; use model=lstm")
        inputs = math.prod(io.input_shape)
        activations = activation.sequence(depth)
        made = [a.units_before(width) for a in activations]
        self.layers = nn.ModuleList([nn.Linear(inputs + i * width, units) for i, units in enumerate(made)])
        self.activations = nn.ModuleList([a.make(units) for a, units in zip(activations, made, strict=True)])
        self.head = nn.Linear(inputs + depth * width, io.classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) to logits (B, classes)."""
        seen = x.flatten(1)
        for layer, activation in zip(self.layers, self.activations, strict=True):
            seen = torch.cat([seen, activation(layer(seen))], dim=1)
        return self.head(seen)
