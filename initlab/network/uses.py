"""What the parameters of a network are used for in a pass, read from the operations and not from names or classes.

A parameter is *contracted* where its entries are multiplied with a signal and summed (a matrix product, a convolution,
an einsum): fan_in is then the number of terms in a sum, whichever way the tensor lies. It is *looked up* where rows are
picked by an index, multiplied elementwise (*scale*), added (*shift*) or joined to the signal as a *token*.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from initlab.network.inputs import tensors
from initlab.network.modules import is_unmade
from initlab.network.use_kinds import (
    BATCHED,
    COPIES,
    LINEAR_CALLS,
    LOOKUPS,
    PRODUCTS,
    Derived,
    Use,
    convolution,
    elementwise_kind,
)


class Parameters:
    """Follows parameters, and what is computed from them, through the operations of a pass, by their memory."""

    def __init__(self, model: nn.Module) -> None:
        self.reached: set[str] = set()
        self._named = dict(model.named_parameters())
        self._ranges: dict[int, list[tuple[int, int, str]]] = {}
        for name, p in self._named.items():
            if p.numel() and not p.is_meta and not is_unmade(p):
                spans = self._ranges.setdefault(p.untyped_storage().data_ptr(), [])
                spans.append((int(p.storage_offset()), int(p.storage_offset() + p.numel()), name))
        self._derived: dict[int, Derived] = {}
        self._signals: set[int] = set()
        self._found: list[Use] = []

    # ---------------------------------------------------------- what a tensor is
    def parameter(self, tensor: Tensor) -> str | None:
        """Name of the parameter whose memory `tensor` lies in."""
        for low, high, name in self._ranges.get(_pointer(tensor), ()):
            if low <= tensor.storage_offset() < high:
                return name
        return None

    def derived(self, tensor: Tensor) -> Derived | None:
        """What `tensor` is, where it is a parameter, a view of one, or computed from parameters alone."""
        name = self.parameter(tensor)
        if name is not None:
            return Derived(names=(name,), value=tensor)
        return self._derived.get(_pointer(tensor))

    def is_derived(self, tensor: Tensor) -> bool:
        return self.derived(tensor) is not None

    def signal(self, tensor: Tensor) -> int:
        """Marks `tensor` as a signal; its memory's address."""
        pointer = _pointer(tensor)
        if pointer and pointer not in self._ranges:
            self._derived.pop(pointer, None)
            self._signals.add(pointer)
        return pointer

    def pointer_of_signal(self, tensor: Tensor) -> int:
        pointer = _pointer(tensor)
        return pointer if pointer in self._signals else 0

    def tokens(self, given: Any) -> Iterator[tuple[Use, Tensor]]:
        """Parameters among what a module was called with: learned queries, initial states."""
        for tensor in tensors(given):
            found = self.derived(tensor)
            if found is not None:
                self.reached.update(found.names)
                yield Use(kind="token", names=found.names, derived=found, makes_signal=True), tensor

    def read_by(self, module: nn.Module, name: str) -> None:
        """Every parameter of a module that is a node as a whole was read."""
        self.reached.update(f"{name}.{n}" if name else n for n, _ in module.named_parameters())
        self.reached.update(found for p in module.parameters() if (found := self.parameter(p)) is not None)

    # ---------------------------------------------------------- one call
    def begin(self) -> None:
        self._found = []

    def event(self, name: str, args: Any, kwargs: Any, output: Any) -> None:
        """One operation below a call."""
        given = list(tensors((args, kwargs)))
        derived = [(t, d) for t in given if (d := self.derived(t)) is not None]
        signal = any(_pointer(t) in self._signals for t in given)
        if derived:
            self._contracted(name, args, signal)
        if not derived and not signal:
            return
        for out in tensors(output):
            pointer = _pointer(out)
            if not pointer or pointer in self._ranges:
                continue
            if signal:
                self._derived.pop(pointer, None)
                self._signals.add(pointer)
            elif pointer not in self._signals:
                self._derive(pointer, name, out, derived)

    def _derive(self, pointer: int, name: str, out: Tensor, derived: list[tuple[Tensor, Derived]]) -> None:
        known = self._derived.get(pointer)
        if known is not None and len(derived) == 1 and derived[0][1] is known and out.numel() <= known.value.numel():
            if name.endswith("_"):  # changed in place: no longer a copy
                self._derived[pointer] = Derived(names=known.names, value=known.value, looked_up=known.looked_up)
            return
        names = dict.fromkeys(n for _, d in derived for n in d.names)
        largest = tuple(sorted(names, key=lambda n: -self._named[n].numel()))
        places = None
        if name in COPIES and len(derived) == 1:
            found = self._places(*derived[0])
            if found is not None and found.shape == out.shape:
                places = torch.empty_strided(out.shape, out.stride(), dtype=torch.int64).copy_(found)
        looked = name in LOOKUPS or any(d.looked_up for _, d in derived)
        self._derived[pointer] = Derived(names=largest, value=out.detach(), places=places, looked_up=looked)

    def _places(self, tensor: Tensor, derived: Derived) -> Tensor | None:
        """For each entry of a view, its place in the parameter, counted along the parameter's own dimensions."""
        name = self.parameter(tensor)
        if name is not None:
            parameter = self._named[name]
            if not parameter.is_contiguous():
                return None
            count = torch.arange(parameter.numel())
            return count.as_strided(tensor.shape, tensor.stride(), tensor.storage_offset() - parameter.storage_offset())
        if derived.places is None:
            return None
        return derived.places.as_strided(tensor.shape, tensor.stride(), tensor.storage_offset())

    # ---------------------------------------------------------- contractions
    def _contracted(self, name: str, args: Any, signal: bool) -> None:
        if name in PRODUCTS:
            first, second = (args[i] for i in PRODUCTS[name])
            for weight, other, summed in ((second, first, -2), (first, second, -1)):
                found = self.derived(weight)
                if found is None or (weight is first and self.is_derived(second)):
                    continue
                dim = max(weight.dim() + (-1 if name == "linear" else summed), 0)
                batch = (0,) if name in BATCHED else ()
                self._found.append(self._contraction(weight, found, {dim}, batch, self._is_input(other, signal)))
                return
        elif name == "convolution":
            x, weight = args[:2]
            found = self.derived(weight)
            if found is not None:
                self._found.append(convolution(weight, found, args[3:9], constant=self._is_input(x, signal)))
        elif name == "_trilinear" and (found := self.derived(args[1])) is not None:
            weight = args[1]
            self._found.append(Use(
                kind="contract", names=found.names, fan_in=float(math.prod(weight.shape[-2:])),
                fan_out=float(weight.shape[-3]), dims="oii", makes_signal=not signal,
            ))  # fmt: skip
        elif (
            name in LOOKUPS and isinstance(args[0], Tensor) and (found := self.derived(args[0])) is not None and signal
        ):
            width = float(math.prod(args[0].shape[1:]))
            self._found.append(Use(kind="lookup", names=found.names, fan_in=1.0, fan_out=width, derived=found))

    def _is_input(self, other: Tensor, signal: bool) -> bool:
        """Whether what is multiplied with a parameter is not a signal: a constant table, another parameter."""
        return not (signal and _pointer(other) in self._signals)

    def _contraction(
        self, weight: Tensor, found: Derived, contracted: set[int], batch: tuple[int, ...], constant: bool
    ) -> Use:
        shape = weight.shape
        batch = tuple(d for d in batch if weight.stride(d) != 0)
        fan_in = math.prod(shape[d] for d in contracted)
        fan_out = math.prod(n for d, n in enumerate(shape) if d not in contracted and d not in batch)
        if weight.dim() > 2 and not batch and weight.dim() - 1 not in contracted:
            fan_out = shape[-1]
        groups = math.prod(shape[d] for d in batch)
        return Use(
            kind="contract", names=found.names, fan_in=float(fan_in), fan_out=float(fan_out), groups=groups,
            dims=self._letters(weight, found, contracted, batch), derived=self._effective(weight, found),
            makes_signal=constant,
        )  # fmt: skip

    def _effective(self, weight: Tensor, found: Derived) -> Derived | None:
        copied = self.parameter(weight) is not None or found.places is not None
        return None if copied else found

    def _letters(self, weight: Tensor, found: Derived, contracted: set[int], batch: tuple[int, ...]) -> str:
        """A letter for each dimension of the parameter, from the way its entries lie in the factor `weight`."""
        parameter = self._named[found.names[0]]
        places = self._places(weight, found)
        if places is None:  # computed from the parameter: its shape tells, where it is that of the factor
            if found.value.shape != parameter.shape or found.value.dim() != 2:
                return ""
            turned = weight.stride() != found.value.stride() and weight.shape == found.value.T.shape
            return "".join("i" if (1 - d if turned else d) in contracted else "o" for d in range(2))
        letters = ["o"] * parameter.dim()
        for dim in range(weight.dim()):
            letter = "i" if dim in contracted else "g" if dim in batch else "o"
            if letter == "o" or weight.shape[dim] < 2:
                continue
            origin = tuple(slice(None) if d == dim else 0 for d in range(weight.dim()))
            at = places[origin].cpu()
            for d in reversed(range(parameter.dim())):
                if len((at % parameter.shape[d]).unique()) > 1:
                    letters[d] = letter
                at = at // parameter.shape[d]
        return "".join(letters)

    # ---------------------------------------------------------- what a call was
    def end(self, name: str, given: Any, inputs: tuple[int, ...]) -> tuple[Use, ...]:
        """The uses of parameters in the call that began with `begin`."""
        linear = name in LINEAR_CALLS
        uses: dict[str, Use] = {}
        for use in self._found:
            if not use.makes_signal or (linear and not inputs) or linear:
                uses.setdefault(use.names[0], use)
        self._found = []
        if not inputs and not uses:
            return ()
        at: list[tuple[Tensor, Derived]] = [(t, d) for t in tensors(given) if (d := self.derived(t)) is not None]
        for tensor, found in at:
            if not any(n in uses for n in found.names):
                kind = elementwise_kind(name, given, tensor, has_weight=bool(uses))
                rank = sum(n > 1 for n in tensor.shape)
                own = self.parameter(tensor) is not None
                uses[found.names[0]] = Use(
                    kind=kind, names=found.names, derived=None if own else found, rank=rank,
                    fan_in=next((u.fan_in for u in uses.values() if u.kind == "contract"), 0.0),
                )  # fmt: skip
        for use in uses.values():
            self.reached.update(use.names)
        return tuple(uses.values())


def _pointer(tensor: Tensor) -> int:
    if tensor.is_meta or tensor.layout != torch.strided or is_unmade(tensor):
        return 0
    return tensor.untyped_storage().data_ptr()
