"""A multilayer perceptron (MLP)."""

from __future__ import annotations

import math
from functools import partial
from itertools import islice, repeat

from torch import Tensor, nn

from initlab.core.factories import factory
from initlab.models.pieces import DropoutName, NormName, branch_end, flat_norm, require, require_numbers
from initlab.models.standardised import linear_layer
from initlab.spec import IO, Activation, ModelBuilder, PositiveInt, Probability


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
    dropout: Probability = 0.0,
    dropout_kind: DropoutName = "plain",
    weight_standardisation: bool = False,
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
        dropout: probability p that a unit is dropped behind each activation, in training alone.
        dropout_kind: ``plain`` sets it to 0 and the others to 1/(1 - p) of their value (Srivastava et al., JMLR 2014);
            ``alpha`` keeps mean 0 and variance 1, for SELU (Klambauer et al., NeurIPS 2017).
        weight_standardisation: use the weights of each unit less their mean, divided by their deviation (Qiao et al.,
            2019), in all layers but the head. Their mean square is 1, so that a norm should follow.

    Raises:
        ConfigError: depth or width below 1; layers that do not divide into branches; branch options without residual; a
            dropout that is no probability, or a kind of it without dropout.
    """
    require("depth", depth, "must be 1 or more (depth counts the hidden layers)", holds=depth >= 1)
    require("width", width, "must be 1 or more", holds=width >= 1)
    require("branch_scale", branch_scale, "needs model.residual=true", holds=residual or not branch_scale)
    require("branch_depth", branch_depth, "must be 1 or more", holds=branch_depth >= 1)
    require("branch_depth", branch_depth, "needs model.residual=true", holds=residual or branch_depth == 1)
    behind = f"must divide depth - 1 = {depth - 1}: the first hidden layer stands before all branches"
    require("branch_depth", branch_depth, behind, holds=not residual or (depth - 1) % branch_depth == 0)
    require("dropout", dropout, "must be 0 or more and less than 1", holds=0 <= dropout < 1)
    require("dropout_kind", dropout_kind, "choose from plain, alpha", holds=dropout_kind in ("plain", "alpha"))
    require("dropout_kind", dropout_kind, "needs model.dropout above 0", holds=dropout > 0 or dropout_kind == "plain")
    return partial(
        MLP,
        depth=depth,
        width=width,
        residual=residual,
        branch_depth=branch_depth,
        branch_scale=branch_scale,
        norm=norm,
        bias=bias,
        dropout=dropout,
        dropout_kind=dropout_kind,
        weight_standardisation=weight_standardisation,
    )


class MLP(nn.Module):
    """Inputs are flattened; each hidden layer is linear → norm → activation (→ dropout); the head is linear.

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
        dropout: float = 0.0,
        dropout_kind: DropoutName = "plain",
        weight_standardisation: bool = False,
    ) -> None:
        super().__init__()
        require_numbers(io, "mlp")
        activations = activation.sequence(depth)
        received = [math.prod(io.input_shape), *[width] * (depth - 1)]
        made = [a.units_before(width) for a in activations]
        own_bias = bias and norm == "none"
        self.branch_depth = branch_depth if residual else 0
        make = partial(linear_layer, standardised=weight_standardisation, bias=own_bias)
        self.layers = nn.ModuleList([make(i, o) for i, o in zip(received, made, strict=True)])
        self.normed = norm != "none"
        self.norms = nn.ModuleList([flat_norm(norm, o) for o in made])
        self.activations = nn.ModuleList([a.make(o) for a, o in zip(activations, made, strict=True)])
        drop = nn.AlphaDropout if dropout_kind == "alpha" else nn.Dropout
        self.dropouts = nn.ModuleList([drop(dropout) for _ in made]) if dropout else None
        branches = (depth - 1) // branch_depth if residual else 0
        self.scales = nn.ModuleList([branch_end(scaled=branch_scale) for _ in range(branches)])
        self.head = nn.Linear(width, io.classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) to logits (B, classes)."""
        # in step: to look a layer up by its number costs as much as a small layer
        norms = self.norms if self.normed else repeat(_identity)
        drops = repeat(_identity) if self.dropouts is None else self.dropouts
        hidden = iter(zip(self.layers, norms, self.activations, drops, strict=False))
        layer, norm, activation, drop = next(hidden)
        x = drop(activation(norm(layer(x.flatten(1)))))
        if self.branch_depth:
            for scale in self.scales:
                y = x
                for layer, norm, activation, drop in islice(hidden, self.branch_depth):
                    y = drop(activation(norm(layer(y))))
                x = x + scale(y)
        else:
            for layer, norm, activation, drop in hidden:
                x = drop(activation(norm(layer(x))))
        return self.head(x)


def _identity(x: Tensor) -> Tensor:
    # a module that does nothing takes a microsecond a call
    return x
