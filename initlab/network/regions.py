"""Finds what parts of a recorded pass do, by computing them on numbers: elementwise functions and norms.

A part begins at one tensor that everything in it is computed from and ends at one call. It is an activation where each
entry of its output depends on one entry of its input, by the same function everywhere; it is a norm where its output
does not change with the scale of its input. Neither depends on how the part is written, or on what its class is called.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from initlab.activations.recognise import recognise
from initlab.network.record import Call, Recording, Ref, substituted

#: calls that draw random numbers or mix positions: never an elementwise function of their input
_NEVER = frozenset((
    "dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout", "feature_dropout",
    "rrelu", "rrelu_", "bernoulli", "bernoulli_", "normal_", "uniform_", "softmax", "log_softmax", "cat", "stack",
    "matmul", "bmm", "einsum", "__matmul__", "conv2d", "linear", "scaled_dot_product_attention", "cross_entropy",
    "written", "__setitem__", "gumbel_softmax", "multinomial",
))  # fmt: skip
_CASTS = frozenset(("to", "float", "double", "half", "bfloat16", "type_as", "type", "contiguous", "detach", "clone"))
_COMBINE = ("mul", "div", "sub", "add")
_NORMS = frozenset(("layer_norm", "rms_norm", "group_norm", "batch_norm", "instance_norm", "normalize"))
#: longest part that is tried as a norm, in calls
_LONGEST = 24
#: largest tensor on which a norm is tried, in entries
_LARGEST = 2_000_000


@dataclass(frozen=True, kw_only=True)
class Norm:
    """A scale-invariant part: mean square of its output, whether it removes the mean and looks at other examples."""

    source: Ref
    level: float
    centred: bool
    over_examples: bool


@dataclass(frozen=True, kw_only=True)
class Elementwise:
    """An elementwise part: where it begins, the function, names of the scalar parameters in it, its first call."""

    source: Ref
    fn: Callable[[Tensor], Tensor]
    parameters: tuple[str, ...]
    first: int
    affine: tuple[float, float] | None


class Regions:
    """The elementwise parts and norms of one recorded pass."""

    def __init__(self, recording: Recording) -> None:
        self.calls = recording.calls
        self._above, self._depth = self._dominators()
        self.elementwise: dict[int, Elementwise] = {}
        self.norms: dict[int, Norm] = {}
        for call in self.calls:
            if call.op == "activation":
                self._module(call)
            elif self._plain(call):
                self._judge(call)

    # ---------------------------------------------------------- where a part begins
    def _dominators(self) -> tuple[list[int], list[int]]:
        """For each call the nearest one that every path to it passes, -1 where there is none; and their depth."""
        above, depth = [-1] * len(self.calls), [0] * len(self.calls)
        for call in self.calls:
            at: int | None = None
            for i in call.inputs:
                if at is None:
                    at = i
                while at != i and at >= 0 and i >= 0:
                    if depth[at] >= depth[i]:
                        at = above[at]
                    else:
                        i = above[i]
                at = at if at == i else -1
            above[call.index] = -1 if at is None else at
            depth[call.index] = 0 if at is None or at < 0 else depth[at] + 1
        return above, depth

    def _plain(self, call: Call) -> bool:
        return (
            call.func is not None and call.name not in _NEVER
            and all(u.kind in ("scale", "shift", "slope", "norm_scale", "norm_shift") for u in call.uses)
        )  # fmt: skip

    def _part(self, call: Call, begin: int) -> list[Call] | None:
        """The calls between `begin` and `call`, in order; None where one of them cannot be computed again."""
        found: set[int] = set()
        waiting = [call.index]
        while waiting:
            index = waiting.pop()
            if index == begin or index in found:
                continue
            if not self._plain(self.calls[index]) and self.calls[index].op != "activation":
                return None
            found.add(index)
            if len(found) > _LONGEST:
                return None
            waiting.extend(self.calls[index].inputs)
        return [self.calls[i] for i in sorted(found)]

    # ---------------------------------------------------------- what it does
    def _module(self, call: Call) -> None:
        if call.module is None or not call.inputs:
            return
        known = recognise(call.module)
        if known.units == (1, 1) and known.moments is None:
            if _affine(known.fn) is None:  # an identity that is said to be an activation stays one
                self.elementwise[call.index] = Elementwise(
                    source=Ref(call.inputs[0]), fn=known.fn, parameters=(), first=call.index, affine=None
                )

    def _judge(self, call: Call) -> None:
        begin = self._above[call.index]
        if begin < 0 or not call.dtype.is_floating_point:
            return
        part = self._part(call, begin)
        source = self.calls[begin]
        if not part or not source.dtype.is_floating_point:
            return
        read = {r for c in part for r in refs_of(c) if r.index == begin}
        if len(read) != 1:  # two tensors of one call: the parts of a split
            return
        ref = next(iter(read))
        shape = source.shape
        if call.shape != shape:
            return
        wide = [n for c in part for u in c.uses for n in u.names if u.rank]
        if len(part) == 1 and wide and call.name not in _NORMS:
            return  # a scale or a shift for each unit
        scalars = tuple(dict.fromkeys(n for c in part for u in c.uses for n in u.names))
        if call.name not in _NORMS:
            whole = self._function(part, ref)
            if _is_elementwise(whole, len(shape)):
                fn = _of_a_row(whole, len(shape))
                affine = _affine(fn)
                if affine is not None and wide:
                    return
                self.elementwise[call.index] = Elementwise(
                    source=ref, fn=fn, parameters=scalars, first=_first(part, begin), affine=affine
                )
                return
        if call.name in _NORMS or (len(part) > 1 and any(w in call.name for w in _COMBINE)):
            norm = _as_norm(self._computed(part, ref), shape, ref)
            if norm is not None:
                self.norms[call.index] = norm

    def _function(self, part: list[Call], source: Ref) -> Callable[[Tensor], Tensor]:
        """The part as a function of a tensor; tables of numbers in it are replaced by their mean."""

        def constant(t: Tensor) -> Any:
            if not t.dtype.is_floating_point:
                return t
            return (
                t.detach().to("cpu", torch.float64).mean()
                if t.numel() > 1 or t.dim() == 0
                else t.detach().double().cpu().reshape(())
            )

        def fn(x: Tensor) -> Tensor:
            return _compute(part, source, x, constant)

        return fn

    def _computed(self, part: list[Call], source: Ref) -> Callable[[Tensor], Tensor]:
        def constant(t: Tensor) -> Any:
            return t.detach().to("cpu", torch.float64) if t.dtype.is_floating_point else t.detach().cpu()

        return lambda x: _compute(part, source, x, constant)

    # ---------------------------------------------------------- the longest elementwise part
    def longest(self, index: int) -> Elementwise | None:
        """The elementwise part that ends at a call, joined with those before it up to a parameter or a mixing call.

        A scale or shift by a parameter is a call of its own; constant factors belong to the function: the activation of
        ``sin(30 h)`` is a function of h.
        """
        found = self.elementwise.get(index)
        if found is None or (found.affine is not None and found.parameters):
            return found
        fns, parameters, first, source = [found.fn], list(found.parameters), found.first, found.source
        while (before := self.elementwise.get(source.index)) is not None:
            if before.affine is not None and before.parameters:
                break
            fns.append(before.fn)
            parameters += before.parameters
            first, source = before.first, before.source
        if len(fns) == 1:
            return found
        chain = tuple(reversed(fns))

        def fn(x: Tensor) -> Tensor:
            for step in chain:
                x = step(x)
            return x

        return Elementwise(
            source=source, fn=fn, parameters=tuple(dict.fromkeys(parameters)), first=first, affine=_affine(fn)
        )


def _first(part: list[Call], begin: int) -> int:
    return next((c.index for c in part if begin in c.inputs), part[0].index)


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


def _compute(part: list[Call], source: Ref, x: Tensor, constant: Callable[[Tensor], Any]) -> Tensor:
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
        if call.name in _CASTS and args and isinstance(args[0], Tensor) and args[0].is_floating_point():
            if call.dtype.is_floating_point:
                values[call.index] = args[0]
                continue
        if call.name.endswith("_") or call.name.startswith("__i") or kwargs.get("inplace"):
            args = (args[0].clone(), *args[1:]) if args else args
        kwargs = {
            k: v for k, v in kwargs.items() if not (k == "dtype" and isinstance(v, torch.dtype) and v.is_floating_point)
        }
        values[call.index] = call.func(*args, **kwargs)
    return values[part[-1].index]


def _of_a_row(whole: Callable[[Tensor], Tensor], dims: int) -> Callable[[Tensor], Tensor]:
    """`whole`, which takes tensors of `dims` dimensions, as a function of any tensor."""

    def fn(x: Tensor) -> Tensor:
        return (
            whole(x.reshape(-1, *[1] * (dims - 1))).reshape(x.shape)
            if dims > 1
            else whole(x.reshape(-1)).reshape(x.shape)
        )

    return fn


def _is_elementwise(fn: Callable[[Tensor], Tensor], dims: int) -> bool:
    """Whether each entry of fn(x) depends on the same entry of x alone, by one function: tried on numbers."""
    shape = (3, *([1] * max(dims - 2, 0)), 8) if dims > 1 else (24,)
    generator = torch.Generator().manual_seed(7)
    x = torch.empty(shape, dtype=torch.float64).normal_(0.0, 1.5, generator=generator)
    other = torch.empty(shape, dtype=torch.float64).normal_(0.0, 1.5, generator=generator)
    half = torch.zeros(shape, dtype=torch.bool)
    half.view(-1)[::2] = True
    half.view(-1)[-1] = False
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
        torch.equal(y.nan_to_num(), again.nan_to_num())
        and _same(y[half], mixed[half]) and _same(y.flip(turned), flipped)
        and not _same(y, torch.zeros_like(y))
    )  # fmt: skip


def _same(a: Tensor, b: Tensor, tolerance: float = 1e-5) -> bool:
    return bool(torch.allclose(a.double(), b.double(), rtol=tolerance, atol=tolerance, equal_nan=True))


def _affine(fn: Callable[[Tensor], Tensor]) -> tuple[float, float] | None:
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


def _as_norm(fn: Callable[[Tensor], Tensor], shape: tuple[int, ...], source: Ref) -> Norm | None:
    """What `fn` is as a norm, None where it is not one: tried on numbers of the shape that it was called with."""
    small = (min(shape[0], 4), *shape[1:]) if len(shape) > 1 else shape
    if math.prod(small) > _LARGEST or len(shape) < 1 or math.prod(small) < 4:
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
