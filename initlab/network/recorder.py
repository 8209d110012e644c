"""Watches one forward pass: torch's function mode for calls of Python, the dispatch mode for what is below them.

Tensors are told apart by identity and kept alive, so that no identity is used twice.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import _disable_current_modes  # pyright: ignore[reportPrivateUsage]

from initlab.network.calls import IGNORED, Call, Key, Keys, Ref, call_name_of, indices, writes
from initlab.network.dispatch import KernelMode
from initlab.network.inputs import tensors
from initlab.network.modules import Op, meaning
from initlab.network.use_kinds import Use
from initlab.network.uses import Parameters

#: calls in which a constant table takes part as another signal
_COMBINING = frozenset((
    "add", "sub", "rsub", "mul", "div", "true_divide", "__add__", "__radd__", "__iadd__", "__sub__", "__rsub__",
    "__isub__", "__mul__", "__rmul__", "__imul__", "__truediv__", "add_", "sub_", "mul_", "div_", "cat", "concat",
    "concatenate", "stack", "subtract", "multiply",
))  # fmt: skip


class Recorder(TorchFunctionMode):
    """Watches one pass."""

    def __init__(
        self, model: nn.Module, batch: int | None, measure: Callable[[Tensor, int | None], Tensor] | None
    ) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self.made: dict[int, tuple[int, int]] = {}
        self.spans: list[tuple[str, int, tuple[int, ...], int]] = []
        self.batch = batch
        self.parameters = Parameters(model)
        self.below = _Below(self)
        self.keys = Keys()
        self.inside = 0  # modules that are nodes as a whole
        self.calling = 0
        self.muted = 0
        self._model = model
        self._measure = measure
        self._alive: list[Any] = []
        self._sharing: dict[int, list[Tensor]] = {}
        self._labels: dict[str, int] = {}

    # ---------------------------------------------------------- nodes
    def leaf(self, op: Op, tensor: Tensor, uses: tuple[Use, ...] = ()) -> int:
        """A tensor that no call of the pass computed."""
        made = Call(index=len(self.calls), key=Key("", op, len(self.calls)), op=op, uses=uses, value=tensor)
        return self._add(made, tensor)

    def _add(self, made: Call, output: Any) -> int:
        found = list(tensors(output))
        made.parts = len(found)
        if found:
            made.shape, made.dtype = tuple(found[0].shape), found[0].dtype
            if self._measure is not None:
                with torch._C.DisableTorchFunction(), _disable_current_modes():  # pyright: ignore[reportPrivateUsage]
                    made.moments = self._measure(found[0], self.batch)
        self.calls.append(made)
        for part, tensor in enumerate(found):
            self.made[id(tensor)] = (made.index, part)
            self._alive.append(tensor)
            with torch._C.DisableTorchFunction():  # pyright: ignore[reportPrivateUsage]
                pointer = self.parameters.signal(tensor)
            self._sharing.setdefault(pointer, []).append(tensor)
        return made.index

    def returned(self, output: Any) -> None:
        """Parameters that the network returns as they are."""
        for tensor in tensors(output):
            if id(tensor) not in self.made:
                derived = self.parameters.derived(tensor)
                if derived is not None:
                    self.parameters.reached.update(derived.names)
                    self.leaf("constant", tensor, uses=(Use(kind="output", names=derived.names, derived=derived),))

    def known(self, values: Any) -> tuple[int, ...]:
        """Indices of the calls that the tensors in `values` come from, each once."""
        return tuple(dict.fromkeys(at[0] for t in tensors(values) if (at := self._origin(t)) is not None))

    def _origin(self, tensor: Tensor) -> tuple[int, int] | None:
        at = self.made.get(id(tensor))
        if at is None:  # a view of a signal that was made where no call is seen
            with torch._C.DisableTorchFunction():  # pyright: ignore[reportPrivateUsage]
                pointer = self.parameters.pointer_of_signal(tensor)
            shared = self._sharing.get(pointer) if pointer else None
            at = self.made.get(id(shared[-1])) if shared else None
        return at

    def _referred(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            at = self._origin(value)
            return Ref(*at) if at is not None else value
        if isinstance(value, (tuple, list)):
            items = [self._referred(v) for v in value]
            return items if isinstance(value, list) else tuple(items)
        if isinstance(value, dict):
            return {k: self._referred(v) for k, v in value.items()}
        return value

    # ---------------------------------------------------------- calls
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = call_name_of(func)
        if self.inside or name in IGNORED:
            self.muted += not self.inside
            try:
                return func(*args, **kwargs)
            finally:
                self.muted -= not self.inside
        key = self.keys.next(name)
        inputs = self.known((args, kwargs))
        given = self._referred((args, kwargs)) if inputs else ((), {})
        if inputs:
            given = self._constants(name, given)
            inputs = indices(given)
        self.parameters.begin()
        self.calling += 1
        try:
            output = func(*args, **kwargs)
        finally:
            self.calling -= 1
        uses = self.parameters.end(name, (args, kwargs), inputs)
        if name == "__iter__":
            output = list(output)
        if name == "__setitem__":
            self._written(args[0], self._add(self._call(key, func, given, inputs, uses), args[0]))
        elif isinstance(output, (Tensor, tuple, list)) and (inputs or any(u.makes_signal for u in uses)):
            if isinstance(output, Tensor) and id(output) in self.made and not uses and not writes(name, kwargs):
                return output  # the same tensor: nothing was done
            index = self._add(self._call(key, func, given, inputs, uses), output)
            if writes(name, kwargs) and isinstance(output, Tensor):
                self._written(output, index)
        return iter(output) if name == "__iter__" else output

    def _call(self, key: Key, func: Any, given: Any, inputs: tuple[int, ...], uses: tuple[Use, ...]) -> Call:
        args, kwargs = given
        return Call(index=len(self.calls), key=key, func=func, args=args, kwargs=kwargs, inputs=inputs, uses=uses)

    def _constants(self, name: str, given: Any) -> Any:
        """Tables of numbers that are added to or multiplied with the signal become leaves of their own."""
        if name not in _COMBINING:
            return given

        def leaf(value: Any) -> Any:
            if isinstance(value, Tensor) and value.numel() > 1 and value.is_floating_point():
                with torch._C.DisableTorchFunction():  # pyright: ignore[reportPrivateUsage]
                    if not self.parameters.is_derived(value):
                        return Ref(self.leaf("constant", value))
            return value

        args, kwargs = given
        return tuple([leaf(v) for v in a] if isinstance(a, (list, tuple)) else leaf(a) for a in args), kwargs

    def _written(self, target: Tensor, index: int) -> None:
        """`target` was changed in place: the tensors that share its memory hold what the call `index` wrote too."""
        with torch._C.DisableTorchFunction():  # pyright: ignore[reportPrivateUsage]
            pointer, whole = self.parameters.signal(target), target.numel()
            if target._base is not None and id(target._base) not in self.made:  # pyright: ignore[reportPrivateUsage]
                self._sharing[pointer].append(target._base)  # pyright: ignore[reportPrivateUsage]
                self._alive.append(target._base)  # pyright: ignore[reportPrivateUsage]
            for other in list(self._sharing.get(pointer, ())):
                if other is target:
                    continue
                apart = other.storage_offset() != target.storage_offset()
                if other.numel() == whole and apart:
                    continue  # a neighbour in the same memory, as the parts of a split are
                if other.numel() <= whole:
                    self.made[id(other)] = (index, 0)
                    continue
                before = self.made.get(id(other))
                inputs = tuple(dict.fromkeys((*((before[0],) if before else ()), index)))
                joined = Call(index=len(self.calls), key=self.keys.next("written"), inputs=inputs)
                self._add(joined, other)

    # ---------------------------------------------------------- modules
    @contextmanager
    def hooked(self) -> Generator[None]:
        handles: list[Any] = []
        try:
            for name, module in self._model.named_modules():
                op = meaning(module)
                handles.append(module.register_forward_pre_hook(self._enter(name, op), prepend=True, with_kwargs=True))
                handles.append(module.register_forward_hook(self._leave(name, op), with_kwargs=True))
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _enter(self, name: str, op: Op | None) -> Callable[..., None]:
        def hook(_module: nn.Module, _args: Any, _kwargs: Any) -> None:
            self.keys.path.append(name)
            self.inside += op is not None

        return hook

    def _leave(self, name: str, op: Op | None) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            if len(self.keys.path) > 1:
                self.keys.path.pop()
            count = self._labels.get(name, -1) + 1
            self._labels[name] = count
            if op is not None:
                self.inside -= 1
                if not self.inside:
                    self._whole(module, Key(name, op, count), (args, kwargs), output)
            elif not self.inside:
                inputs, out = self.known((args, kwargs)), self.known(output)
                if len(out) == 1:
                    self.spans.append((name, count, inputs, out[0]))

        return hook

    def _whole(self, module: nn.Module, key: Key, given: tuple[Any, Any], output: Any) -> None:
        """A module that is a node as a whole; what it is called with comes first as it does by position."""
        args, kwargs = given
        first = [kwargs[k] for k in ("query", "input", "key", "value") if k in kwargs]
        received = (*args, *first, *(v for k, v in kwargs.items() if k not in ("query", "key", "value", "input")))
        with torch._C.DisableTorchFunction():  # pyright: ignore[reportPrivateUsage]
            tokens = self.parameters.tokens(received)
            for use, tensor in tokens:
                if id(tensor) not in self.made:
                    self.leaf("constant", tensor, uses=(use,))
            self.parameters.read_by(module, key.module)
        inputs = self.known(received)[:1]
        made = Call(
            index=len(self.calls), key=key, inputs=inputs, op=meaning(module), label=key.module, module=module,
        )  # fmt: skip
        self._add(made, output)


class _Below(KernelMode):
    """The operations below a call, and those that no call of Python made."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self._recorder = recorder

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        recorder = self._recorder
        if torch.is_inference_mode_enabled() and func._can_decompose():
            with self:
                whole = func.decompose(*args, **kwargs)
            if whole is not NotImplemented:
                return whole
        output = func(*args, **kwargs)
        if recorder.inside or recorder.muted:
            return output
        name = func.overloadpacket.__name__
        if recorder.calling:
            recorder.parameters.event(name, args, kwargs, output)
            return output
        inputs = recorder.known((args, kwargs))
        recorder.parameters.begin()
        recorder.parameters.event(name, args, kwargs, output)
        uses = recorder.parameters.end(name, (args, kwargs), inputs)
        if inputs and isinstance(output, (Tensor, tuple, list)):
            given = recorder._referred((args, kwargs))  # pyright: ignore[reportPrivateUsage]
            made = recorder._call(recorder.keys.next(f"aten.{name}"), func, given, inputs, uses)  # pyright: ignore[reportPrivateUsage]
            recorder._add(made, output)  # pyright: ignore[reportPrivateUsage]
        return output
