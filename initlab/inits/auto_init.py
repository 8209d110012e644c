"""AutoInit: weights scaled by propagating means and variances through all operations of the network."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from initlab.core.factories import factory
from initlab.errors import ConfigError
from initlab.inits.laws import Bias, Distribution, bias_rule, draw, unit_normal
from initlab.inits.streaming import deterministic_training_mode, exclude_kept
from initlab.network.graph import Graph, trace
from initlab.network.inputs import head
from initlab.spec import InitContext, Initializer, Site
from initlab.theory.finite_width import zero_padding_share
from initlab.theory.predict import input_squares

#: forward passes at most, and the largest change of a factor at which no other is made
_PASSES, _TOLERANCE = 4, 1.01


@factory
def auto_init(*, distribution: Distribution = "truncated", bias: Bias = 0.0, keep: tuple[str, ...] = ()) -> Initializer:
    """Var(W) = 1/(fan_in·E[x²]), E[x²] of the layer's own input: activations, pools, sums, joins, norms and padding.

    Bingham & Miikkulainen, AAAI 2023. Each weight layer is taken to send mean 0 and variance 1; what its successor
    receives follows from the operations between the two, by quadrature for activations and, for operations without a
    formula (pooling, attention), by the ratio seen in a forward pass. In a plain network this is He's rule with the
    forward gain of the activation *before* each layer; unlike He's it knows residual sums and pools. Recurrent weights
    keep unit gain. Needs a batch of inputs, whose labels are not used; one forward pass, up to four where ratios have
    to be seen.
    """

    def weight(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
        del context
        return draw(site.shape, 1 / math.sqrt(site.fan_in), distribution, generator)

    return Initializer(
        name="auto_init",
        weight=weight,
        bias=bias_rule(bias),
        embedding=unit_normal,
        keep=keep,
        check=_require_data,
        adapt=(exclude_kept(_rescale, keep),),
    )


def _require_data(sites: tuple[Site, ...], context: InitContext) -> None:
    del sites
    if context.batches is None:
        raise ConfigError("init", "auto_init", "needs data: a batch of inputs to follow through the network")


def _rescale(model: nn.Module, sites: tuple[Site, ...], context: InitContext) -> tuple[str, ...]:
    assert context.batches is not None
    inputs = head(context.batches(0).inputs, 64)
    divided: dict[str, float] = {}  # what each weight's square was divided by so far
    with deterministic_training_mode(model), torch.no_grad():
        parameters = dict(model.named_parameters())
        for _ in range(_PASSES):
            graph = trace(model, inputs, moments=True)
            squares = _input_mean_squares(graph, sites, context)
            change = 1.0
            for name, square in squares.items():
                ratio = square / divided.get(name, 1.0)
                parameters[name].mul_(ratio**-0.5)
                change = max(change, ratio, 1 / ratio)
            divided |= squares
            # ratios that were seen at other scales than those of now are seen again
            if change < _TOLERANCE or not any(
                n.op in ("opaque", "attention", "recurrent", "product") for n in graph.nodes
            ):
                break
    low, high = min(divided.values(), default=1.0), max(divided.values(), default=1.0)
    return (f"inputs of the {len(divided)} weight layers have mean squares from {low:.3g} to {high:.3g}",)


def _input_mean_squares(graph: Graph, sites: tuple[Site, ...], context: InitContext) -> dict[str, float]:
    """Name of each weight → E[x²] of its input, including the zeros that pad a convolution."""
    squares = input_squares(graph, sites, context)
    layers = graph.of_parameter()
    for site in sites:
        node = layers.get(site.name)
        if site.name in squares and site.padding and node is not None and node.inputs:
            sides = graph.nodes[node.inputs[0]].shape[2:]
            for side, kernel, pad, stride in zip(sides, site.shape[2:], site.padding, site.stride, strict=False):
                squares[site.name] *= zero_padding_share(side, kernel, pad, stride)
    return {name: square for name, square in squares.items() if 0 < square < math.inf}
