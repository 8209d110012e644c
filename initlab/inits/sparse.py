"""Sparse initialisation: a few incoming weights for each unit."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from initlab.core.factories import factory
from initlab.inits.laws import Bias, bias_rule, unit_normal
from initlab.inits.layout import layout, to_parameter
from initlab.inits.scaled import resolve_gain
from initlab.spec import InitContext, Initializer, PositiveFloat, PositiveInt, Site


@factory
def sparse(
    *,
    k: PositiveInt = 15,
    std: PositiveFloat | Literal["auto"] = 1.0,
    bias: Bias = 0.0,
    keep: tuple[str, ...] = (),
) -> Initializer:
    """Each unit has `k` incoming weights N(0, std²), the others are zero. Martens, ICML 2010, with k = 15, std = 1.

    The inputs of a unit do not grow with the layer's width, and units differ more than dense ones. `torch.nn.init.
    sparse_` is something else: it zeroes a share of every *column*, which for a linear layer are the weights that
    leave an input, so that the number of weights that come into a unit varies.

    Args:
        k: non-zero weights of a unit; all of them where it has fewer inputs.
        std: of those weights; ``auto`` is gain/√k, which keeps the mean square of the signal as He's does.

    Cost: no data pass.
    """

    def weight(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
        form = layout(site)
        count = min(k, form.inputs)
        sigma = resolve_gain("auto", site, context) / math.sqrt(count) if std == "auto" else std
        rows = form.groups * form.outs
        # the places of the largest of independent uniform numbers are a uniformly random subset
        places = torch.rand(rows, form.inputs, generator=generator).topk(count, dim=1).indices
        drawn = torch.empty(rows, count).normal_(0.0, sigma, generator=generator)
        return to_parameter(site, torch.zeros(rows, form.inputs).scatter_(1, places, drawn).reshape(form.shape))

    return Initializer(name="sparse", weight=weight, bias=bias_rule(bias), embedding=unit_normal, keep=keep)
