"""Initialisers for residual networks: Fixup, SkipInit, LayerScale and others make the branches small or zero.

A network of L branches with He's weights doubles its mean square at every sum. Each scheme here knows from
`Site.branch` where a weight stands: in which of `count` branches, and whether it is the last of its `length` layers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from initlab.core.factories import factory
from initlab.errors import ConfigError
from initlab.inits.laws import Bias, bias_rule, draw
from initlab.inits.scaled import Gain, Mode, he, xavier
from initlab.inits.zero_branches import refuse_dead
from initlab.spec import Branch, Draw, InitContext, Initializer, PositiveFloat, Site

Check = Callable[[tuple[Site, ...], InitContext], None]


@factory
def fixup(*, mode: Mode = "fan_in", gain: Gain = "auto", keep: tuple[str, ...] = ()) -> Initializer:
    """He's weights times L^{-1/(2m-2)} in branches of m layers; each branch's last layer and the head are zero.

    Zhang, Dauphin & Ma, ICLR 2019. At the start every block passes on its input, and the loss is that of a network
    that knows nothing, log(classes). Biases are 0, multipliers of branches 1. A branch of one layer is all zero.

    Args:
        mode: the fan; the authors' code uses fan_out.

    Refuses networks without residual branches, and norms within them (the scheme stands in for norms). Where an
    activation with φ'(0) = 0 (ReLU) follows a zero layer *within* its branch, no gradient ever passes: use
    `skipinit`. That is refused too, where there are data to see it by. Cost: one forward and backward pass to see.
    """
    base = he(gain=gain, mode=mode, keep=keep)

    def check(sites: tuple[Site, ...], context: InitContext) -> None:
        del context
        _need_branches("fixup", sites)
        norm = next((s for s in sites if s.role == "norm" and s.branch is not None), None)
        if norm is not None:
            raise ConfigError(
                "init", "fixup", f"is for branches without norms, and {norm.name} is one; use init=zero_gamma"
            )

    def weight(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
        branch = site.branch
        if site.role == "head" or (branch is not None and branch.is_last):
            return torch.zeros(site.shape)
        values = base.weight(site, generator, context)
        return values if branch is None else values * branch.count ** (-1 / (2 * branch.length - 2))

    return replace(base, name="fixup", weight=weight, check=check, adapt=(refuse_dead("fixup", _is_last_weight),))


@factory
def skipinit(*, alpha: float = 0.0, gain: Gain = "auto", bias: Bias = 0.0, keep: tuple[str, ...] = ()) -> Initializer:
    """x + αf(x) with a learned α that starts as 0; f is He's.

    SkipInit (De & Smith, NeurIPS 2020) and ReZero (Bachlechner et al., UAI 2021). Each block passes on its input at
    first; α learns at once, the weights of the branch as soon as α is not zero.

    Refuses networks without multipliers on their branches. Cost: no data pass.
    """
    return _multiplier_init("skipinit", alpha, he(gain=gain, bias=bias, keep=keep))


@factory
def layer_scale(
    *, value: PositiveFloat = 0.1, gain: Gain = "auto", bias: Bias = 0.0, keep: tuple[str, ...] = ()
) -> Initializer:
    """x + λf(x) with learned multipliers that start small. LayerScale, Touvron et al., ICCV 2021; f is He's.

    Args:
        value: 0.1 up to 18 layers, 1e-5 up to 24, 1e-6 beyond, say the authors.

    Refuses networks without multipliers on their branches. Cost: no data pass.
    """
    return _multiplier_init("layer_scale", value, he(gain=gain, bias=bias, keep=keep))


@factory
def zero_gamma(*, gain: Gain = "auto", bias: Bias = 0.0, keep: tuple[str, ...] = ()) -> Initializer:
    """The last norm of each residual branch has γ = 0, so that the block passes on its input; the rest is He's.

    Goyal et al., 2017, section 5.1. Refuses networks whose branches do not end in a norm, and branches that could
    never wake, as `fixup` does.
    """

    def check(sites: tuple[Site, ...], context: InitContext) -> None:
        del context
        _need_branches("zero_gamma", sites)
        if not any(s.role == "norm" and _is_last(s) for s in sites):
            raise ConfigError(
                "init", "zero_gamma", "needs norms at the ends of the branches; set model.norm=batch or use init=fixup"
            )

    def norm(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
        del generator, context
        return torch.zeros(site.shape) if _is_last(site) else torch.ones(site.shape)

    step = refuse_dead("zero_gamma", lambda site: site.role == "norm" and _is_last(site))
    return replace(he(gain=gain, bias=bias, keep=keep), name="zero_gamma", norm=norm, check=check, adapt=(step,))


@factory
def residual_scaled(
    *, power: PositiveFloat = 0.5, gain: Gain = "auto", bias: Bias = 0.0, keep: tuple[str, ...] = ()
) -> Initializer:
    """He's weights, and those of the last layer of each of L branches times L^{-power}.

    With power 1/2 the mean square grows by (1 + 1/L)^L < e over the whole network instead of 2^L (Hayou et al., Stable
    ResNet, AISTATS 2021). Refuses networks without residual branches. Cost: no data pass.
    """
    base = he(gain=gain, bias=bias, keep=keep)

    def weight(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
        values = base.weight(site, generator, context)
        return values * site.branch.count**-power if site.branch is not None and site.branch.is_last else values

    return replace(base, name="residual_scaled", weight=weight, check=_needs_branches("residual_scaled"))


@factory
def gpt2(*, std: PositiveFloat = 0.02, bias: Bias = 0.0, keep: tuple[str, ...] = ()) -> Initializer:
    """N(0, 0.02²) for weights and embeddings; the last layer of each of L branches times 1/√L.

    Radford et al., 2019. L counts branches, two in a transformer's layer. The standard deviation does not look at the
    width: 0.02 is about 1/√fan_in at 2,500 units. Refuses networks without residual branches. Cost: no data pass.
    """

    def weight(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
        del context
        last = site.branch is not None and site.branch.is_last
        shrink = math.sqrt(site.branch.count) if last and site.branch is not None else 1.0
        return draw(site.shape, std / shrink, "normal", generator)

    return Initializer(
        name="gpt2",
        weight=weight,
        bias=bias_rule(bias),
        embedding=weight,
        position=weight,
        keep=keep,
        check=_needs_branches("gpt2"),
    )


@factory
def deepnorm(*, bias: Bias = 0.0, keep: tuple[str, ...] = ()) -> Initializer:
    """Xavier-normal weights with gain β = (8N)^{-1/4} in the branches, 1 for queries, keys and all outside of them.

    Wang et al., 2022, for the encoder of a post-norm transformer of N layers, two branches each. Their block is
    LN(αx + f(x)) with α = (2N)^{1/4}, which the norm makes equal to LN(x + f(x)/α): multipliers of branches, where the
    network has them, start as 1/α.

    Refuses networks without residual branches, and pre-norm ones, x + f(LN(x)): a norm before a branch takes the signal
    to scale 1 whatever the sum was, and no norm divides the sum by α. Cost: no data pass.
    """
    base = xavier(distribution="normal", bias=bias, keep=keep)

    def weight(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
        values = base.weight(site, generator, context)
        if site.branch is None or _is_query_or_key(site):
            return values
        return values * (8 * _layers(site.branch)) ** -0.25

    def scale(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
        del generator
        branch = site.branch or next((s.branch for s in context.sites if s.branch is not None), None)
        return torch.full(site.shape, 1.0 if branch is None else (2 * _layers(branch)) ** -0.25)

    def check(sites: tuple[Site, ...], context: InitContext) -> None:
        del context
        _need_branches("deepnorm", sites)
        norm = _norm_before_branch(sites)
        if norm is not None:
            raise ConfigError(
                "init",
                "deepnorm",
                f"is for post-norm networks, LN(x + f(x)), and {norm.name} stands before the weights of its branch "
                "(pre-norm); use init=gpt2 or init=residual_scaled",
            )

    return replace(base, name="deepnorm", weight=weight, scale=scale, check=check)


# ------------------------------------------------------------------ what they share
def _multiplier_init(name: str, value: float, base: Initializer) -> Initializer:
    def check(sites: tuple[Site, ...], context: InitContext) -> None:
        del context
        if not any(s.kind == "scale" for s in sites):
            raise ConfigError(
                "init",
                name,
                "needs multipliers on the residual branches; this network has none: model.branch_scale=true"
                " (learned for model=gpt and model=vit)",
            )

    return replace(base, name=name, scale=_fill_with(value), check=check)


def _fill_with(value: float) -> Draw:
    def fill(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
        del generator, context
        return torch.full(site.shape, float(value))

    return fill


def _needs_branches(name: str) -> Check:
    def check(sites: tuple[Site, ...], context: InitContext) -> None:
        del context
        _need_branches(name, sites)

    return check


def _need_branches(name: str, sites: tuple[Site, ...]) -> None:
    if not any(s.branch is not None for s in sites):
        raise ConfigError("init", name, "needs residual branches; this network has none: use init=he, or model=resnet")


def _norm_before_branch(sites: tuple[Site, ...]) -> Site | None:
    """The first norm within a branch that comes before all weights of that branch."""
    first: dict[int, int] = {}
    for s in sites:
        if s.branch is not None and s.role in ("weight", "recurrent"):
            first[s.branch.index] = min(s.order, first.get(s.branch.index, s.order))
    norms = (s for s in sites if s.role == "norm" and s.branch is not None)
    return next((s for s in norms if s.branch is not None and s.order < first.get(s.branch.index, 0)), None)


def _is_last(site: Site) -> bool:
    return site.branch is not None and site.branch.is_last


def _is_last_weight(site: Site) -> bool:
    return site.role in ("weight", "recurrent") and _is_last(site)


def _layers(branch: Branch) -> float:
    """Layers of a transformer, of two branches each."""
    return max(1.0, branch.count / 2)


def _is_query_or_key(site: Site) -> bool:
    separate = site.name.rpartition(".")[2] in ("q_proj_weight", "k_proj_weight")
    return separate or (len(site.gates) == 1 and site.gates[0].name in ("q", "k"))
