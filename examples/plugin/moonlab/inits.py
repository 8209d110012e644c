"""Kumar's initialiser for activations that are smooth at 0."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from initlab.activations.slope import derivative
from initlab.errors import ConfigError
from initlab.spec import Activation, InitContext, Initializer, PositiveFloat, Site


def kumar(*, gain: PositiveFloat = 1.0, keep: tuple[str, ...] = ()) -> Initializer:
    """Var(W) = gain² / (fan_in · φ'(0)² · (1 + φ(0)²)). Kumar, arXiv:1704.08863, 2017.

    The activation is replaced by its tangent at 0. Sigmoid gets 3.6²/fan_in, tanh 1/fan_in.

    Args:
        gain: multiplies the standard deviation.
        keep: name patterns of parameters that keep their module's own value.
    """

    def weight(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
        activation = context.before(site) or context.after(site)
        std = gain * (1.0 if activation is None else tangent_gain(activation)) / math.sqrt(site.fan_in)
        return std * torch.randn(site.shape, generator=generator)

    def check(sites: tuple[Site, ...], context: InitContext) -> None:
        used = {context.activation, *filter(None, map(context.after, sites))}
        for activation in used:
            tangent_gain(activation)

    return Initializer(name="kumar", weight=weight, bias=_zeros, embedding=_normal, check=check, keep=keep)


def tangent_gain(activation: Activation) -> float:
    """1 / (|φ'(0)| √(1 + φ(0)²)).

    Raises:
        ConfigError: the activation has a kink or no slope at 0, or is no function of one number.
    """
    zero = torch.zeros(1, dtype=torch.float64)
    value, slope = float(activation.fn(zero)), float(derivative(activation.fn, zero))
    if activation.units != (1, 1) or 0.0 in activation.kinks or slope == 0:
        raise ConfigError(
            "init", "kumar", f"needs an activation with a tangent at 0, which {activation.name} has not; use init=he"
        )
    return 1 / (abs(slope) * math.sqrt(1 + value**2))


def _zeros(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
    del generator, context
    return torch.zeros(site.shape)


def _normal(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
    del context
    return torch.randn(site.shape, generator=generator)
