"""A multilayer perceptron (MLP)."""

from __future__ import annotations

import math
from functools import partial
from itertools import islice, repeat

from torch import Tensor, nn

from initlab.core.factories import factory
from initlab.models.pieces import NormName, branch_end, flat_norm, require, require_numbers
from initlab.spec import IO, Activation, ModelBuilder, PositiveInt


@factory
def mlp(
    *,
    depth: PositiveInt = 2,
    width: PositiveInt = 256,
    residual: bool = False,
    branch_depth: PositiveInt = 1,
    branch_scale: bool = False,
    norm: NormName = "none",
    bias: bool = True,
) -> ModelBuilder:
    """Builder of a perceptron with `depth` hidden layers of `width` units; see `MLP`.

    Args:
        depth: number of hidden layers, 1 or more; the output layer is not counted.
        width: units that each hidden layer sends on; a gated activation receives twice as many.
        residual: after the first hidden layer, add the input of every `branch_depth` layers to their output.
        branch_depth: hidden layers in a residual branch.
        branch_scale: a learnable multiplier at the end of each branch.
        norm: before each activation, ``batch`` (Ioffe & Szegedy, 2015) or ``layer`` (Ba, Kiros & Hinton, 2016).
        bias: of the hidden layers; a layer followed by a norm has none, the output layer always has one.

    Raises:
        ConfigError: depth or width below 1; layers that do not divide into branches; branch options without residual.
    """
    require("depth", depth, "must be 1 or more (depth counts the hidden layers)", holds=depth >= 1)
    require("width", width, "must be 1 or more", holds=width >= 1)
    require("branch_scale", branch_scale, "needs model.residual=true", holds=residual or not branch_scale)
    require("branch_depth", branch_depth, "must be 1 or more", holds=branch_depth >= 1)
    require("branch_depth", branch_depth, "needs model.residual=true", holds=residual or branch_depth == 1)
    behind = f"must divide depth - 1 = {depth - 1}: the first hidden layer stands before all branches"
    require("branch_depth", branch_depth, behind, holds=not residual or (depth - 1) % branch_depth == 0)
    return partial(
        MLP,
        depth=depth,
        width=width,
        residual=residual,
        branch_depth=branch_depth,
        branch_scale=branch_scale,
        norm=norm,
        bias=bias,
    )


class MLP(nn.Module):
    """Inputs are flattened; each hidden layer is linear → norm → activation; the head is linear.

    Parameters are named ``layers.0.weight`` ... ``layers.<depth-1>.weight``, ``norms.<i>.weight``,
    ``scales.<branch>.weight``, ``head.weight``.
    """

    def __init__(
        self,
        io: IO,
        activation: Activation,
        *,
        depth: int = 2,
        width: int = 256,
        residual: bool = False,
        branch_depth: int = 1,
        branch_scale: bool = False,
        norm: NormName = "none",
        bias: bool = True,
    ) -> None:
        super().__init__()
        require_numbers(io, "mlp")
        activations = activation.sequence(depth)
        received = [math.prod(io.input_shape), *[width] * (depth - 1)]
        made = [a.units_before(width) for a in activations]
        own_bias = bias and norm == "none"
        self.branch_depth = branch_depth if residual else 0
        self.layers = nn.ModuleList([nn.Linear(i, o, bias=own_bias) for i, o in zip(received, made, strict=True)])
        self.normed = norm != "none"
        self.norms = nn.ModuleList([flat_norm(norm, o) for o in made])
        self.activations = nn.ModuleList([a.make(o) for a, o in zip(activations, made, strict=True)])
        branches = (depth - 1) // branch_depth if residual else 0
        self.scales = nn.ModuleList([branch_end(scaled=branch_scale) for _ in range(branches)])
        self.head = nn.Linear(width, io.classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) to logits (B, classes)."""
        # in step: to look a layer up by its number costs as much as a small layer
        norms = self.norms if self.normed else repeat(_identity)
        hidden = iter(zip(self.layers, norms, self.activations, strict=self.normed))
        layer, norm, activation = next(hidden)
        x = activation(norm(layer(x.flatten(1))))
        if self.branch_depth:
            for scale in self.scales:
                y = x
                for layer, norm, activation in islice(hidden, self.branch_depth):
                    y = activation(norm(layer(y)))
                x = x + scale(y)
        else:
            for layer, norm, activation in hidden:
                x = activation(norm(layer(x)))
        return self.head(x)


def _identity(x: Tensor) -> Tensor:
    # a module that does nothing takes a microsecond a call
    return x
