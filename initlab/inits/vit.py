"""Initialisers of vision transformers, as timm has them."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from initlab.core.factories import factory
from initlab.inits.laws import draw, torch_bound
from initlab.spec import InitContext, Initializer, Site

Variant = Literal["timm", "jax", "moco"]


@factory
def vit(*, variant: Variant = "timm", depth_scaled: bool = False, keep: tuple[str, ...] = ()) -> Initializer:
    """The three initialisations of timm's VisionTransformer.

    - ``timm``: linear layers N(0, 0.02²), biases 0; the patch layer as torch draws it.
    - ``jax`` (the original, Dosovitskiy et al., ICLR 2021): Xavier's uniform law for linear layers, which takes the
      stacked queries, keys and values for one matrix and so makes their logits four times smaller in variance;
      biases of the perceptrons N(0, 10^-12); the patch layer LeCun's, cut; the head 0.
    - ``moco`` (Chen, Xie & He, ICCV 2021): Xavier's law with queries, keys and values apart; the patch layer too.

    Class token N(0, 10^-12), positions N(0, 0.02²).

    Args:
        variant: which.
        depth_scaled: the ends of both branches of block i divided by √(2(i+1)), i from 0 (BEiT, Bao et al., 2022).

    Refuses nothing. Cost: no data pass.
    """

    def weight(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
        values = _drawn(site, variant, generator, context)
        if depth_scaled and site.branch is not None and site.branch.is_last:
            values = values / math.sqrt(2 * (site.branch.index // 2 + 1))
        return values

    def bias(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
        inside = site.branch is not None and site.branch.index % 2 == 1
        if variant == "jax" and inside:
            return draw(site.shape, 1e-6, "normal", generator)
        if site.kind.startswith("conv") and variant == "timm":
            bound = torch_bound(site, context.sites)
            return torch.empty(site.shape).uniform_(-bound, bound, generator=generator)
        return torch.zeros(site.shape)

    def position(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
        del context
        return draw(site.shape, 1e-6 if site.kind == "token" else 0.02, "normal", generator)

    def table(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
        del context
        return draw(site.shape, 0.02, "normal", generator)

    return Initializer(name="vit", weight=weight, bias=bias, embedding=table, position=position, keep=keep)


def _drawn(site: Site, variant: Variant, generator: torch.Generator, context: InitContext) -> Tensor:
    patches = site.kind.startswith("conv")
    if variant == "timm":
        if patches:
            bound = torch_bound(site, context.sites)
            return torch.empty(site.shape).uniform_(-bound, bound, generator=generator)
        return draw(site.shape, 0.02, "normal", generator)
    if variant == "jax":
        if site.role == "head":
            return torch.zeros(site.shape)
        if patches:
            return draw(site.shape, site.fan_in**-0.5, "truncated", generator)
        outs = site.fan_out * (3 if len(site.gates) == 1 else 1)  # a part of a stacked matrix counts as all three
        return draw(site.shape, math.sqrt(2.0 / (outs + site.fan_in)), "uniform", generator)
    # a patch layer is a linear map of one patch: its outputs are counted once, and not once a pixel
    outs = site.shape[0] if patches else site.fan_out
    return draw(site.shape, math.sqrt(2.0 / (outs + site.fan_in)), "uniform", generator)
