"""`nn.Module` classes of activations: pointwise, changing the number of units, or with learnable parameters.

Each carries its `spec.Activation` in the attribute ``activation``, by which `recognise` knows it, and none works in
place: probes keep the input of an activation, and a backward hook on an overwritten tensor would see the wrong one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Concatenate, ParamSpec

import torch
from torch import Tensor, nn

from initlab.errors import ConfigError
from initlab.spec import Activation, ElementwiseFn, GaussianMoments, TorchNonlinearity

#: a row of more numbers than this is told by its norm
_LONG = 8

P = ParamSpec("P")

#: starting value of a parameter: one number, or several in a row
Start = float | tuple[float, ...]


_HALF = (torch.float16, torch.bfloat16)


def in_single_precision(fn: Callable[Concatenate[Tensor, P], Tensor]) -> Callable[Concatenate[Tensor, P], Tensor]:
    """`fn`, computed in float32 where its input is float16 or bfloat16, as torch's own kernels do within one operation.

    A function of several operations would round after each of them, and x² is infinite in float16 beyond 255.
    """

    def wide(x: Tensor, *args: P.args, **kwargs: P.kwargs) -> Tensor:
        if x.dtype in _HALF:
            return fn(x.float(), *args, **kwargs).to(x.dtype)
        return fn(x, *args, **kwargs)

    return wide


def unit_dim(x: Tensor) -> int:
    """Dimension of the units: 1 for (B, N), (B, C, H, W) and (B, C, D, H, W), the last one for (B, T, N) and (N,)."""
    return 1 if x.dim() in (2, 4, 5) else x.dim() - 1


def need_features(features: int | None, name: str) -> int:
    """`features`, or a ConfigError where a module with parameters for each unit does not know their number."""
    if features is None:
        raise ConfigError(
            "activation",
            name,
            "keeps parameters for each unit and this model does not say how many there are; "
            "use model=mlp, cnn, convnet or resnet, or an activation that is the same for all units",
        )
    return features


class Pointwise(nn.Module):
    """An elementwise function without state."""

    initlab_activation = True

    def __init__(self, activation: Activation) -> None:
        super().__init__()
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same shape."""
        return self.activation.fn(x)

    def extra_repr(self) -> str:
        return self.activation.name


class Regrouping(nn.Module):
    """A function of several units: it outputs another number of units than it receives, or mixes neighbours."""

    initlab_activation = True

    def __init__(self, activation: Activation, compute: Callable[[Tensor, int], Tensor], group: int) -> None:
        super().__init__()
        self.activation = activation
        self.compute = compute
        self.group = group

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, ...) to (B, N · sent / received, ...)."""
        dim = unit_dim(x)
        _whole_groups(x.shape[dim], self.group, self.activation.name)
        return self.compute(x, dim)

    def extra_repr(self) -> str:
        return self.activation.name


def _whole_groups(units: int, group: int, name: str) -> None:
    if units % group:
        raise ConfigError("model.width", units, f"must be a multiple of {group} for activation={name}")


class Learned(nn.Module):
    """A function with learnable parameters, shared by all units or separate for each unit.

    Args:
        start: the activation as it begins.
        compute: ``compute(x, **parameters)``; a parameter that is a row of numbers has them along dimension 0.
        values: parameter name → starting value.
        features: number of units where each has parameters of its own.
    """

    initlab_activation = True

    def __init__(
        self, start: Activation, compute: Callable[..., Tensor], values: Mapping[str, Start], features: int | None
    ) -> None:
        super().__init__()
        self.start = start
        self.compute = compute
        self.values = dict(values)
        self.features = features
        for name, value in self.values.items():
            at = torch.tensor(value)
            wide = at if features is None else at[..., None].expand(*at.shape, features).clone()
            self.register_parameter(name, nn.Parameter(wide))

    @property
    def activation(self) -> Activation:
        """What it is now; with parameters for each unit, what every unit began as."""
        parameters = dict(self.named_parameters(recurse=False))
        if self.features is not None or next(iter(parameters.values())).is_meta:
            return self.start
        if all(torch.equal(p.detach(), p.new_tensor(self.values[n])) for n, p in parameters.items()):
            return self.start  # the same function object, whose quadrature is remembered
        frozen = {n: p.detach().to("cpu", torch.float64, copy=True) for n, p in parameters.items()}
        compute = self.compute

        def fn(x: Tensor) -> Tensor:
            return compute(x, **{n: v.to(x) for n, v in frozen.items()})

        return replace(self.start, fn=in_single_precision(fn))

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, ...) to the same shape."""
        behind = (1,) * (x.dim() - 1 - unit_dim(x)) if self.features is not None else ()
        parameters = {n: p.reshape((*p.shape, *behind)) for n, p in self.named_parameters(recurse=False)}
        if x.dtype in _HALF:
            return self.compute(x.float(), **{n: p.float() for n, p in parameters.items()}).to(x.dtype)
        return self.compute(x, **parameters)

    def readings(self) -> dict[str, Tensor]:
        """Mean of each parameter over the units; of a row of numbers, of each number, or the norm of a long row."""
        found: dict[str, Tensor] = {}
        for name, parameter in self.named_parameters(recurse=False):
            p = parameter.detach()
            if isinstance(self.values[name], tuple) and len(p) > _LONG:
                found[f"act_{name}_norm"] = p.norm()
            elif isinstance(self.values[name], tuple):
                found |= {f"act_{name}{i}": p[i].mean() for i in range(len(p))}
            else:
                found["beta" if name == "beta" else f"act_{name}"] = p.mean()
        return found

    def extra_repr(self) -> str:
        return self.start.name if self.features is None else f"{self.start.name}, features={self.features}"


