"""initlab's functions for other people's code. `import initlab` offers them and loads torch only when one is used."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from initlab import advice, inits, theory
from initlab.activations import activations_of, naming, recognise
from initlab.activations.modules import Pointwise
from initlab.advice import Advice
from initlab.advice.auto import auto
from initlab.errors import ConfigError
from initlab.network import sites
from initlab.network.graph import trace
from initlab.network.hooks import preserve_state
from initlab.spec import Activation, Batch, ElementwiseFn, InitContext, Prediction, Site
from initlab.theory import CriticalPoint, GainKind, MeanField

#: what is taken for an activation: a function of a tensor, a module, a catalogue name or formula, or one of ours
ActivationLike = ElementwiseFn | nn.Module | str | Activation


def gain(fn: ActivationLike, kind: GainKind = "forward") -> float:
    """The gain g of std(W) = g/√fan that goes with an activation, by adaptive quadrature.

    Args:
        fn: any elementwise function of a float64 tensor (``torch.tanh``, your own), a module, a catalogue name
            (``"gelu"``), or a formula (``"x*tanh(softplus(x))"``). Kinks need not be declared.
        kind: ``forward`` 1/√E[φ²], ``backward`` 1/√E[φ'²], ``geometric`` √(forward·backward), ``centred`` 1/√Var φ,
            ``torch`` as in `torch.nn.init.calculate_gain`.

    Raises:
        ConfigError: an unknown name, or an activation without that gain.

    Example:
        >>> round(gain("relu"), 6)
        1.414214
    """
    return theory.gain(as_activation(fn), kind)


def meanfield(fn: ActivationLike, *, sigma_w: float, sigma_b: float = 0.0) -> MeanField:
    """Fixed points q* and c*, χ₁, χ_q, the depth scales ξ and stability of a deep network of `fn` at (σ_w, σ_b).

    Args:
        fn: as in `gain`.
        sigma_w: √(fan_in · Var W), positive; sigma_b: standard deviation of the biases.

    Example:
        >>> round(meanfield("tanh", sigma_w=1.0, sigma_b=0.05**0.5).xi_c, 4)
        3.627
    """
    for key, value, least in (("sigma_w", sigma_w, "greater than 0"), ("sigma_b", sigma_b, "0 or greater")):
        if not (value > 0 or (key == "sigma_b" and value == 0)):
            raise ConfigError(key, value, f"must be {least}")
    return theory.meanfield(as_activation(fn), sigma_w=float(sigma_w), sigma_b=float(sigma_b))


def critical_point(fn: ActivationLike, *, sigma_b: float | None = None) -> CriticalPoint | None:
    """The edge of chaos: (σ_w, σ_b) with χ₁ = 1, and whether the signal is stable there; None where there is none.

    Args:
        fn: as in `gain`.
        sigma_b: bias scale; by default 0 where that is stable, else the smallest usual one that is.
    """
    return theory.critical_point(as_activation(fn), sigma_b)


def describe(model: nn.Module, example: Tensor | None = None) -> tuple[Site, ...]:
    """Every parameter of `model` as a `Site`: its role, fans, gates, residual branch and the activation it feeds.

    Args:
        example: an input batch on the model's device; without it the order is that of registration, and residual
            branches are not known.
    """
    return sites.describe(model, example)


def initialize(
    model: nn.Module,
    name: str,
    *,
    activation: ActivationLike | None = None,
    example: Tensor | None = None,
    data: Iterable[tuple[Tensor, Tensor]] | None = None,
    loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy,
    seed: int = 0,
    **options: Any,
) -> inits.Applied:
    """Give every parameter of `model` its first value, in place.

    Args:
        model: any module, on any device. Mode, buffers, gradients and random number generators stay as they were.
        name: an initialiser of the catalogue, with or without arguments: ``"he"``, ``"normal(std=0.1)"``.
        activation: what the network's activations are; by default each is recognised from its module.
        example: an input batch, from which the wiring is read (which activation follows which weight, which weights
            are residual branches). By default the first inputs of `data`, else the order of registration.
        data: batches (inputs, targets) for initialisers that look at data; a few are enough.
        loss: of outputs and targets, for those that look at gradients.
        seed: the same seed gives the same values on every device.
        options: keyword arguments of the initialiser.

    Returns:
        What was done to each parameter, and notes of the initialiser.

    Raises:
        ConfigError: an unknown name or option, or a network that the initialiser is not for.
        UnclaimedParameterError: a parameter of a module that initlab does not know; `keep=("name",)` lets it be.

    Example:
        >>> initialize(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), "he").rules["0.weight"]
        'he'
    """
    batches = None if data is None else tuple(data)
    if batches is not None and not batches:
        raise ConfigError("data", "[]", "must hold at least one (inputs, targets) batch")
    if example is None and batches is not None:
        example = batches[0][0][:2]
    described = sites.describe(model, example)
    default = as_activation(activation) if activation is not None else None
    found = activations_of(model, default)
    context = InitContext(
        activation=default or next(iter(found.values()), naming.parse_activation("identity")),
        activations=dict.fromkeys(found, default) if default is not None else found,
        batches=None if batches is None else _cycle(batches, loss),
    )
    if options:
        if "(" in name:
            raise ConfigError("name", name, "arguments stand either in the text or as keywords, not both")
        name = f"{name}({', '.join(f'{k}={v!r}' for k, v in options.items())})"
    init = inits.parse_initializer(name, more={"auto": auto})
    return inits.apply(model, described, init, context=context, seed=seed)


def predict(model: nn.Module, inputs: Tensor, *, activation: ActivationLike | None = None) -> Prediction:
    """What mean-field theory says of `model` as it is initialised now: signal, correlation and gradient by layer.

    Args:
        inputs: a batch of two examples or more, on the model's device.
        activation: as in `initialize`.
    """
    default = as_activation(activation) if activation is not None else None
    found = activations_of(model, default)
    context = InitContext(
        activation=default or next(iter(found.values()), naming.parse_activation("identity")), activations=found
    )
    with preserve_state(model):
        graph = trace(model.train(), inputs, moments=True)
    return theory.predict(graph, sites.describe(model, inputs[:2]), theory.scales(model), context)


def advise(
    model: nn.Module,
    batch: tuple[Tensor, Tensor],
    *,
    activation: ActivationLike | None = None,
    loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy,
    seed: int = 0,
) -> Advice:
    """Which initialisation to give `model`, from a look at each candidate before training; `model` stays as it is.

    Takes a copy of the model, a draw, two forward passes and a backward pass for each of about seven candidates.

    Args:
        batch: inputs and targets, on the model's device; a few dozen examples or more.
        activation: as in `initialize`. What the model has is not put in question.
        loss: of outputs and targets.
        seed: of the draws.

    Returns:
        The advice: `init` for `initialize`, what to expect, a confidence in words with its reason, and all options with
        their risk. Where theory is silent (recurrent layers, attention) it says so: `knows` is False, and `init` is
        what is customary.

    Raises:
        ConfigError: where no initialiser of the catalogue fits the network.

    Example:
        >>> x, y = torch.randn(64, 4), torch.randint(2, (64,))
        >>> initlab.advise(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), (x, y)).knows
        True
    """
    from copy import deepcopy

    inputs, targets = batch
    drawn = deepcopy(model)
    described = sites.describe(drawn, inputs[:2])
    if not described:
        raise ConfigError("model", None, "has no parameter that could be initialised")
    default = as_activation(activation) if activation is not None else None
    found = activations_of(drawn, default)
    context = InitContext(
        activation=default or next(iter(found.values()), naming.parse_activation("identity")),
        activations=dict.fromkeys(found, default) if default is not None else found,
        batches=_cycle((batch,), loss),
    )
    context = replace(context, sites=described, seed=seed)
    with torch.no_grad(), preserve_state(drawn):
        silence = float(loss(torch.zeros_like(drawn(inputs)), targets))
    options = advice.evaluate_options(
        drawn, described, context, activation=context.activation.name, seed=seed, untrained_loss=silence
    )
    if all(option.refused for option in options):
        raise ConfigError("model", None, f"no initialiser fits this network: {options[0].refused}")
    return advice.decide(options, {}, silent=advice.unpredicted_parts(described))


def as_activation(fn: ActivationLike) -> Activation:
    """`fn` as a catalogued activation; of a plain function or an unknown module, one made for it."""
    if isinstance(fn, Activation):
        return fn
    if isinstance(fn, str):
        return naming.parse_activation(fn)
    if isinstance(fn, nn.Module):
        return recognise(fn)

    def make(features: int | None = None) -> nn.Module:
        del features
        return Pointwise(made)

    made = Activation(name=getattr(fn, "__name__", type(fn).__name__), make=make, fn=fn)
    return made


def _cycle(
    batches: tuple[tuple[Tensor, Tensor], ...], loss: Callable[[Tensor, Tensor], Tensor]
) -> Callable[[int], Batch]:
    def batch(i: int) -> Batch:
        inputs, targets = batches[i % len(batches)]
        return Batch(inputs=inputs, targets=targets, loss=loss)

    return batch
