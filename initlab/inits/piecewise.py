"""Schemes for piecewise linear activations: random walk, looks-linear, randomised asymmetric."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from initlab.core import seeds
from initlab.core.factories import factory
from initlab.errors import ConfigError
from initlab.inits.laws import Bias, bias_rule, draw, unit_normal
from initlab.inits.layout import layout, to_parameter
from initlab.inits.orthogonal import orthogonal, orthogonal_matrix
from initlab.inits.scaled import resolve_gain
from initlab.network.sites import weights
from initlab.spec import Activation, InitContext, Initializer, PositiveFloat, Site
from initlab.theory import gaussian_mean

_RECURRENT = ("rnn", "lstm", "gru")


def is_homogeneous(activation: Activation) -> bool:
    """Whether φ(cx) = cφ(x) for c > 0: identity, ReLU, leaky ReLU, |x|."""
    x = torch.linspace(-3, 3, 13, dtype=torch.float64)
    with torch.no_grad():
        return bool(torch.allclose(activation.fn(4 * x), 4 * activation.fn(x), atol=1e-12))


# ------------------------------------------------------------------ random walk
@factory
def random_walk(*, bias: Bias = 0.0, keep: tuple[str, ...] = ()) -> Initializer:
    """He's standard deviation times the factor that makes log‖h‖² a random walk *without drift*.

    Sussillo & Abbott, 2014: in a layer of N units E‖h‖² is kept by g = 1/√E[φ²], but E log‖h‖², what a deep and narrow
    network feels, falls by 1/N a layer (linear) or 5/(2N) (ReLU). Their gains

        linear  g = e^{1/(2N)},        ReLU  g = √2·e^{1.2/(max(N, 6) - 2.4)}

    undo that; for other homogeneous φ the leading order is e^{(E[φ⁴]/E[φ²]² - 1)/(4N)}. N is the number of units of the
    layer; convolutions, whose units are as many as pixels times channels, get none of the correction.

    Refuses activations that are not homogeneous, for which the scale of a layer cannot be set apart from its shape.
    Cost: no data pass.
    """

    def check(sites: tuple[Site, ...], context: InitContext) -> None:
        for site in weights(sites):
            after = context.after(site)
            if after is not None and not is_homogeneous(after):
                raise ConfigError(
                    "init",
                    "random_walk",
                    f"needs a homogeneous activation (identity, relu, leaky_relu); {site.name} feeds {after.name}",
                )

    def weight(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
        g = resolve_gain("auto", site, context) * math.exp(_drift(site, context))
        return draw(site.shape, g / math.sqrt(site.fan_in), "normal", generator)

    return Initializer(
        name="random_walk", weight=weight, bias=bias_rule(bias), embedding=unit_normal, keep=keep, check=check
    )


def _drift(site: Site, context: InitContext) -> float:
    """What log g needs besides the gain: half the loss of E log‖φ(h)‖² in a layer."""
    if site.kind.startswith("conv"):
        return 0.0
    after, n = context.after(site), site.shape[0]
    if after is None or after.name == "identity":
        return 1 / (2 * n)
    if after.name == "relu":
        return 1.2 / (max(n, 6) - 2.4)
    square = gaussian_mean(lambda z: after.fn(z) ** 2, kinks=after.kinks)
    fourth = gaussian_mean(lambda z: after.fn(z) ** 4, kinks=after.kinks)
    return (fourth / square**2 - 1) / (4 * n)


# ------------------------------------------------------------------ looks linear
@factory
def looks_linear(*, bias: Bias = 0.0, keep: tuple[str, ...] = ()) -> Initializer:
    """Mirrored blocks that make a network of rectifiers compute a linear map at first. Balduzzi et al., ICML 2017.

    Where φ(h) - φ(-h) = c·h (ReLU, leaky ReLU, GELU, SiLU, softplus and CReLU), a layer that holds W and -W for the two
    halves of its inputs undoes the activation exactly:

        CReLU  W' = [W, -W],        others  W' = [[W, -W], [-W, W]]

    with W orthogonal; the first layer has no halves to read and the last none to write. The whole network is then
    orthogonal in its input: gradients keep their size at any depth and do not shatter. Exact in plain chains without
    norms and max-pooling between; recurrent layers get orthogonal matrices.

    Refuses other activations, odd widths and grouped convolutions (their halves lie in different groups).
    Cost: no data pass.
    """
    flat = orthogonal(gain=1.0, bias=bias, keep=keep)

    def check(sites: tuple[Site, ...], context: InitContext) -> None:
        for site in weights(sites):
            if not _is_mirrored(site):
                continue
            for activation in (context.before(site), context.after(site)):
                if activation is not None and mirror_slope(activation) is None:
                    raise ConfigError(
                        "init",
                        "looks_linear",
                        f"needs an activation with φ(x) - φ(-x) = c·x (relu, leaky_relu, gelu, silu, crelu); "
                        f"{site.name} meets {activation.name}",
                    )
            form = layout(site)
            if form.groups > 1:
                raise ConfigError("init", "looks_linear", f"is not for grouped convolutions such as {site.name}")
            reads, writes = _halves(site, context)
            if (reads and form.ins % 2) or (writes and form.outs % 2):
                raise ConfigError(
                    "init", "looks_linear", f"needs even widths; {site.name} maps {form.ins} units to {form.outs}"
                )

    def weight(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
        if not _is_mirrored(site):
            return flat.weight(site, generator, context)
        form = layout(site)
        reads, writes = _halves(site, context)
        before = context.before(site)
        slope = mirror_slope(before) if reads and before is not None else None
        outs, ins = form.outs // (2 if writes else 1), form.ins // (2 if reads else 1)
        matrix = orthogonal_matrix(outs, ins * math.prod(form.taps), generator) / (slope or 1.0)
        block = matrix.reshape(outs, ins, *form.taps)
        block = torch.cat([block, -block], dim=1) if reads else block
        block = torch.cat([block, -block]) if writes else block
        return to_parameter(site, block[None])

    return replace(flat, name="looks_linear", weight=weight, check=check)


def mirror_slope(activation: Activation) -> float | None:
    """The c of φ(x) - φ(-x) = c·x, None where there is none."""
    x = torch.linspace(0.25, 4, 16, dtype=torch.float64)
    with torch.no_grad():
        ratio = (activation.fn(x) - activation.fn(-x)) / x
    c = float(ratio[0])
    return c if c != 0 and bool(torch.allclose(ratio, ratio[:1].expand_as(ratio), atol=1e-9)) else None


def _is_mirrored(site: Site) -> bool:
    return site.kind not in (*_RECURRENT, "attention") and site.role in ("weight", "head")


def _halves(site: Site, context: InitContext) -> tuple[bool, bool]:
    """Whether the inputs come in halves to be subtracted, and whether the units must be mirrored for what follows.

    An activation that widens (CReLU) makes the halves itself.
    """
    before, after = context.before(site), context.after(site)
    widens = after is not None and after.units[1] > after.units[0]
    return before is not None, after is not None and not widens


# ------------------------------------------------------------------ randomised asymmetric
@factory
def rai(*, sigma: PositiveFloat = 0.6007, keep: tuple[str, ...] = ()) -> Initializer:
    """Randomised asymmetric initialisation, against units that are born dead. Lu, Shin, Su & Karniadakis, 2019.

    Of the fan_in weights and the bias of a unit, one chosen at random is drawn from Beta(2, 1), which is positive, the
    others, the bias among them, from N(0, sigma²/fan_in), as the authors' code has it. ReLU sends on positive numbers,
    so the odd one lifts the unit: a narrow, deep ReLU network dies at birth less often than under a symmetric law.
    `sigma` is the authors' for which the mean square of the signal is about kept.

    For narrow ReLU networks. Recurrent layers choose among the weights of each matrix and have zero biases, like
    layers without a bias. Cost: no data pass.
    """

    def weight(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
        form = layout(site)
        units, biased = form.groups * form.outs, _has_bias(site, context)
        chosen, lift = _odd_ones(site, units, form.inputs + biased, context)
        values = draw((units, form.inputs), sigma / math.sqrt(form.inputs), "normal", generator)
        among = chosen < form.inputs
        values[among, chosen[among]] = lift[among]
        return to_parameter(site, values.reshape(form.shape))

    def bias(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
        if site.kind in _RECURRENT or len(site.shape) > 1:
            return torch.zeros(site.shape)
        inputs = next((layout(s).inputs for s in context.sites if _is_weight_of(s, site)), 0)
        chosen, lift = _odd_ones(site, math.prod(site.shape), inputs + 1, context)
        values = draw(site.shape, sigma / math.sqrt(max(1, inputs)), "normal", generator)
        return torch.where(chosen == inputs, lift, values)

    return Initializer(name="rai", weight=weight, bias=bias, embedding=unit_normal, keep=keep)


def _odd_ones(site: Site, units: int, numbers: int, context: InitContext) -> tuple[Tensor, Tensor]:
    """Which of each unit's numbers is the odd one, and its value; the same for the weight and the bias of a layer."""
    gate = site.gates[0].name if len(site.gates) == 1 else ""
    owner = site.name if site.kind in _RECURRENT else site.layer
    generator = seeds.generator(context.seed, "init", owner, gate, "rai")
    chosen = torch.randint(numbers, (units,), generator=generator)
    # the distribution function of Beta(2, 1) is x²
    return chosen, torch.rand(units, generator=generator).sqrt()


def _is_weight_of(site: Site, bias: Site) -> bool:
    return site.layer == bias.layer and site.role in ("weight", "head") and len(site.shape) > 1


def _has_bias(site: Site, context: InitContext) -> bool:
    if site.kind in _RECURRENT:
        return False
    return any(s.layer == site.layer and s.role == "bias" and len(s.shape) == 1 for s in context.sites)