# ------------------------------------------------------------------ from functions to activations
def pointwise(name: str, fn: ElementwiseFn, *, kinks: tuple[float, ...] = ()) -> Activation:
    """Builds the activation of an elementwise function that torch.nn has no module for."""

    def make(features: int | None = None) -> nn.Module:
        del features
        return Pointwise(activation)

    activation = Activation(name=name, make=make, fn=in_single_precision(fn), kinks=kinks)
    return activation


def from_torch(
    name: str,
    kind: Callable[..., nn.Module],
    fn: ElementwiseFn,
    *arguments: float,
    kinks: tuple[float, ...] = (),
    torch_name: TorchNonlinearity | None = None,
    torch_param: float | None = None,
) -> Activation:
    """Builds the activation of a module of torch.nn with `arguments`."""

    def make(features: int | None = None) -> nn.Module:
        # torch's first argument is often `inplace`: the number of units must not reach it
        del features
        return kind(*arguments)

    return Activation(name=name, make=make, fn=fn, kinks=kinks, torch_name=torch_name, torch_param=torch_param)


def regrouping(
    name: str,
    compute: Callable[[Tensor, int], Tensor],
    fn: ElementwiseFn,
    *,
    units: tuple[int, int],
    group: int,
    moments: GaussianMoments,
    kinks: tuple[float, ...] = (),
    gate: Activation | None = None,
) -> Activation:
    """Builds the activation of a function of several units, ``compute(x, dim)``, in groups of `group`."""

    def make(features: int | None = None) -> nn.Module:
        if features is not None:
            _whole_groups(features, group, name)
        return Regrouping(activation, compute, group)

    activation = Activation(name=name, make=make, fn=fn, kinks=kinks, units=units, moments=moments, gate=gate)
    return activation


def learnable_activation(
    name: str,
    compute: Callable[..., Tensor],
    values: Mapping[str, Start],
    *,
    per_channel: bool,
    kinks: tuple[float, ...] = (),
) -> Activation:
    """Builds the activation of a function with learnable parameters that start at `values`."""

    def fn(x: Tensor) -> Tensor:
        return compute(x, **{n: x.new_tensor(v) for n, v in values.items()})

    def make(features: int | None = None) -> nn.Module:
        return Learned(activation, compute, values, need_features(features, name) if per_channel else None)

    activation = Activation(name=name, make=make, fn=in_single_precision(fn), kinks=kinks)
    return activation
