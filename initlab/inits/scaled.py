"""Initialisers that scale the variance with the fan: LeCun, Xavier/Glorot, He/Kaiming.

At large width only the variance matters, not the shape of the law: uniform and normal draws of equal variance give the
same signal to O(1/width).
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from initlab.core.factories import factory
from initlab.errors import ConfigError
from initlab.inits.laws import Bias, Distribution, bias_rule, draw, unit_normal
from initlab.spec import InitContext, Initializer, PositiveFloat, Site
from initlab.theory import gain as activation_gain

Mode = Literal["fan_in", "fan_out", "fan_avg"]
Gain = PositiveFloat | Literal["auto", "torch", "forward", "backward", "geometric", "centred"]


def resolve_gain(gain: Gain, site: Site, context: InitContext) -> float:
    """The gain for a site: a number as it is, else that of an activation φ, by quadrature.

    ``forward`` (and ``auto``) is 1/√E[φ²] of the φ that the site's *input* comes from, which is what makes the mean
    square of its output that of φ's input. What a norm feeds has gain 1; what is joined of several parts, that of their
    mean. A layer with no φ before it, as the first one, gets the gain of the φ after it, as He et al. 2015 do for
    simplicity: the factor stands once, not once a layer. ``backward`` is of the φ that follows, whose slope the
    gradient meets. Where both are one, as in most networks, the distinction vanishes.
    A weight that neither follows nor feeds an activation (a linear classifier) has gain 1.
    """
    if not isinstance(gain, str):
        return gain
    before, after = context.before(site), context.after(site)
    if site.normed and gain in ("auto", "forward"):
        return 1.0
    activation = (after or before) if gain == "backward" else (before or after)
    if site.mix and gain in ("auto", "forward"):
        return _mixed_gain(site, context)
    if activation is None:
        return 1.0
    return activation_gain(activation, "forward" if gain == "auto" else gain)


def _mixed_gain(site: Site, context: InitContext) -> float:
    """1/√Σ share·E[φ²] over the parts that are joined into a layer's input; a part without activation counts 1."""
    square = 0.0
    for name, share in site.mix:
        activation = context.named(name or None)
        square += share * (1.0 if activation is None else activation_gain(activation, "forward") ** -2)
    return square**-0.5


def fan(site: Site, mode: Mode) -> float:
    """The fan of `site` under `mode`; ``fan_avg`` is the mean of the two."""
    return {"fan_in": site.fan_in, "fan_out": site.fan_out, "fan_avg": (site.fan_in + site.fan_out) / 2}[mode]


def _check(gain: Gain) -> None:
    if not isinstance(gain, str) and not gain > 0:
        raise ConfigError(
            "gain", gain, "must be auto, torch, forward, backward, geometric, centred or a number greater than 0"
        )


def _scaled(name: str, *, gain: Gain, mode: Mode, law: Distribution, bias: Bias, keep: tuple[str, ...]) -> Initializer:
    _check(gain)

    def weight(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
        std = resolve_gain(gain, site, context) / math.sqrt(fan(site, mode))
        return draw(site.shape, std, law, generator)

    return Initializer(name=name, weight=weight, bias=bias_rule(bias), embedding=unit_normal, keep=keep)


@factory
def he(
    *,
    gain: Gain = "auto",
    mode: Mode = "fan_in",
    distribution: Distribution = "normal",
    bias: Bias = 0.0,
    keep: tuple[str, ...] = (),
) -> Initializer:
    """Var(W) = g²/fan. He, Zhang, Ren & Sun, ICCV 2015, with the gain of any activation instead of ReLU's √2 only.

    fan_in keeps the mean square of the forward signal, fan_out that of the gradient.

    Args:
        gain: ``auto`` = 1/√E[φ²] (√2 for ReLU), ``torch`` = torch.nn.init.calculate_gain, or a number.
        mode: which fan.
        distribution: law with that variance.
        bias: constant for biases, or ``torch``.
        keep: name patterns of parameters that keep their module's own value.
    """
    return _scaled("he", gain=gain, mode=mode, law=distribution, bias=bias, keep=keep)


@factory
def xavier(
    *,
    gain: Gain = 1.0,
    distribution: Distribution = "uniform",
    bias: Bias = 0.0,
    keep: tuple[str, ...] = (),
) -> Initializer:
    """Var(W) = 2g²/(fan_in + fan_out). Glorot & Bengio, AISTATS 2010; derived for φ(0) = 0, φ'(0) = 1 (tanh)."""
    return _scaled("xavier", gain=gain, mode="fan_avg", law=distribution, bias=bias, keep=keep)


@factory
def lecun(
    *,
    gain: Gain = 1.0,
    distribution: Distribution = "normal",
    bias: Bias = 0.0,
    keep: tuple[str, ...] = (),
) -> Initializer:
    """Var(W) = g²/fan_in with g = 1. LeCun, Bottou, Orr & Müller, 1998. What SELU needs (Klambauer et al., 2017)."""
    return _scaled("lecun", gain=gain, mode="fan_in", law=distribution, bias=bias, keep=keep)
