"""Scale of the tables that tokens are looked up in, also where the head shares them (tied embeddings)."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn

from initlab.core.factories import factory
from initlab.inits.composition import Scheme, resolve
from initlab.inits.laws import draw
from initlab.spec import InitContext, Initializer, PositiveFloat, Site


@factory
def embedding(
    *, base: Scheme = "he", std: PositiveFloat | Literal["width"] = "width", keep: tuple[str, ...] = ()
) -> Initializer:
    """Embeddings N(0, std²) with std = 1/√d for tokens of d numbers, or a fixed one; everything else is the base's.

    torch's N(0, 1) gives a row the norm √d. Where the same matrix is the head (tied, Press & Wolf, EACL 2017), logits
    of a normed input then have the standard deviation √d, and the loss starts far above log V, V the size of the
    vocabulary. With 1/√d (Vaswani et al., NeurIPS 2017, who multiply the looked-up rows by √d again) rows have norm 1
    and logits variance 1. `std=0.02` is that of GPT-2 and BERT (Radford et al., 2019; Devlin et al., 2019), 1/√d at
    d = 2,500. A tied matrix gets this law too; the row of padding stays zero, and position tables are the base's.

    Args:
        base: what draws all other parameters.
        std: ``width`` for 1/√d, or a number.
        keep: name patterns of parameters that keep their module's own value.

    Refuses nothing; without embeddings it is its base. Cost: that of the base.
    """
    return _with_embeddings(resolve(base, "init.base"), std, tuple(keep))


def _with_embeddings(base: Initializer, std: float | Literal["width"], keep: tuple[str, ...]) -> Initializer:
    def table(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
        del context
        width = site.fan_in if site.tied else site.fan_out
        return draw(site.shape, width**-0.5 if std == "width" else std, "normal", generator)

    def weight(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
        return (table if site.tied else base.weight)(site, generator, context)

    def plan(model: nn.Module, sites: tuple[Site, ...], context: InitContext) -> tuple[Initializer, tuple[str, ...]]:
        assert base.plan is not None
        planned, notes = base.plan(model, sites, context)
        return _with_embeddings(planned, std, keep), notes

    return replace(
        base,
        name="embedding",
        weight=weight,
        embedding=table,
        keep=tuple(dict.fromkeys((*base.keep, *keep))),
        plan=plan if base.plan is not None else None,
    )
