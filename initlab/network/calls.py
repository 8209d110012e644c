"""The calls of a forward pass, as they are recorded: what was called, with what, and how it is found again."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from initlab.network.modules import Op, call_name
from initlab.network.use_kinds import Use

#: calls that make new tensors in the likeness of another
_FRESH = frozenset((
    "zeros_like", "ones_like", "full_like", "empty_like", "rand_like", "randn_like", "randint_like", "new_zeros",
    "new_ones", "new_full", "new_empty", "new_tensor",
))  # fmt: skip
#: calls that ask about a tensor and compute nothing
_QUESTIONS = frozenset((
    "__set__", "size", "dim", "stride", "numel", "nelement", "is_floating_point", "is_complex", "item",
    "tolist", "__len__", "__bool__", "__int__", "__float__", "__index__", "__format__", "__repr__", "is_contiguous",
    "storage_offset", "data_ptr", "get_device", "element_size", "untyped_storage", "backward", "register_hook",
    "retain_grad", "is_inference", "is_same_size", "__hash__", "__setstate__", "__reduce_ex__", "__deepcopy__",
    "has_names", "is_nonzero", "ndimension", "__contains__", "numpy", "__array__", "is_pinned", "is_shared",
))  # fmt: skip

#: calls that a recording passes over
IGNORED = _QUESTIONS | _FRESH


@dataclass(frozen=True)
class Ref:
    """The `part`-th tensor that the call `index` gave."""

    index: int
    part: int = 0


@dataclass(frozen=True)
class Key:
    """One call of a forward pass: module where it was made, name of the function, how often that was called there."""

    module: str
    name: str
    count: int

    def __str__(self) -> str:
        where = f"{self.module}.{self.name}" if self.module else self.name
        return f"{where}()[{self.count}]" if self.count else f"{where}()"


@dataclass(kw_only=True)
class Call:
    """One call of the pass.

    Attributes:
        func: the function; None for inputs, constants and modules that are nodes as a whole.
        args, kwargs: what it was called with; tensors that the pass computed are `Ref`s.
        inputs: the calls whose tensors it reads, in order, each once.
        uses: how it reads parameters.
        op: of a module that is a node as a whole, or ``input``, ``constant``.
        label: dotted name of that module.
        shape: of its first tensor; dtype likewise.
        moments: of its first tensor, where they were measured: a tensor of three numbers.
    """

    index: int
    key: Key
    func: Callable[..., Any] | None = None
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    inputs: tuple[int, ...] = ()
    uses: tuple[Use, ...] = ()
    op: Op | None = None
    label: str = ""
    module: nn.Module | None = None
    shape: tuple[int, ...] = ()
    dtype: torch.dtype = torch.float32
    parts: int = 1
    value: Tensor | None = None
    moments: Tensor | None = None

    @property
    def name(self) -> str:
        return self.key.name

    @property
    def anchor(self) -> str:
        """What a reader of later passes knows the call by."""
        return call_name(self.label, self.key.count) if self.module is not None else str(self.key)


@dataclass(kw_only=True)
class Recording:
    """The calls of one pass in order.

    Attributes:
        outputs: the calls whose tensors the network returned.
        spans: dotted name of each module call → (calls that its inputs come from, the call of its output), by use.
        reached: names of the parameters that were read, in any way.
        batch: number of examples.
    """

    calls: list[Call]
    outputs: tuple[int, ...]
    spans: list[tuple[str, int, tuple[int, ...], int]]
    reached: set[str]
    batch: int | None


class Keys:
    """Counts the calls of a pass, so that the same call has the same key in every pass."""

    def __init__(self) -> None:
        self.path: list[str] = [""]
        self.counts: dict[tuple[str, str], int] = {}

    def next(self, name: str) -> Key:
        at = (self.path[-1], name)
        count = self.counts.get(at, -1) + 1
        self.counts[at] = count
        return Key(at[0], name, count)


def call_name_of(func: Any) -> str:
    """A function's name; of a property that is read (`x.T`), the property's."""
    name = getattr(func, "__name__", type(func).__name__)
    if name == "__get__":
        owner = getattr(getattr(func, "__self__", None), "__name__", "")
        return owner if owner in ("T", "mT", "H", "mH", "real", "imag", "data") else "size"
    return name


def writes(name: str, kwargs: dict[str, Any]) -> bool:
    return (name.endswith("_") and not name.startswith("__")) or name.startswith("__i") or bool(kwargs.get("inplace"))


def indices(value: Any) -> tuple[int, ...]:
    return tuple(dict.fromkeys(_refs(value)))


def _refs(value: Any) -> Iterator[int]:
    if isinstance(value, Ref):
        yield value.index
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _refs(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _refs(item)


def substituted(value: Any, values: Callable[[Ref], Any], constant: Callable[[Tensor], Any]) -> Any:
    """`value` with every `Ref` and every tensor replaced."""
    if isinstance(value, Ref):
        return values(value)
    if isinstance(value, Tensor):
        return constant(value)
    if isinstance(value, (tuple, list)):
        items: Sequence[Any] = [substituted(v, values, constant) for v in value]
        return items if isinstance(value, list) else tuple(items)
    if isinstance(value, dict):
        return {k: substituted(v, values, constant) for k, v in value.items()}
    return value


# ------------------------------------------------------------------ what the arguments of a call say
def padding_mode(call: Call) -> object:
    """What a padding call fills with: constant, reflect, replicate, circular."""
    return call.kwargs.get("mode", call.args[2] if len(call.args) > 2 else "constant")


def pooling_window(call: Call, before: tuple[int, ...]) -> int:
    """Numbers that each maximum of a pooling call is taken over."""
    spatial = call.shape[2:] if len(call.shape) > 2 else call.shape[1:]
    if call.name.startswith("adaptive"):
        return max(1, round(math.prod(before[-len(spatial) :]) / max(1, math.prod(spatial))))
    size = call.kwargs.get("kernel_size", call.args[1] if len(call.args) > 1 else 1)
    sizes = [size] if isinstance(size, int) else [s for s in size if isinstance(s, int)] or [1]
    return math.prod(sizes) if len(sizes) > 1 else sizes[0] ** max(1, len(spatial))


def dropout_factor(call: Call) -> float:
    """1/(1 - p) of a call of dropout or alpha dropout."""
    p = call.kwargs.get("p", call.args[1] if len(call.args) > 1 else 0.5)
    return 1 / (1 - p) if isinstance(p, (int, float)) and p < 1 else 1.0
