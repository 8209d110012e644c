"""AutoInit: weights by propagating means and variances through whatever the network does between them."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from initlab.errors import ConfigError
from initlab.inits.laws import Bias, Distribution, bias_rule, draw, unit_normal
from initlab.inits.streaming import as_in_training, sparing
from initlab.spec import InitContext, Initializer, Site
from initlab.theory.predict import input_squares
from initlab.wiring import trace


def auto_init(*, distribution: Distribution = "truncated", bias: Bias = 0.0, keep: tuple[str, ...] = ()) -> Initializer:
    """Var(W) = 1/(fan_in·E[x²]), E[x²] of the layer's own input: activations, pools, sums, joins and norms included.

    Bingham & Miikkulainen, AAAI 2023. Each weight layer is taken to send mean 0 and variance 1; what its successor
    receives follows from the operations between the two, by quadrature for activations and, for operations without a
    formula (pooling, attention), by the ratio seen in one forward pass. In a plain network this is He's rule with the
    forward gain of the activation *before* each layer; unlike He's it knows residual sums and pools. Recurrent weights
    keep unit gain. Needs a batch of inputs, whose labels are not used; one forward pass.
    """

    def weight(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
        del context
        return draw(site.shape, 1 / math.sqrt(site.fan_in), distribution, generator)

    return Initializer(
        name="auto_init", weight=weight, bias=bias_rule(bias), embedding=unit_normal, keep=keep, check=_needs_data,
        adapt=(sparing(_rescale, keep),),
    )  # fmt: skip


def _needs_data(sites: tuple[Site, ...], context: InitContext) -> None:
    del sites
    if context.batches is None:
        raise ConfigError("init", "auto_init", "needs data: a batch of inputs to follow through the network")


def _rescale(model: nn.Module, sites: tuple[Site, ...], context: InitContext) -> tuple[str, ...]:
    assert context.batches is not None
    with as_in_training(model), torch.no_grad():
        graph = trace(model, context.batches(0).inputs[:64], moments=True)
        squares = input_squares(graph, sites, context)
        for name, parameter in model.named_parameters():
            square = squares.get(name)
            if square is not None and square > 0:
                parameter.mul_(square**-0.5)
    low, high = min(squares.values(), default=1.0), max(squares.values(), default=1.0)
    return (f"inputs of the {len(squares)} weight layers have mean squares from {low:.3g} to {high:.3g}",)
