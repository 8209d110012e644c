"""Width-aware initialisers with learning rates: μP and the spectral condition."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn

from initlab.inits.laws import Bias, Distribution, bias_rule, draw, unit_normal
from initlab.inits.layout import layout
from initlab.inits.orthogonal import orthogonal
from initlab.inits.scaled import Gain, resolve_gain
from initlab.network.sites import weights
from initlab.spec import Draw, InitContext, Initializer, LrScale, PositiveInt, Site, StepKind

#: how a parameter's shape grows with the width: of its outputs alone, of inputs and outputs, of its inputs alone
Growth = Literal["input", "hidden", "output"]
Head = Literal["small", "scaled", "zero"]


def mup(
    *,
    base_width: PositiveInt = 64,
    head: Head = "small",
    gain: Gain = "auto",
    distribution: Distribution = "normal",
    bias: Bias = 0.0,
    keep: tuple[str, ...] = (),
) -> Initializer:
    """Maximal update parametrisation: the best learning rate of a narrow network is that of a wide one.

    Yang & Hu, ICML 2021, and Yang et al., Tensor Programs V, 2022, table 3, without multipliers in the forward pass.
    With r = width/base_width, of a layer's inputs (hidden, output) or outputs (input, biases):

        |           | first layer, biases, norms | hidden    | head       |
        |-----------|----------------------------|-----------|------------|
        | Var(W)    | g²/fan_in                  | g²/fan_in | g²/fan_in² |
        | lr, sgd   | r                          | 1         | 1/r        |
        | lr, adam  | 1                          | 1/r       | 1/r        |

    At r = 1 the rates are as usual: tune the learning rate there. Embeddings count as first layers. Widths are
    channels, and the optimiser is told of the multipliers through `lr_scale`. Attention should divide by d and not √d,
    which is the model's affair.

    Args:
        base_width: channels at which the learning rate was tuned.
        head: ``small`` as in the table; ``scaled`` is base_width times that variance, so that at the base width the
            head is as usual too, at the price of logits that shrink on the way to large widths; ``zero``.
        gain: g.
        distribution: law with that variance.
        bias: constant for biases, or ``torch``.

    Cost: no data pass.
    """

    def weight_of(growth: Callable[[Site], Growth]) -> Draw:
        def weight(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
            variance = resolve_gain(gain, site, context) ** 2 / site.fan_in
            if growth(site) == "output":
                variance *= {"small": 1.0, "scaled": base_width, "zero": 0.0}[head] / _width_in(site)
            return draw(site.shape, math.sqrt(variance), distribution, generator)

        return weight

    return _width_aware("mup", weight_of, base_width, bias, keep)


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
    g·√(out/in)·Q, whose norm is the target itself.

    Args:
        base_width: channels at which the learning rate was tuned.
        distribution: a law, or orthogonal.
        gain: g.
        bias: constant for biases, or ``torch``.

    Cost: no data pass.
    """
    unit = orthogonal(gain=1.0)

    def weight(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
        g, ratio = resolve_gain(gain, site, context), math.sqrt(site.fan_out / site.fan_in)
        if distribution == "orthogonal":
            return g * ratio * unit.weight(site, generator, context)
        return draw(site.shape, g / math.sqrt(site.fan_in) * min(1.0, ratio), distribution, generator)

    return _width_aware("spectral", lambda _growth: weight, base_width, bias, keep)


# ------------------------------------------------------------------ what they share
def _width_aware(
    name: str,
    weight_of: Callable[[Callable[[Site], Growth]], Draw],
    base_width: int,
    bias: Bias,
    keep: tuple[str, ...],
) -> Initializer:
    """An initialiser whose rules are built after the network was seen (which layers come first)."""

    def built(growth: Callable[[Site], Growth]) -> Initializer:
        return Initializer(
            name=name,
            weight=weight_of(growth),
            bias=bias_rule(bias),
            embedding=unit_normal,
            keep=keep,
            lr_scale=_lr_scale(growth, base_width),
        )

    def plan(model: nn.Module, sites: tuple[Site, ...], context: InitContext) -> tuple[Initializer, tuple[str, ...]]:
        del model, context
        return built(_growth_in(sites)), ()

    return replace(built(_growth_in(())), plan=plan)


def _growth_in(sites: tuple[Site, ...]) -> Callable[[Site], Growth]:
    """Growth of each parameter's shape with the width. First layers and all embeddings are fed by the data."""
    matrices = weights(sites)
    first = min((s.order for s in matrices), default=0)
    heads = {s.layer for s in matrices if s.role == "head"}

    def growth(site: Site) -> Growth:
        if site.role == "head":
            return "output"
        if site.role in ("embedding", "bias", "norm", "scale"):
            return "input"
        deeper = site.kind in ("rnn", "lstm", "gru") and "_l0" not in site.name.rpartition(".")[2]
        return "hidden" if site.order > first or site.role == "recurrent" or deeper else "input"

    def growth_or_fixed(site: Site) -> Growth:
        # a head's bias has as many numbers as there are classes, whatever the width
        return "output" if site.role == "bias" and site.layer in heads else growth(site)

    return growth_or_fixed


def _lr_scale(growth: Callable[[Site], Growth], base_width: int) -> LrScale:
    def lr_scale(site: Site, kind: StepKind) -> float:
        grows = growth(site)
        if site.kind in ("activation", "scale") or (grows == "output" and site.role == "bias"):
            return 1.0
        if grows == "input":
            return 1.0 if kind == "adaptive" else _width_out(site) / base_width
        if grows == "hidden" and kind == "sgd":
            return 1.0
        return base_width / _width_in(site)

    return lr_scale


def _width_in(site: Site) -> float:
    """Channels that one unit reads."""
    return float(layout(site).ins)


def _width_out(site: Site) -> float:
    """Units of the layer: of one gate, where several are stacked."""
    if site.role == "embedding":
        return float(site.shape[1])
    if len(site.shape) < 2:
        return math.prod(site.shape) / max(1, len(site.gates))
    form = layout(site)
    return form.groups * form.outs / max(1, len(site.gates))
