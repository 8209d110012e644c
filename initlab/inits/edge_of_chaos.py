"""Weights and biases by (σ_w, σ_b): any point of the phase diagram, or the activation's edge of chaos."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from initlab.core.factories import factory
from initlab.errors import ConfigError
from initlab.inits.laws import Distribution, draw, unit_normal
from initlab.inits.orthogonal import orthogonal
from initlab.inits.streaming import exclude_kept
from initlab.spec import Activation, InitContext, Initializer, NonNegativeFloat, PositiveFloat, Site
from initlab.theory.critical import CriticalPoint, critical_point


@factory
def edge_of_chaos(
    *,
    sigma_b: NonNegativeFloat | None = None,
    orthogonal_weights: bool = False,
    distribution: Distribution = "normal",
    scale_input: bool = True,
    keep: tuple[str, ...] = (),
) -> Initializer:
    """W ~ (0, σ_w²/fan_in), b ~ N(0, σ_b²) with χ₁ = σ_w² E[φ'(√q* z)²] = 1.

    Poole et al., NeurIPS 2016; Schoenholz et al., ICLR 2017; Hayou et al., ICML 2019. The gradient's norm is flat in
    depth where the signal sits at its fixed point q*; the first layer is scaled so that it does (otherwise the signal
    needs ξ_q layers to get there). Where a fixed point is unstable, as GELU's and SiLU's below a threshold of σ_b, the
    note says so; by default the smallest usual σ_b is taken at which it is stable. Refuses activations without a
    critical point (softplus). No data needed, except for `scale_input`, which looks at the inputs' mean square.

    Args:
        sigma_b: standard deviation of the biases; None takes 0 where that is stable, else the smallest stable choice.
        orthogonal_weights: σ_w·Q instead of Gaussian weights: equal singular values (Pennington et al., 2017).
        distribution: law of Gaussian weights.
        scale_input: scale the first layer so that its output has mean square q*.
        keep: name patterns of parameters that keep their module's own value.
    """

    def point(site: Site, context: InitContext) -> CriticalPoint:
        activation = context.after(site) or context.before(site) or context.activation
        return _point(activation, sigma_b)

    def weight(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
        if context.before(site) is None and context.after(site) is None:
            return draw(site.shape, 1 / math.sqrt(site.fan_in), distribution, generator)
        sigma_w = point(site, context).sigma_w
        if orthogonal_weights:
            return orthogonal(gain=sigma_w).weight(site, generator, context)
        return draw(site.shape, sigma_w / math.sqrt(site.fan_in), distribution, generator)

    def bias(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
        if context.after(site) is None:
            return torch.zeros(site.shape)
        return torch.empty(site.shape).normal_(0.0, 1.0, generator=generator) * point(site, context).sigma_b

    def check(sites: tuple[Site, ...], context: InitContext) -> None:
        for site in sites:
            if site.role == "weight" and site.activation is not None:
                point(site, context)

    def scaled(model: nn.Module, sites: tuple[Site, ...], context: InitContext) -> tuple[str, ...]:
        return _notes(context, sites, sigma_b) + (_scale_first(model, sites, context, sigma_b) if scale_input else ())

    def sigmas(activation: Activation) -> tuple[float, float]:
        found = _point(activation, sigma_b)
        return found.sigma_w, found.sigma_b

    return Initializer(
        name="edge_of_chaos",
        weight=weight,
        bias=bias,
        embedding=unit_normal,
        keep=keep,
        check=check,
        adapt=(exclude_kept(scaled, keep),),
        sigmas=sigmas,
    )


@factory
def mean_field(
    *,
    sigma_w: PositiveFloat = 1.0,
    sigma_b: NonNegativeFloat = 0.0,
    distribution: Distribution = "normal",
    keep: tuple[str, ...] = (),
) -> Initializer:
    """W ~ (0, σ_w²/fan_in), b ~ N(0, σ_b²) in every layer: the ensemble of mean-field theory (Poole et al., 2016).

    For experiments on the phase diagram: the same (σ_w, σ_b) whatever the activation; heads as every other layer.
    """

    def weight(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
        del context
        return draw(site.shape, sigma_w / math.sqrt(site.fan_in), distribution, generator)

    def bias(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
        del context
        return torch.empty(site.shape).normal_(0.0, 1.0, generator=generator) * sigma_b

    return Initializer(
        name="mean_field",
        weight=weight,
        bias=bias,
        embedding=unit_normal,
        keep=keep,
        sigmas=lambda activation: (sigma_w, sigma_b),
    )


def _point(activation: Activation, sigma_b: float | None) -> CriticalPoint:
    found = critical_point(activation, sigma_b)
    if found is None:
        where = "" if sigma_b is None else f" at sigma_b={sigma_b:g}"
        raise ConfigError(
            "init",
            "edge_of_chaos",
            f"{activation.name} has no critical point{where}; use init=he, or another activation",
        )
    return found


def _notes(context: InitContext, sites: tuple[Site, ...], sigma_b: float | None) -> tuple[str, ...]:
    notes: list[str] = []
    for activation in {a.name: a for s in sites if (a := context.after(s)) is not None}.values():
        point = _point(activation, sigma_b)
        kind = "stable" if point.stable else f"UNSTABLE (χ_q = {point.chi_q:.3f}): the signal leaves it with depth"
        where = "" if math.isnan(point.q_star) else f", q* = {point.q_star:.4g}"
        notes.append(f"{activation.name}: σ_w = {point.sigma_w:.6g}, σ_b = {point.sigma_b:g}{where}, {kind}")
    return tuple(notes)


def _scale_first(
    model: nn.Module, sites: tuple[Site, ...], context: InitContext, sigma_b: float | None
) -> tuple[str, ...]:
    """Scales each weight that reads the network's input so that its output's mean square is q*; returns notes."""
    if context.batches is None:
        return ("the first layer was not scaled: no data to take the inputs' mean square from",)
    inputs = context.batches(0).inputs
    if not isinstance(inputs, torch.Tensor) or not inputs.is_floating_point():
        return ()
    square = float(inputs.float().square().mean())
    parameters = dict(model.named_parameters())
    notes: list[str] = []
    for site in sites:
        activation = context.after(site)
        if site.role != "weight" or activation is None or context.before(site) is not None or site.branch is not None:
            continue
        point = _point(activation, sigma_b)
        wanted = point.q_star - point.sigma_b**2
        if math.isnan(point.q_star) or wanted <= 0 or square <= 0:
            continue
        factor = math.sqrt(wanted / (point.sigma_w**2 * square))
        with torch.no_grad():
            parameters[site.name].mul_(factor)
        notes.append(f"{site.name} scaled by {factor:.4g}, so that the signal starts at q* = {point.q_star:.4g}")
    return tuple(notes)
