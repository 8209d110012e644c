"""Activations of a stacked layer: neighbouring members with one function share a call, all others have their own.

Learnable parameters of equal functions are stacked. A module that is neither a fixed function nor `Learned` (a blend, a
homotopy, meta-ACON, randomised ReLU) is called member by member with that member's parameters and random numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from initlab.activations import is_activation
from initlab.activations.acon import MetaAcon
from initlab.activations.mixtures import Blend, Homotopy
from initlab.activations.modules import Learned, Pointwise, Regrouping
from initlab.activations.rectified import IdentityActivation
from initlab.train.cohort.draws import Draws
from initlab.train.cohort.rows import Rows

Kind = Literal["fixed", "learned", "own"]


def kind_of(module: nn.Module) -> Kind | None:
    """How an activation module is stacked; None for one that a stack does not know."""
    if type(module) is Learned:
        return "learned"
    if type(module) in (Blend, Homotopy, MetaAcon, nn.PReLU, nn.RReLU):
        return "own"
    if type(module) in (Pointwise, Regrouping, IdentityActivation):
        return "fixed"
    of_torch = type(module).__module__ == "torch.nn.modules.activation" and not isinstance(module, nn.GLU)
    stateless = not any(True for _ in (*module.parameters(), *module.buffers()))
    return "fixed" if of_torch and stateless and is_activation(module) else None


class LayerActivation:
    """The activations of one layer for members that have the same function.

    Args:
        name: dotted name of the modules.
        start: the first of the members in the stack.
        modules: one a member.
        rows: parameters of the stack, by name.
        draws: random numbers of the members.
    """

    def __init__(
        self, name: str, start: int, modules: Sequence[nn.Module], rows: Mapping[str, Sequence[Rows]], draws: Draws
    ) -> None:
        self.name, self.start, self.stop = name, start, start + len(modules)
        self.modules = list(modules)
        self.kind = kind_of(modules[0])
        self._draws = draws
        self._own = [_own_parameters(name, module, rows, start + i) for i, module in enumerate(modules)]
        self._stacked = {
            n: next(r.tensor for r in rows[f"{name}.{n}"] if r.start == start)
            for n, _ in (modules[0].named_parameters(recurse=False) if self.kind == "learned" else ())
        }

    def __call__(self, h: Tensor, *, training: bool) -> Tensor:
        """(members, B, units) to what the activation sends on."""
        first = self.modules[0]
        if self.kind == "fixed":
            return first(h)
        if self.kind == "learned":
            assert isinstance(first, Learned)
            return first.compute(h, **{n: self._spread(n, first) for n in self._stacked})
        found = []
        for i, module in enumerate(self.modules):
            module.train(training)
            found.append(self._call(i, module, h[i], training=training))
        return torch.stack(found)

    def _spread(self, name: str, module: Learned) -> Tensor:
        """Parameters as `compute` takes them: a row of numbers along dimension 0, then members, batch, units."""
        p = self._stacked[name]
        behind = p.dim() - 1 - (module.features is not None)  # 1 where it is a row of numbers
        if behind:
            p = p.transpose(0, 1)
        p = p.unsqueeze(behind + 1)  # of the batch
        return p if module.features is not None else p.unsqueeze(-1)

    def _call(self, i: int, module: nn.Module, h: Tensor, *, training: bool) -> Tensor:
        call: Callable[[Tensor], Tensor] = module
        if self._own[i]:
            parameters = {n: rows.tensor[0] for n, rows in self._own[i].items()}
            call = lambda x: torch.func.functional_call(module, parameters, (x,))  # noqa: E731
        if training and isinstance(module, nn.RReLU):
            with self._draws.of(self.start + i):
                return call(h)
        return call(h)


def _own_parameters(name: str, module: nn.Module, rows: Mapping[str, Sequence[Rows]], member: int) -> dict[str, Rows]:
    if kind_of(module) != "own":
        return {}
    return {
        n: next(r for r in rows[f"{name}.{n}"] if r.start == member) for n, _ in module.named_parameters(recurse=False)
    }
