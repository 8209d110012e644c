"""Draws the values of one tensor by the law of a catalogued initialiser."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TypeVar, cast

import torch
from torch import Tensor, nn

from initlab.api.gains import ActivationLike, as_activation
from initlab.core.finite import all_finite
from initlab.errors import ConfigError
from initlab.init.arguments import require_count, require_generator, require_tensor
from initlab.network.layers import by_class
from initlab.network.modules import CONV, CONV_TRANSPOSE
from initlab.spec import Activation, Draw, InitContext, Initializer, Site

T = TypeVar("T", bound=Tensor)
#: laws without random numbers, and those whose zeros and angles a complex draw has to keep
_FIXED, _STRUCTURED = ("constant", "zeros", "identity", "dirac"), ("orthogonal", "delta_orthogonal", "sparse")


def fill(w: T, site: Site, init: Initializer, activation: ActivationLike, generator: torch.Generator | None) -> T:
    """Gives `w` values by the weight law of `init`, and returns it."""
    law = Law(init=init, draw=init.weight, activation=as_activation(activation), generator=generator)
    require_generator(generator)
    if w.numel():
        write(w, site, law)
    return w


@dataclass(frozen=True, kw_only=True)
class Law:
    """A rule of an initialiser, the activation around the layer, and where random numbers come from.

    Attributes:
        sites: the parameters of the layer, where there is one; else the tensor stands by itself.
    """

    init: Initializer
    draw: Draw
    activation: Activation
    generator: torch.Generator | None
    sites: tuple[Site, ...] = ()


def write(w: Tensor, site: Site, law: Law) -> None:
    """Draws the values of `w`, gate by gate, and copies them.

    Raises:
        ConfigError: the scheme is not for such a layer, or the dtype of `w` cannot hold the values.
    """
    # a single layer lies between two activations; which one is first or last only the network tells
    site = replace(site, activation="activation", activation_before="activation")
    context = InitContext(activation=law.activation, sites=law.sites or (site,))
    if law.init.check is not None and law.draw is law.init.weight:
        law.init.check((site,), context)
    blocks = [replace(site, shape=(g.stop - g.start, *site.shape[1:]), gates=(g,)) for g in site.gates] or [site]
    parts = [_complex(block, law, context) if w.is_complex() else _real(block, law, context) for block in blocks]
    values = torch.cat(parts) if site.gates else parts[0]
    if site.zero_row is not None:
        values[site.zero_row] = 0
    cast_values = values.reshape(w.shape).to(w.dtype)
    if not all_finite(cast_values):
        raise ConfigError("dtype", w.dtype, "cannot hold values as large as these")
    with torch.no_grad():
        w.copy_(cast_values)


def _real(site: Site, law: Law, context: InitContext) -> Tensor:
    return law.draw(site, law.generator or torch.default_generator, context)


def _complex(site: Site, law: Law, context: InitContext) -> Tensor:
    """Values with the E|w|² of a real draw."""
    values = _real(site, law, context)
    if law.init.name in _FIXED or site.role == "bias":
        return values
    if law.draw is law.init.weight and law.init.name in _STRUCTURED:
        # a random phase for each unit keeps what is orthogonal or zero
        dim = 1 if site.transposed else 0
        angle = 2 * math.pi * torch.rand(site.shape[dim], generator=law.generator)
        phase = torch.polar(torch.ones_like(angle), angle)
        return values * phase.reshape([-1 if d == dim else 1 for d in range(values.dim())])
    return torch.complex(values, _real(site, law, context)) / math.sqrt(2)


def site_of(w: Tensor, transposed: bool, groups: int, stride: int | tuple[int, ...] = 1) -> Site:
    """The site of a weight: that of the convolution whose weight has this shape; a matrix is one with a single tap."""
    shape = require_tensor(w)
    if not 2 <= len(shape) <= 5:
        raise ConfigError("w", f"tensor of shape {shape}", "has no fans: a weight has 2 to 5 dimensions")
    shape = shape if len(shape) > 2 else (*shape, 1)
    if not isinstance(transposed, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigError("transposed", transposed, "must be True or False")
    require_count("groups", groups)
    if shape[0] % groups:
        raise ConfigError("groups", groups, f"must divide dimension 0 of the weight, which is {shape[0]}")
    strides = stride if isinstance(stride, tuple) else (stride,) * (len(shape) - 2)
    for step in strides:
        require_count("stride", step)
    if len(strides) != len(shape) - 2:
        raise ConfigError("stride", stride, f"must be a number or one for each of {len(shape) - 2} dimensions")
    if not w.numel():
        return any_site(w)
    outs, ins = (shape[1], shape[0]) if transposed else (shape[0], shape[1])
    kind = (CONV_TRANSPOSE if transposed else CONV)[len(shape) - 3]
    ins, outs = (ins, outs * groups) if transposed else (ins * groups, outs)
    layer = kind(ins, outs, shape[2:], stride=strides, groups=groups, bias=False, device="meta")  # pyright: ignore[reportArgumentType]
    return by_class("w", "", layer, "weight", cast("nn.Parameter", layer.weight))


def any_site(w: Tensor) -> Site:
    """The site of a tensor whose fans do not matter."""
    return Site(name="w", layer="", kind="free", role="weight", shape=require_tensor(w))
