"""Tries what a part of a recorded pass does on numbers: elementwise or not, a straight line, a norm."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from initlab.activations.recognise import recognise
from initlab.network.calls import Call, Ref, substituted

_CASTS = frozenset(("to", "float", "double", "half", "bfloat16", "type_as", "type", "contiguous", "detach", "clone"))
#: largest tensor on which a norm is tried, in entries
_LARGEST = 2_000_000


@dataclass(frozen=True, kw_only=True)
class Norm:
    """A scale-invariant part: mean square of its output, whether it removes the mean and looks at other examples."""

    source: Ref
    level: float
    centred: bool
    over_examples: bool


def refs_of(call: Call) -> list[Ref]:
    """What a call reads, in the order of its arguments."""
    found: list[Ref] = []
    if call.op == "activation":
        return [Ref(i) for i in call.inputs]

    def collect(ref: Ref) -> Ref:
        found.append(ref)
        return ref

    substituted((call.args, call.kwargs), collect, lambda t: t)
    return found


def compute(part: list[Call], source: Ref, x: Tensor, constant: Callable[[Tensor], Any]) -> Any:
    values: dict[int, Any] = {}

    def value(ref: Ref) -> Any:
        if ref.index == source.index:
            return x
        out = values[ref.index]
        return out if isinstance(out, Tensor) else list(out)[ref.part]

    for call in part:
        if call.op == "activation":
            assert call.module is not None
            values[call.index] = recognise(call.module).fn(value(Ref(call.inputs[0])))
            continue
        assert call.func is not None
        args, kwargs = substituted((call.args, call.kwargs), value, constant)
        first = args[0] if args else None
        casts = call.name in _CASTS and call.dtype.is_floating_point
        if casts and isinstance(first, Tensor) and first.is_floating_point():
            values[call.index] = first
            continue
        if call.name.endswith("_") or call.name.startswith("__i") or kwargs.get("inplace"):
            args = (args[0].clone(), *args[1:]) if args else args
        kwargs = {
            k: v for k, v in kwargs.items() if not (k == "dtype" and isinstance(v, torch.dtype) and v.is_floating_point)
        }
        values[call.index] = call.func(*args, **kwargs)
    return values[part[-1].index]


def of_a_row(whole: Callable[[Tensor], Tensor], dims: int) -> Callable[[Tensor], Tensor]:
    """`whole`, which takes tensors of `dims` dimensions, as a function of any tensor."""

    def fn(x: Tensor) -> Tensor:
        return (
            whole(x.reshape(-1, *[1] * (dims - 1))).reshape(x.shape)
            if dims > 1
            else whole(x.reshape(-1)).reshape(x.shape)
        )

    return fn


def is_elementwise(fn: Callable[[Tensor], Any], dims: int) -> bool:
    """Whether each entry of fn(x) depends on the same entry of x alone, by one function: tried on numbers.

    A function that has no value on one side of zero, as the root or the logarithm of a mean, is none: a signal has
    both signs.
    """
    shape: tuple[int, ...] = (3, *([2] * max(dims - 2, 0)), 8) if dims > 1 else (24,)
    generator = torch.Generator().manual_seed(7)
    x = torch.empty(shape, dtype=torch.float64).normal_(0.0, 1.5, generator=generator)
    other = torch.empty(shape, dtype=torch.float64).normal_(0.0, 1.5, generator=generator)
    half = torch.rand(shape, generator=generator) < 0.5  # no pattern that a dimension could share
    turned = tuple(range(len(shape)))
    try:
        with torch.no_grad():
            y, mixed, flipped = fn(x.clone()), fn(torch.where(half, x, other)), fn(x.flip(turned))
            again = fn(x.clone())
    except Exception:  # what it is cannot be told on other shapes: no elementwise function
        return False
    if not isinstance(y, Tensor) or y.shape != x.shape or not y.is_floating_point():
        return False
    return (
        bool(torch.isfinite(y).all()) and torch.equal(y, again)
        and _same(y[half], mixed[half]) and _same(y.flip(turned), flipped)
        and not _same(y, torch.zeros_like(y))
    )  # fmt: skip


def _same(a: Tensor, b: Tensor, tolerance: float = 1e-5) -> bool:
    return bool(torch.allclose(a.double(), b.double(), rtol=tolerance, atol=tolerance, equal_nan=True))


def affine_of(fn: Callable[[Tensor], Any]) -> tuple[float, float] | None:
    """(slope, intercept) where `fn` is a straight line."""
    x = torch.linspace(-6, 6, 25, dtype=torch.float64)
    with torch.no_grad():
        try:
            y = fn(x).double()
        except Exception:  # somebody's function of other shapes only
            return None
    if y.shape != x.shape:
        return None
    slope = float((y[-1] - y[0]) / 12)
    line = y[12] + slope * x
    return (slope, float(y[12])) if _same(y, line, 1e-6) and math.isfinite(slope) else None


def as_norm(fn: Callable[[Tensor], Any], shape: tuple[int, ...], source: Ref) -> Norm | None:
    """What `fn` is as a norm, None where it is not one: tried on numbers of the shape that it was called with."""
    if not shape:
        return None
    small = [min(shape[0], 4), *shape[1:]] if len(shape) > 1 else list(shape)
    if math.prod(small) > _LARGEST or math.prod(small) < 4:
        return None
    generator = torch.Generator().manual_seed(11)
    x = torch.empty(small, dtype=torch.float64).normal_(0.3, 1.0, generator=generator)
    try:
        with torch.no_grad():
            y, scaled, moved = fn(x.clone()), fn(3 * x), fn(x + 1.7)
            flat = torch.cat([x[:1], 2 * x[1:] + 1]) if small[0] > 1 else x
            others = fn(flat)
    except Exception:  # a shape that it does not take
        return None
    if not isinstance(y, Tensor) or y.shape != x.shape or not bool(torch.isfinite(y).all()):
        return None
    if not _same(y, scaled, 2e-2) or float(y.std()) < 1e-6:
        return None
    return Norm(
        source=source, level=float(y.square().mean()), centred=_same(y, moved, 2e-2),
        over_examples=small[0] > 1 and not _same(y[:1], others[:1], 1e-6),
    )  # fmt: skip
