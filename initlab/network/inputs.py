"""Calls a network with the inputs that people have: a tensor, several, a dict, an object; and finds tensors in them."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

#: how deep containers are searched for tensors
_DEPTH = 6


@dataclasses.dataclass(frozen=True)
class Arguments:
    """The arguments of one call of a network, as they were given."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def call(model: nn.Module, inputs: Any) -> Any:
    """`model`'s output for `inputs`.

    A mapping is passed as keyword arguments where the network's forward takes its keys, a tuple as positional ones
    where it takes so many; everything else, packed sequences and dataclasses included, is one argument.
    """
    args, kwargs = arguments(model, inputs)
    return model(*args, **kwargs)


def arguments(model: nn.Module, inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The positional and keyword arguments that `call` passes."""
    if isinstance(inputs, Arguments):
        return inputs.args, inputs.kwargs
    if isinstance(inputs, Mapping) and _binds(model, (), {str(k): v for k, v in inputs.items()}):
        return (), {str(k): v for k, v in inputs.items()}
    if isinstance(inputs, tuple) and not isinstance(inputs, PackedSequence) and _binds(model, inputs, {}):
        return inputs, {}
    if isinstance(inputs, list) and not _binds(model, (inputs,), {}):
        return tuple(inputs), {}
    return (inputs,), {}


def _binds(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    inner = getattr(model, "_orig_mod", model)
    try:
        inspect.signature(inner.forward).bind(*args, **kwargs)
    except (TypeError, ValueError):
        return False
    # forward(x) takes a tuple of one as well as the tuple itself: one tensor is what is meant
    return bool(args or kwargs)


def tensors(value: Any, depth: int = _DEPTH) -> Iterator[Tensor]:
    """The tensors in `value`: in sequences, mappings (by insertion), dataclasses and plain objects, in that order."""
    if isinstance(value, Tensor):
        yield value
    elif depth and not isinstance(value, (str, bytes, int, float, bool, type(None), nn.Module, type)):
        for item in _items(value):
            yield from tensors(item, depth - 1)


def _items(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        yield from value.values()
    elif isinstance(value, (tuple, list)):
        yield from value
    elif (dataclasses.is_dataclass(value) or hasattr(value, "__dict__")) and not callable(value):
        yield from vars(value).values()


def map_tensors(value: Any, change: Callable[[Tensor], Any]) -> Any:
    """A copy of `value` with `change` applied to each of its tensors; other objects stay what they are."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, PackedSequence):
        return PackedSequence(change(value.data), value.batch_sizes, value.sorted_indices, value.unsorted_indices)
    if isinstance(value, dict):
        changed = {k: map_tensors(v, change) for k, v in value.items()}
        try:
            return changed if type(value) is dict else type(value)(**changed)
        except TypeError:
            return changed
    if isinstance(value, Mapping) and isinstance(getattr(value, "data", None), dict):  # a UserDict
        return {k: map_tensors(v, change) for k, v in value.items()}
    if isinstance(value, tuple):
        items = [map_tensors(v, change) for v in value]
        return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
    if isinstance(value, list):
        return [map_tensors(v, change) for v in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: map_tensors(getattr(value, f.name), change) for f in dataclasses.fields(value) if f.init}
        return dataclasses.replace(value, **fields)
    return value


def cloned(value: Any) -> Any:
    """A copy that a network may change in place, detached from any graph."""
    return map_tensors(value, lambda t: t.detach().clone())


def to(value: Any, where: Any) -> Any:
    """`value` with its tensors on another device."""
    return map_tensors(value, lambda t: t.to(where))


def batch_size(value: Any) -> int | None:
    """The number of examples: size of the first dimension of the first tensor that has one."""
    if isinstance(value, PackedSequence):
        return int(value.batch_sizes[0])
    return next((int(t.shape[0]) for t in tensors(value) if t.dim()), None)


def head(value: Any, count: int) -> Any:
    """The first `count` examples, where every tensor has one batch dimension in front; else `value` itself."""
    sizes = {int(t.shape[0]) if t.dim() else -1 for t in tensors(value)}
    if isinstance(value, PackedSequence) or len(sizes) != 1 or -1 in sizes or next(iter(sizes)) <= count:
        return value
    return map_tensors(value, lambda t: t[:count])


def main_output(output: Any) -> Tensor | None:
    """The tensor that a network's output is about: its ``logits``, else the first of numbers that is no single one."""
    if isinstance(output, Tensor):
        return output
    logits = output.get("logits") if isinstance(output, Mapping) else getattr(output, "logits", None)
    if isinstance(logits, Tensor):
        return logits
    found = [t for t in tensors(output) if t.is_floating_point()]
    return next((t for t in found if t.dim()), found[0] if found else None)


def own_loss(output: Any) -> Tensor | None:
    """The loss that a network computes itself: a single number that it returns, or its ``loss``."""
    if isinstance(output, Tensor):
        return output if output.dim() == 0 and output.is_floating_point() else None
    loss = output.get("loss") if isinstance(output, Mapping) else getattr(output, "loss", None)
    if isinstance(loss, Tensor):
        return loss.mean()
    if isinstance(output, tuple):
        return next((t for t in output if isinstance(t, Tensor) and t.dim() == 0 and t.is_floating_point()), None)
    return None
