"""Finds what parts of a recorded pass do, by computing them on numbers: elementwise functions and norms.

A part begins at one tensor that everything in it is computed from and ends at one call. It is an activation where each
entry of its output depends on one entry of its input, by the same function everywhere; it is a norm where its output
does not change with the scale of its input. Neither depends on how the part is written, or on what its class is called.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from initlab.activations.recognise import recognise
from initlab.network.calls import Call, Recording, Ref
from initlab.network.trials import Norm, affine_of, as_norm, compute, is_elementwise, of_a_row, refs_of

#: calls that draw random numbers or mix positions: never an elementwise function of their input
_NEVER = frozenset((
    "dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout", "feature_dropout",
    "rrelu", "rrelu_", "bernoulli", "bernoulli_", "normal_", "uniform_", "softmax", "log_softmax", "cat", "stack",
    "matmul", "bmm", "einsum", "__matmul__", "conv2d", "linear", "scaled_dot_product_attention", "cross_entropy",
    "written", "__setitem__", "gumbel_softmax", "multinomial",
))  # fmt: skip
_COMBINE = ("mul", "div", "sub", "add")
_NORMS = frozenset(("layer_norm", "rms_norm", "group_norm", "batch_norm", "instance_norm", "normalize"))
#: longest part that is tried as a norm, in calls
_LONGEST = 24


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
        self._longest: dict[int, Elementwise | None] = {}
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
            for read in call.inputs:
                i = read
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
        # an identity that is said to be an activation stays one
        if known.units == (1, 1) and known.moments is None and affine_of(known.fn) is None:
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
            if is_elementwise(whole, len(shape)):
                fn = of_a_row(whole, len(shape))
                affine = affine_of(fn)
                if affine is not None and wide:
                    return
                self.elementwise[call.index] = Elementwise(
                    source=ref, fn=fn, parameters=scalars, first=_first(part, begin), affine=affine
                )
                return
        if call.name in _NORMS or (len(part) > 1 and any(w in call.name for w in _COMBINE)):
            norm = as_norm(self._computed(part, ref), shape, ref)
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
            return compute(part, source, x, constant)

        return fn

    def _computed(self, part: list[Call], source: Ref) -> Callable[[Tensor], Tensor]:
        def constant(t: Tensor) -> Any:
            return t.detach().to("cpu", torch.float64) if t.dtype.is_floating_point else t.detach().cpu()

        return lambda x: compute(part, source, x, constant)

    # ---------------------------------------------------------- the longest elementwise part
    def longest(self, index: int) -> Elementwise | None:
        """The elementwise part that ends at a call, joined with those before it up to a parameter or a mixing call.

        A scale or shift by a parameter is a call of its own; constant factors belong to the function: the activation of
        ``sin(30 h)`` is a function of h.
        """
        if index not in self._longest:
            self._longest[index] = self._find_longest(index)
        return self._longest[index]

    def _find_longest(self, index: int) -> Elementwise | None:
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
            source=source, fn=fn, parameters=tuple(dict.fromkeys(parameters)), first=first, affine=affine_of(fn)
        )


def _first(part: list[Call], begin: int) -> int:
    return next((c.index for c in part if begin in c.inputs), part[0].index)
