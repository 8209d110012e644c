"""Names an elementwise function by its values: the catalogue's activation that has them, else one of its own."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor, nn

from initlab.activations import gated, rectified
from initlab.activations.modules import Pointwise
from initlab.activations.naming import factories
from initlab.spec import Activation, ElementwiseFn

#: two functions that differ by less at every point of the grid are one
_TOLERANCE = 2e-6
#: the usual ones first: equal values get the better known name
_USUAL = ("relu", "gelu", "gelu_tanh", "silu", "tanh", "sigmoid", "elu", "selu", "leaky_relu", "softplus", "relu6",
          "hardswish", "mish", "quick_gelu", "squared_relu")  # fmt: skip
#: names that are the same function as a usual one, or none of a unit alone
_OTHER_NAMES = frozenset(("identity", "swish", "prelu", "expr"))
_REMEMBERED: OrderedDict[bytes, Activation] = OrderedDict()


def match_values(fn: ElementwiseFn, name: str) -> Activation:
    """The catalogue's activation with the values of `fn`; else an activation of its own, called `name`.

    Functions of equal values give one and the same `Activation`, so that quadrature is done once.

    Args:
        fn: an elementwise function of a float64 tensor.
    """
    values = _values(fn)
    for activation, known in _catalogue():
        if _agree(values, known):
            return activation
    sloped = _leaky(values)
    if sloped is not None:
        return sloped
    key = values.round(decimals=9).numpy().tobytes()
    if key not in _REMEMBERED:
        _REMEMBERED[key] = own_activation(fn, name)
        if len(_REMEMBERED) > 256:
            _REMEMBERED.popitem(last=False)
    return _REMEMBERED[key]


def own_activation(fn: ElementwiseFn, name: str) -> Activation:
    """The `Activation` of a function that the catalogue does not hold."""

    def make(features: int | None = None) -> nn.Module:
        del features
        return Pointwise(made)

    made = Activation(name=name, make=make, fn=fn)
    return made


@lru_cache(maxsize=256)
def match_gate(gate: Activation) -> Activation:
    """φ(h₁, h₂) = h₁·gate(h₂): the catalogue's gated activation where it holds one of that gate."""
    known = {"sigmoid": gated.glu, "silu": gated.swiglu, "gelu": gated.geglu, "relu": gated.reglu}
    if gate.name in known:
        return known[gate.name]()
    return gated.gated(f"gated_{gate.name}", gate.fn, kinks=gate.kinks)


def _grid() -> Tensor:
    return torch.cat(
        [torch.linspace(-9, 9, 181, dtype=torch.float64), torch.tensor([-0.013, 0.013, 2.7], dtype=torch.float64)]
    )


def _values(fn: Callable[[Tensor], Tensor]) -> Tensor:
    with torch.no_grad():
        return fn(_grid()).double()


@lru_cache(maxsize=1)
def _catalogue() -> tuple[tuple[Activation, Tensor], ...]:
    found: list[tuple[Activation, Tensor]] = []
    known = factories()
    for name in (*_USUAL, *sorted(n for n in known if n not in _USUAL and n not in _OTHER_NAMES)):
        try:
            activation = known[name]()
        except TypeError:  # needs arguments
            continue
        if activation.units == (1, 1) and activation.moments is None and not activation.layers:
            found.append((activation, _values(activation.fn)))
    return tuple(found)


def _agree(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and bool(((a - b).abs() <= _TOLERANCE * (1 + b.abs())).all())


def _leaky(values: Tensor) -> Activation | None:
    """A leaky ReLU of another slope."""
    x = _grid()
    slope = float(values[0] / x[0])
    if 0 < slope < 1 and _agree(values, torch.where(x > 0, x, slope * x)):
        return _leaky_relu(round(slope, 7))
    return None


@lru_cache(maxsize=64)
def _leaky_relu(slope: float) -> Activation:
    return rectified.leaky_relu(negative_slope=slope)
