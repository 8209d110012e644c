"""The spectral condition: weights and updates whose spectral norms do not depend on the width."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from initlab.core.factories import factory
from initlab.inits.laws import Bias, Distribution, bias_rule, draw, unit_normal
from initlab.inits.orthogonal import orthogonal
from initlab.inits.scaled import Gain, resolve_gain
from initlab.inits.width import Ratios, width_aware
from initlab.spec import InitContext, Initializer, PositiveInt, Site


@factory
def spectral(
    *,
    base_width: PositiveInt = 64,
    distribution: Distribution | Literal["orthogonal"] = "normal",
    gain: Gain = "auto",
    bias: Bias = 0.0,
    keep: tuple[str, ...] = (),
) -> Initializer:
    """Weights and updates of spectral norm Θ(√(out/in)): std = g/√in · min(1, √(out/in)).

    Yang, Simon & Bernstein, 2023. It says of every layer at once what the table of `mup` says of three kinds, and
    leads to the same rates; a head of few outputs gets the small weights that it has there. ``orthogonal`` draws
    g·√(out/in)·Q, whose norm is the target itself. A matrix that is embedding and head in one is N(0, 1/base_width).

    Args:
        base_width: width at which the learning rate was tuned, as in `mup`.
        distribution: a law, or orthogonal.
        gain: g.
        bias: constant for biases, or ``torch``.

    Cost: a forward pass that measures the multiplier of the output.
    """
    unit = orthogonal(gain=1.0)

    def weight(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
        if site.tied:
            return draw(site.shape, base_width**-0.5, "normal", generator)
        g, ratio = resolve_gain(gain, site, context), math.sqrt(site.fan_out / site.fan_in)
        if distribution == "orthogonal":
            return g * ratio * unit.weight(site, generator, context)
        return draw(site.shape, g / math.sqrt(site.fan_in) * min(1.0, ratio), distribution, generator)

    def built(ratios: Ratios) -> Initializer:
        return Initializer(
            name="spectral", weight=weight, bias=bias_rule(bias), embedding=unit_normal, keep=keep,
            lr_scale=ratios.scale,
        )  # fmt: skip

    return width_aware(built, base_width=base_width)
