"""Finds weights whose output is split: fused q, k, v projections, the two halves of a gated unit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from initlab.network.calls import Call, Recording, Ref, substituted

_SPLITS = frozenset(
    ("chunk", "split", "split_with_sizes", "tensor_split", "unbind", "select", "narrow", "__getitem__", "__iter__")
)
_MOVES = frozenset((
    "view", "reshape", "unflatten", "transpose", "permute", "movedim", "swapaxes", "contiguous", "flatten", "squeeze",
    "unsqueeze", "T", "mT", "t", "swapdims", "moveaxis", "clone", "add", "__add__",
))  # fmt: skip
#: a projection into more parts than this is a list of heads and not a few weights in one
_MOST = 4


def parts_of(recording: Recording) -> Mapping[str, tuple[int, ...]]:
    """Parameter → borders (0, ..., out) of the parts of its output that are read apart from one another."""
    readers: dict[int, list[Call]] = {}
    for call in recording.calls:
        for i in call.inputs:
            readers.setdefault(i, []).append(call)
    found: dict[str, tuple[int, ...]] = {}
    for call in recording.calls:
        use = next(
            (u for u in call.uses if u.kind == "contract" and sorted(u.dims.replace("t", "")) == ["i", "o"]), None
        )
        if use is None or use.names[0] in found or not call.shape:
            continue
        dim = 1 if "t" in use.dims and len(call.shape) > 1 else len(call.shape) - 1
        borders = _borders(call, dim, readers)
        if borders is not None:
            found[use.names[0]] = borders
    return found


def _borders(weight: Call, dim: int, readers: Mapping[int, list[Call]]) -> tuple[int, ...] | None:
    units = weight.shape[dim]
    index = torch.arange(units).view(*[-1 if d == dim else 1 for d in range(len(weight.shape))])
    held: list[Tensor] = []
    _follow(Ref(weight.index), index.expand(weight.shape), readers, held, units=units)
    found = {(int(h.min()), int(h.max()), len(h)) for piece in held if len(h := piece.unique())}
    sets = sorted(found)
    if not 2 <= len(sets) <= _MOST or any(high - low + 1 != n for low, high, n in sets):
        return None
    borders = [0, *(high + 1 for _, high, _ in sets)]
    starts = [low for low, _, _ in sets]
    return tuple(borders) if starts == borders[:-1] and borders[-1] == units else None


def _follow(
    ref: Ref, index: Tensor, readers: Mapping[int, list[Call]], held: list[Tensor], *, units: int, depth: int = 0
) -> None:
    """Follows which units of the weight's output each part holds, through calls that only move them."""
    for call in readers.get(ref.index, ()):
        if call.func is None or depth > 8 or call.inputs != (ref.index,):
            continue
        splits, moves = call.name in _SPLITS, call.name in _MOVES and not any(u.rank > 1 for u in call.uses)
        if not splits and not moves:
            continue
        if call.name in ("add", "__add__"):
            _follow(Ref(call.index), index, readers, held, units=units, depth=depth + 1)
            continue
        try:
            args, kwargs = substituted((call.args, call.kwargs), _only(ref, index), lambda t: t)
            output: Any = call.func(*args, **kwargs)
        except (RuntimeError, TypeError, IndexError, KeyError, ValueError):
            continue
        outputs = list(output) if not isinstance(output, Tensor) else [output]
        for part, piece in enumerate(outputs):
            if splits and piece.numel() < index.numel() and len(piece.unique()) < units:
                held.append(piece)
            else:
                _follow(Ref(call.index, part), piece, readers, held, units=units, depth=depth + 1)


def _only(ref: Ref, index: Tensor) -> Any:
    def value(asked: Ref) -> Tensor:
        if asked != ref:
            raise KeyError(asked)
        return index

    return value
