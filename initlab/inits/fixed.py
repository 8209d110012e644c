"""Initialisers of a fixed scale: zeros, constant, uniform(a), normal(std), truncated normal.

They treat embeddings like every other weight: who asks for a standard deviation of 0.01 means all of them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from initlab.core.factories import factory
from initlab.inits.laws import Bias, bias_rule, draw
from initlab.spec import Draw, InitContext, Initializer, PositiveFloat, Site


def _same_for_all(name: str, weight: Draw, bias: Bias, keep: tuple[str, ...]) -> Initializer:
    return Initializer(name=name, weight=weight, bias=bias_rule(bias), embedding=weight, position=weight, keep=keep)


@factory
def constant(*, value: float = 0.1, bias: Bias = 0.0, keep: tuple[str, ...] = ()) -> Initializer:
    """W = value. All units of a layer stay identical under training: the symmetry is never broken."""

    def weight(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
        del generator, context
        return torch.full(site.shape, float(value))

    return _same_for_all("constant", weight, bias, keep)


@factory
def zeros(*, bias: Bias = 0.0, keep: tuple[str, ...] = ()) -> Initializer:
    """W = 0. Only the output bias ever learns; meant for heads and for ends of residual branches."""
    zero = constant(value=0.0, bias=bias, keep=keep)
    return Initializer(
        name="zeros", weight=zero.weight, bias=zero.bias, embedding=zero.embedding, position=zero.embedding, keep=keep
    )


@factory
def uniform(*, a: PositiveFloat = 0.05, bias: Bias = 0.0, keep: tuple[str, ...] = ()) -> Initializer:
    """W ~ U(-a, a), standard deviation a/√3. Keras' `RandomUniform` has a = 0.05."""

    def weight(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
        del context
        return torch.empty(site.shape).uniform_(-a, a, generator=generator)

    return _same_for_all("uniform", weight, bias, keep)


@factory
def normal(*, std: PositiveFloat = 0.05, bias: Bias = 0.0, keep: tuple[str, ...] = ()) -> Initializer:
    """W ~ N(0, std²). The argument is the standard deviation, not the variance."""

    def weight(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
        del context
        return draw(site.shape, std, "normal", generator)

    return _same_for_all("normal", weight, bias, keep)


@factory
def truncated_normal(*, std: PositiveFloat = 0.05, bias: Bias = 0.0, keep: tuple[str, ...] = ()) -> Initializer:
    """Normal cut at two standard deviations and widened, so that `std` is the standard deviation of what is left."""

    def weight(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
        del context
        return draw(site.shape, std, "truncated", generator)

    return _same_for_all("truncated_normal", weight, bias, keep)
