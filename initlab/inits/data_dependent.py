"""Data-dependent initialisation: channels standardised on data, layers scaled to learn at one rate."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from initlab.core.factories import factory
from initlab.inits.composition import Scheme, resolve
from initlab.inits.layout import from_parameter
from initlab.inits.piecewise import is_homogeneous
from initlab.inits.streaming import (
    batch_of,
    combine_checks,
    deterministic_training_mode,
    exclude_kept,
    require_data,
    stream,
    weights_by_layer,
)
from initlab.network.inputs import call, cloned
from initlab.spec import Batch, InitContext, Initializer, NonNegativeInt, Site

_DAMPING = 0.25
_RATE_TOLERANCE = 1.1
_CHUNKS = 4

Layer = tuple[Site, nn.Parameter, nn.Parameter | None]


@factory
def data_dependent(
    *, base: Scheme = "he", between: bool = True, steps: NonNegativeInt = 20, keep: tuple[str, ...] = ()
) -> Initializer:
    """Within each layer, mean 0 and variance 1 for every channel; between layers, one relative speed of learning.

    Krähenbühl, Doersch, Donahue & Darrell, ICLR 2016.

    Within: with m_k and s_k the mean and standard deviation of channel k over the batch, W_k ← W_k/s_k and
    b_k ← (b_k - m_k)/s_k, layer by layer in the order of the forward pass.

    Between: the relative rate of change C_l = √E‖∂ℓ/∂W_l‖² / ‖W_l‖ is made equal by W_l ← W_l·(C_l/C̄)^{α/2} with the
    geometric mean C̄ and α = 1/4, repeated. The factors have the product 1, so a homogeneous network computes the same
    up to what the means need; the variance of a layer's channels then is no longer 1, but one for all of them.

    Args:
        base: what draws the weights first.
        between: do the second step too.
        steps: of it, at most.

    Applies to linear layers and convolutions; recurrent layers, attention and embeddings keep the base's values, and
    activations that are not homogeneous get no second step; the notes tell. Layers without a bias keep their means.
    Refuses to work without data. Cost: one batch; one forward pass within, two passes and one backward a step between.
    """
    first = resolve(base, "init.base")

    def step(model: nn.Module, sites: tuple[Site, ...], context: InitContext) -> tuple[str, ...]:
        batch = batch_of(context, "data_dependent")
        layers = _layers(model, sites)
        others = [n for n in weights_by_layer(sites) if n not in layers]
        notes = [f"data_dependent: {name} keeps the values of its draw" for name in others]
        with deterministic_training_mode(model):
            _standardise(model, layers, batch.inputs)
            notes.append(f"data_dependent: channels of {len(layers)} layers have mean 0 and variance 1")
            bent = [
                a.name for s, *_ in layers.values() if (a := context.after(s)) is not None and not is_homogeneous(a)
            ]
            if between and bent:
                notes.append(f"data_dependent: layers were not equalised, {bent[0]} is not homogeneous")
            elif between and layers:
                notes.append(_equalise(model, layers, batch, steps))
        return tuple(notes)

    keep = (*first.keep, *keep)
    return replace(
        first,
        name="data_dependent",
        sigmas=None,
        keep=keep,
        adapt=(*first.adapt, exclude_kept(step, keep)),
        check=combine_checks(require_data("data_dependent"), first.check),
    )


def relative_rates(model: nn.Module, weights: list[nn.Parameter], batch: Batch) -> Tensor:
    """C_l = √E‖∂ℓ/∂W_l‖² / ‖W_l‖ of each weight, the mean being over quarters of the batch; float64."""
    squares = torch.zeros(len(weights), dtype=torch.float64)
    quarters: list[tuple[Any, Any]] = [(batch.inputs, batch.targets)]
    if isinstance(batch.inputs, Tensor) and isinstance(batch.targets, Tensor):
        quarters = list(zip(batch.inputs.chunk(_CHUNKS), batch.targets.chunk(_CHUNKS), strict=True))
    for x, y in quarters:
        with torch.enable_grad():
            gradients = torch.autograd.grad(
                batch.loss(call(model, cloned(x)), y), weights, allow_unused=True, materialize_grads=True
            )
        squares += torch.stack([g.float().square().sum() for g in gradients]).cpu()
    norms = torch.stack([w.detach().float().norm() for w in weights]).cpu()
    return (squares / len(quarters)).sqrt() / norms


def _layers(model: nn.Module, sites: tuple[Site, ...]) -> dict[str, Layer]:
    parameters = dict(model.named_parameters())
    biases = {s.layer: parameters[s.name] for s in sites if s.role == "bias"}
    return {
        s.layer: (s, parameters[s.name], biases.get(s.layer))
        for s in sites
        if s.role in ("weight", "head")
        and s.kind.startswith(("linear", "conv"))
        and s.alone
        and not s.dims
        and not s.tied
        and not _in_attention(s, sites)
    }


def _in_attention(site: Site, sites: tuple[Site, ...]) -> bool:
    """Whether a weight is the output projection within an nn.MultiheadAttention, a module that is never called."""
    return site.layer.endswith("out_proj") and any(
        s.kind == "attention" and s.layer == site.layer.rpartition(".")[0] for s in sites
    )


def _standardise(model: nn.Module, layers: dict[str, Layer], inputs: Any, *, scale: bool = True) -> None:
    """Scales each channel to mean 0 and variance 1, or to mean 0 only."""

    def visit(name: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> Tensor:
        site, weight, bias = layers[name]
        channels = (output.movedim(1, -1) if site.kind.startswith("conv") else output).flatten(0, -2).float()
        mean, std = channels.mean(0), channels.std(0, correction=0)
        # a channel that says the same of every example cannot be given a variance
        std = torch.where(std > 1e-12, std, torch.ones_like(std)) if scale else torch.ones_like(std)
        by_unit = from_parameter(site, weight.detach())
        by_unit.div_(std.view(*by_unit.shape[:2], *[1] * (by_unit.dim() - 2)))
        if bias is not None:
            bias.sub_(mean).div_(std)
        return module.forward(*args, **kwargs)

    stream(model, layers, inputs, visit)


def _equalise(model: nn.Module, layers: dict[str, Layer], batch: Batch, steps: int) -> str:
    """Repeats the damped step until the rates are within a tenth of one another; returns the note."""
    weights = [w for _, w, _ in layers.values()]
    rates = relative_rates(model, weights, batch)
    begin = _spread(rates)
    best, best_state = begin, [p.detach().clone() for p in _has_changed(layers)]
    for _ in range(steps):
        if _spread(rates) <= _RATE_TOLERANCE:
            break
        alive = rates > 0
        mean = rates[alive].log().mean()
        with torch.no_grad():
            for weight, rate in zip(weights, rates.tolist(), strict=True):
                if rate > 0:
                    weight.mul_(math.exp((math.log(rate) - float(mean)) * _DAMPING / 2))
        _standardise(model, layers, batch.inputs, scale=False)
        rates = relative_rates(model, weights, batch)
        if _spread(rates) < best:
            best, best_state = _spread(rates), [p.detach().clone() for p in _has_changed(layers)]
    with torch.no_grad():
        for parameter, value in zip(_has_changed(layers), best_state, strict=True):
            parameter.copy_(value)
    return f"data_dependent: fastest to slowest layer, relative to its size, was {begin:.3g} and is {best:.3g}"


def _has_changed(layers: dict[str, Layer]) -> list[nn.Parameter]:
    return [p for _, weight, bias in layers.values() for p in (weight, bias) if p is not None]


def _spread(rates: Tensor) -> float:
    alive = rates[rates > 0]
    return float(alive.max() / alive.min()) if len(alive) else 1.0
