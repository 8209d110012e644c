"""Several activations in one network: per layer, alternating, blended by learnt weights, or annealed.

Wherever one is named, a catalogue name (``gelu``), a name with arguments (``leaky_relu(negative_slope=0.2)``) or a
formula (``x*tanh(softplus(x))``) will do.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

import torch
from annotated_types import Gt, Le
from torch import Tensor, nn

from initlab.activations.modules import in_single_precision
from initlab.activations.naming import parse_activation
from initlab.core.factories import factory
from initlab.errors import ConfigError
from initlab.spec import Activation, ElementwiseFn


@factory
def per_layer(*, layers: Sequence[str]) -> Activation:
    """φₗ of layer l is the l-th of a list, φₗ' accordingly. Manessi & Rozza, ICPR 2018, on mixing by layer.

    To ask which layer an activation matters in. The list must be as long as the model has activations.

    Args:
        layers: an activation for each layer, first layer first.
    """
    return _from_list("per_layer", "activation.layers", layers, repeats=False)


@factory
def alternate(*, of: Sequence[str]) -> Activation:
    """φₗ of layer l is the (l mod n)-th of n, φₗ' accordingly. An ablation of per-layer choice, not from a paper.

    A list that begins again where the network is deeper, so that depth can be varied.

    Args:
        of: the activations, taken in turns.
    """
    return _from_list("alternate", "activation.of", of, repeats=True)


def _from_list(name: str, key: str, texts: Sequence[str], *, repeats: bool) -> Activation:
    if not texts:
        raise ConfigError(key, [], "must name at least one activation")
    layers = tuple(_parse_under_key(key, text) for text in texts)
    for text, layer in zip(texts, layers, strict=True):
        if layer.layers:
            raise ConfigError(key, text, "is itself a list of layers; write its members here")

    def make(features: int | None = None) -> nn.Module:
        del features
        raise ConfigError(
            "activation",
            name,
            "has another activation for each layer, and this model asks for one; use model=mlp, "
            "cnn, convnet or resnet, or one activation",
        )

    return Activation(name=name, make=make, fn=layers[0].fn, kinks=layers[0].kinks, layers=layers, repeats=repeats)


def _parse_under_key(key: str, text: str) -> Activation:
    """`parse_activation`, with errors under the configuration key of the text."""
    try:
        return parse_activation(text)
    except ConfigError as error:
        raise ConfigError(key, text, error.expected) from error


def _parse_elementwise(key: str, text: str) -> Activation:
    """Parses an activation that must be a function of one number without state."""
    found = _parse_under_key(key, text)
    if found.layers or found.units != (1, 1) or found.moments is not None:
        raise ConfigError(key, text, "must be elementwise: it takes several units, or another one for each layer")
    module = found.make(8)
    if any(True for _ in module.parameters()) or any(True for _ in module.buffers()):
        raise ConfigError(key, text, "must be a fixed function: it has parameters or state of its own")
    return found


# ------------------------------------------------------------------ a learnt blend
@factory
def blend(*, of: Sequence[str]) -> Activation:
    """φ(x) = Σ wᵢφᵢ(x), w the softmax of learnt numbers; φ' = Σ wᵢφᵢ'. Manessi & Rozza, ICPR 2018 (convex form).

    Each layer finds its own mixture: what it settles on is a reading (blend_relu, ...) and a figure of the report.
    Starts with equal weights.

    Args:
        of: two or more fixed elementwise activations.
    """
    if len(of) < 2:
        raise ConfigError("activation.of", list(of), "must name two or more activations")
    parts = tuple(_parse_elementwise("activation.of", text) for text in of)
    equal = (1 / len(parts),) * len(parts)

    def make(features: int | None = None) -> nn.Module:
        del features
        return Blend(activation, parts)

    activation = Activation(name="blend", make=make, fn=_sum(parts, equal), kinks=_kinks(parts))
    return activation


def _sum(parts: tuple[Activation, ...], weights: tuple[float, ...]) -> ElementwiseFn:
    def fn(x: Tensor) -> Tensor:
        total = weights[0] * parts[0].fn(x)
        for weight, part in zip(weights[1:], parts[1:], strict=True):
            total = total + weight * part.fn(x)
        return total

    return in_single_precision(fn)


def _kinks(parts: tuple[Activation, ...]) -> tuple[float, ...]:
    return tuple(sorted({k for part in parts for k in part.kinks}))


class Blend(nn.Module):
    """Parameter ``mix`` (parts,): the logits of the weights. The parts are functions, not modules of their own."""

    initlab_activation = True

    def __init__(self, start: Activation, parts: tuple[Activation, ...]) -> None:
        super().__init__()
        self.start = start
        self.parts = parts
        self.mix = nn.Parameter(torch.zeros(len(parts)))

    @property
    def activation(self) -> Activation:
        """The activation at the present weights."""
        if self.mix.is_meta or not bool(self.mix.detach().any()):
            return self.start
        weights = torch.softmax(self.mix.detach().double(), 0).tolist()
        return replace(self.start, fn=_sum(self.parts, tuple(weights)))

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same shape."""
        return in_single_precision(self._mixed)(x)

    def _mixed(self, x: Tensor) -> Tensor:
        weights = torch.softmax(self.mix.to(x.dtype), 0)
        total = weights[0] * self.parts[0].fn(x)
        for i, part in enumerate(self.parts[1:], start=1):
            total = total + weights[i] * part.fn(x)
        return total

    def readings(self) -> dict[str, Tensor]:
        """The weights, by part."""
        weights = torch.softmax(self.mix.detach(), 0)
        return {f"blend_{label}": weights[i] for i, label in enumerate(_labels(self.parts))}

    def extra_repr(self) -> str:
        return ", ".join(part.name for part in self.parts)


