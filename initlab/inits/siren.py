"""SIREN: the initialisation of networks with sine activations."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from initlab.core.factories import factory
from initlab.errors import ConfigError
from initlab.inits.laws import Bias, bias_rule, unit_normal
from initlab.spec import Activation, InitContext, Initializer, PositiveFloat, Site


@factory
def siren(
    *,
    w0: PositiveFloat | Literal["auto"] = "auto",
    first_w0: PositiveFloat | Literal["auto"] = "auto",
    bias: Bias = "torch",
    keep: tuple[str, ...] = (),
) -> Initializer:
    """For φ(x) = sin(w0·x): U(±1/n) in the first layer of n inputs, U(±√(6/n)/w0) in the others.

    Sitzmann, Martel, Bergman, Lindell & Wetzstein, NeurIPS 2020, with w0 = 30. The arguments w0·h of the hidden sines
    settle at variance 0.797 for N(0, 1) inputs (the fixed point of q = 1 - e^{-2q}), whatever the depth.

    Args:
        w0: frequency; ``auto`` reads it from the activation.
        first_w0: frequency that the first layer is to have, whose weights are U(±first_w0/(w0·n)); ``auto`` is w0. With
            φ(x) = sin x, 30 gives the network that w0 = 30 gives.

    Refuses ``auto`` where the activation is no sine. Cost: no data pass.
    """

    def check(sites: tuple[Site, ...], context: InitContext) -> None:
        if w0 == "auto":
            for site in sites:
                if site.role in ("weight", "head"):
                    _frequency(site, context)

    def weight(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
        first = context.before(site) is None and site.role == "weight"
        if first and first_w0 == "auto":
            bound = 1.0 / site.fan_in
        else:
            w = _frequency(site, context) if w0 == "auto" else w0
            inside = first_w0 / site.fan_in if first and first_w0 != "auto" else math.sqrt(6.0 / site.fan_in)
            bound = inside / w
        return torch.empty(site.shape).uniform_(-bound, bound, generator=generator)

    return Initializer(name="siren", weight=weight, bias=bias_rule(bias), embedding=unit_normal, keep=keep, check=check)


def _frequency(site: Site, context: InitContext) -> float:
    """The w0 of the sine that feeds the site, else of the one that follows, else of the network's."""
    activation = context.before(site) or context.after(site) or context.activation
    w0 = sine_frequency(activation)
    if w0 is None:
        raise ConfigError(
            "init.w0", "auto", f"needs a sine activation, not {activation.name}; set activation or give init.w0=30"
        )
    return w0


def sine_frequency(activation: Activation) -> float | None:
    """The w of φ(x) = sin(w·x), None where φ is something else."""
    zero = torch.zeros((), dtype=torch.float64, requires_grad=True)
    with torch.enable_grad():
        (slope,) = torch.autograd.grad(activation.fn(zero), zero, allow_unused=True, materialize_grads=True)
    w = float(slope)
    x = torch.linspace(-1, 1, 17, dtype=torch.float64)
    with torch.no_grad():
        return w if w > 0 and bool(torch.allclose(activation.fn(x), torch.sin(w * x), atol=1e-9)) else None
