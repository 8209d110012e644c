"""Parameters of several networks, stacked: for each name one tensor of the members that share it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Rows:
    """One parameter of the neighbouring members [start, stop): a leaf tensor (stop - start, *shape)."""

    start: int
    stop: int
    tensor: Tensor


def stack_parameters(
    models: Sequence[nn.Module], groups: Sequence[tuple[int, int]], *, apart: frozenset[str]
) -> dict[str, list[Rows]]:
    """The parameters of `models` by name, in the order in which the networks have them.

    Args:
        groups: members [start, stop) with the same activation, whose parameters are stacked.
        apart: names of activations whose parameters are kept member by member.
    """
    named = [dict(m.named_parameters()) for m in models]
    found: dict[str, list[Rows]] = {}
    for name in dict.fromkeys(n for parameters in named for n in parameters):
        holders = [i for i, parameters in enumerate(named) if name in parameters]
        if name.rpartition(".")[0] in apart:
            ranges = [(i, i + 1) for i in holders]
        elif len(holders) == len(models) and not name.startswith("activations."):
            ranges = [(0, len(models))]
        else:
            ranges = [(a, b) for a, b in groups if name in named[a]]
        found[name] = [Rows(a, b, _leaf([named[i][name] for i in range(a, b)])) for a, b in ranges]
    return found


def _leaf(parameters: Sequence[nn.Parameter]) -> Tensor:
    return torch.stack([p.detach() for p in parameters]).requires_grad_(True)


def write_back(models: Sequence[nn.Module], rows: Mapping[str, Sequence[Rows]]) -> None:
    """Copy the stacked parameters into the networks that they came from."""
    named = [dict(m.named_parameters()) for m in models]
    with torch.no_grad():
        for name, parts in rows.items():
            for part in parts:
                for i in range(part.start, part.stop):
                    named[i][name].copy_(part.tensor[i - part.start])


def member_norms(tensor: Tensor) -> Tensor:
    """The norm of each member's part of a tensor (members, ...)."""
    return torch.linalg.vector_norm(tensor.detach().reshape(len(tensor), -1), dim=1)


def gradient(rows: Rows) -> Tensor:
    """The gradient of stacked rows that have one."""
    assert rows.tensor.grad is not None
    return rows.tensor.grad