def _labels(parts: tuple[Activation, ...]) -> list[str]:
    """Unique names that may be part of a metric key."""
    labels: list[str] = []
    for part in parts:
        label = re.sub(r"[^0-9A-Za-z_]+", "_", part.name).strip("_")[:40]
        labels.append(label if label not in labels else f"{label}_{len(labels)}")
    return labels


# ------------------------------------------------------------------ one becoming another
@factory
def homotopy(*, start: str = "identity", end: str = "relu", until: Annotated[float, Gt(0), Le(1)] = 0.5) -> Activation:
    """φ(x) = (1 - t)a(x) + t·b(x), φ' = (1 - t)a' + tb', t from 0 to 1 over the first share of the updates.

    Bengio, Louradour, Collobert & Weston, ICML 2009, on continuation methods. The
    network begins as an easy one (linear) and ends as the one that is wanted.

    Args:
        start: a, the activation at the first update.
        end: b, the activation from share `until` of the updates on.
        until: in (0, 1].
    """
    a, b = _parse_elementwise("activation.start", start), _parse_elementwise("activation.end", end)

    def make(features: int | None = None) -> nn.Module:
        del features
        return Homotopy(activation, a, b, until)

    activation = Activation(name="homotopy", make=make, fn=a.fn, kinks=a.kinks)
    return activation


class Homotopy(nn.Module):
    """Buffer ``progress`` (): share of the updates that are done. Whoever trains calls `set_progress`."""

    initlab_activation = True
    progress: Tensor

    def __init__(self, begins: Activation, a: Activation, b: Activation, until: float) -> None:
        super().__init__()
        self.begins = begins
        self.a, self.b, self.until = a, b, until
        self.register_buffer("progress", torch.zeros(()))

    @property
    def activation(self) -> Activation:
        """The activation at the present progress."""
        t = 0.0 if self.progress.is_meta else float(self._t())
        if t == 0.0:
            return self.begins
        if t == 1.0:
            return replace(self.begins, fn=self.b.fn, kinks=self.b.kinks)
        return replace(self.begins, fn=_sum((self.a, self.b), (1 - t, t)), kinks=_kinks((self.a, self.b)))

    def set_progress(self, share: float) -> None:
        """Sets the share of the updates that are done, from 0 to 1."""
        self.progress.fill_(share)

    def _t(self) -> Tensor:
        return torch.clamp(self.progress / self.until, max=1.0)

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same shape."""
        return in_single_precision(self._between)(x)

    def _between(self, x: Tensor) -> Tensor:
        t = self._t().to(x.dtype)
        return (1 - t) * self.a.fn(x) + t * self.b.fn(x)

    def readings(self) -> dict[str, Tensor]:
        """t: 0 is the first activation, 1 the last."""
        return {"homotopy": self._t()}

    def extra_repr(self) -> str:
        return f"{self.a.name} to {self.b.name} until {self.until:g}"
