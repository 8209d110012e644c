"""Optimisers of a stack: torch's own, on stacked tensors, one for the members that share settings and schedule.

SGD, Adam, AdamW and RMSprop act on each number by itself, so that a stacked tensor is updated as its members would be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from initlab.core.optimizer_step import stepper, without_compiler
from initlab.train.cohort.rows import Rows, gradient, member_norms

ELEMENTWISE = (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop)


@dataclass
class _Part:
    """Some rows of a stacked parameter, as one of the optimisers has them."""

    name: str
    rows: Rows
    start: int
    stop: int
    tensor: Tensor

    @property
    def is_whole(self) -> bool:
        return self.tensor is self.rows.tensor


class StackedOptimizers:
    """The updates of all members of a stack.

    Args:
        models: networks of the members.
        optimizers: of each, made for its own network. Their state is taken over here, and given back by `write_back`.
        base: of each, the learning rate of its parameter groups without the schedule.
        rates: of each, the learning rate's multiplier by update; members may share the same sequence.
        rows: stacked parameters by name.
    """

    def __init__(
        self,
        models: Sequence[nn.Module],
        optimizers: Sequence[torch.optim.Optimizer],
        base: Sequence[Sequence[float]],
        rates: Sequence[Sequence[float]],
        rows: Mapping[str, Sequence[Rows]],
    ) -> None:
        without_compiler()
        self._names = [{p: n for n, p in m.named_parameters()} for m in models]
        self._members = list(optimizers)
        self._rates = list(rates)
        self._base = list(base)
        self._parts: list[_Part] = []
        self._stacked: list[tuple[torch.optim.Optimizer, Callable[[], None], int]] = []
        for members in self._alike().values():
            optimizer = self._stack(members, rows)
            self._stacked.append((optimizer, stepper(optimizer), members[0]))
        self._cut = [p for p in self._parts if not p.is_whole]
        self._leaves = [r.tensor for parts in rows.values() for r in parts]

    def step(self, update: int) -> None:
        """Update number `update` (0-based) of all members, from the gradients of the leaves, which are then cleared."""
        for part in self._cut:
            grad = part.rows.tensor.grad
            part.tensor.grad = (
                None if grad is None else grad[part.start - part.rows.start : part.stop - part.rows.start]
            )
        for optimizer, step, member in self._stacked:
            rate = self._rates[member][update]
            for group, base in zip(optimizer.param_groups, self._base[member], strict=True):
                group["lr"] = base * rate
            step()
        for leaf in self._leaves:
            leaf.grad = None

    def rate(self, member: int, update: int) -> float:
        """Learning rate of the first parameter group."""
        return self._base[member][0] * self._rates[member][update]

    def write_back(self, update: int) -> None:
        """Give each member's optimiser its state, and the learning rates of the update before `update`."""
        for optimizer, _, _ in self._stacked:
            for part in (p for p in self._parts if p.tensor in optimizer.state):
                for i in range(part.start, part.stop):
                    parameter = next(p for p, n in self._names[i].items() if n == part.name)
                    self._members[i].state[parameter] = {
                        k: v[i - part.start].clone() if _is_stacked(v, part.tensor) else _copy(v)
                        for k, v in optimizer.state[part.tensor].items()
                    }
        for i, optimizer in enumerate(self._members):
            for group, base in zip(optimizer.param_groups, self._base[i], strict=True):
                group["lr"] = base * self._rates[i][max(0, update - 1)]

    # ------------------------------------------------------------------ stacking
    def _alike(self) -> dict[str, list[int]]:
        """Members by what their optimisers have in common: class, options, parameters of each group, schedule."""
        tables: list[Sequence[float]] = []
        found: dict[str, list[int]] = {}
        for i, optimizer in enumerate(self._members):
            rates, named = self._rates[i], self._names[i]
            table = next((n for n, t in enumerate(tables) if t is rates or t == rates), len(tables))
            if table == len(tables):
                tables.append(rates)
            groups = [
                (
                    sorted((k, repr(v)) for k, v in g.items() if k not in ("params", "lr")),
                    [named[p] for p in g["params"]],
                )
                for g in optimizer.param_groups
            ]
            found.setdefault(repr((type(optimizer), groups, list(self._base[i]), table)), []).append(i)
        return found

    def _stack(self, members: Sequence[int], rows: Mapping[str, Sequence[Rows]]) -> torch.optim.Optimizer:
        first = self._members[members[0]]
        groups: list[dict[str, Any]] = []
        states: dict[Tensor, dict[str, Any]] = {}
        for group in first.param_groups:
            tensors: list[Tensor] = []
            for parameter in group["params"]:
                name = self._names[members[0]][parameter]
                for part in _cut(name, rows[name], members):
                    self._parts.append(part)
                    tensors.append(part.tensor)
                    if state := self._state(part):
                        states[part.tensor] = state
            groups.append({**{k: v for k, v in group.items() if k != "params"}, "params": tensors})
        kind: Any = type(first)
        optimizer: torch.optim.Optimizer = kind(groups, lr=float(first.param_groups[0]["lr"]))
        optimizer.state.update(states)
        return optimizer

    def _state(self, part: _Part) -> dict[str, Any]:
        """The members' state of a parameter, stacked; empty before the first update."""
        own = [
            self._members[i].state.get(next(p for p, n in self._names[i].items() if n == part.name), {})
            for i in range(part.start, part.stop)
        ]
        shape = part.tensor.shape[1:]
        return {
            k: torch.stack([s[k] for s in own])
            if isinstance(v, Tensor) and k != "step" and v.shape == shape
            else _copy(v)
            for k, v in own[0].items()
        }


def _cut(name: str, parts: Sequence[Rows], members: Sequence[int]) -> list[_Part]:
    """The rows of `members` in each stacked tensor, as few pieces as there are runs of neighbours."""
    found: list[_Part] = []
    for rows in parts:
        inside = [m for m in members if rows.start <= m < rows.stop]
        while inside:
            length = next((n for n in range(1, len(inside)) if inside[n] != inside[0] + n), len(inside))
            start, stop = inside[0], inside[0] + length
            whole = (start, stop) == (rows.start, rows.stop)
            tensor = rows.tensor if whole else rows.tensor.detach()[start - rows.start : stop - rows.start]
            found.append(_Part(name, rows, start, stop, tensor))
            inside = inside[length:]
    return found


def _is_stacked(value: object, like: Tensor) -> bool:
    return isinstance(value, Tensor) and value.shape == like.shape


def _copy(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value


def clip_gradients(rows: Mapping[str, Sequence[Rows]], members: int, limit: float) -> None:
    """Clip the gradient of each member to the norm `limit`, as `torch.nn.utils.clip_grad_norm_` does."""
    parts = [r for found in rows.values() for r in found if r.tensor.grad is not None]
    if not parts:
        return
    squares = parts[0].tensor.new_zeros(members)
    norms = [member_norms(gradient(r)) for r in parts]
    for r, norm in zip(parts, norms, strict=True):
        squares[r.start : r.stop] += norm.square()
    factor = torch.clamp(limit / (squares.sqrt() + 1e-6), max=1.0)
    for r in parts:
        grad = gradient(r)
        grad.mul_(factor[r.start : r.stop].view(-1, *[1] * (grad.dim() - 1)))
