"""Stacked perceptrons: the forward pass of several `MLP` or `Linear` networks with a leading dimension of members."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from initlab.models.linear import Linear
from initlab.models.mlp import MLP
from initlab.train.cohort.activations import LayerActivation, kind_of
from initlab.train.cohort.draws import Draws
from initlab.train.cohort.rows import stack_parameters, write_back

#: networks that can be stacked
Stackable = MLP | Linear


class Reader(Protocol):
    """Is shown what layers send on in a forward pass, for all members at once."""

    def layer(self, name: str, output: Tensor) -> None:
        """The output (members, B, units) of a linear layer."""
        ...

    def activation(self, name: str, received: Tensor, sent: Tensor) -> None:
        """What the activations of a layer received and sent on, likewise."""
        ...


class StackedNetwork:
    """Several networks of one architecture as one. Their own tensors are untouched until `write_back`.

    Args:
        models: the networks; neighbours with the same activation share their calls.
        functions: what activation each has; equal values stand for the same functions.
        draws: random numbers of the members.

    Attributes:
        rows: parameters by name.
        groups: members [start, stop) with the same activation.
        training: whether batch norms use the batch and randomised activations draw.
    """

    def __init__(self, models: Sequence[Any], functions: Sequence[object], draws: Draws) -> None:
        self.models: list[Stackable] = list(models)
        self.training = True
        self.groups = list(_ranges(functions))
        first = self.models[0]
        self._count = len(self.models)
        self._depth = len(first.layers) if isinstance(first, MLP) else 0
        self._branch = first.branch_depth if isinstance(first, MLP) else 0
        activations = [(a, b, i) for i in range(self._depth) for a, b in self.groups]
        apart = frozenset(f"activations.{i}" for a, _, i in activations if kind_of(self._activation(a, i)) == "own")
        self.rows = stack_parameters(self.models, self.groups, apart=apart)
        self._activations = [
            [
                LayerActivation(f"activations.{i}", a, [self._activation(k, i) for k in range(a, b)], self.rows, draws)
                for a, b in self.groups
            ]
            for i in range(self._depth)
        ]
        self._norms = [self._norm(i) for i in range(self._depth)]
        self._weight = {n: self.rows[f"{n}.weight"][0].tensor for n in self._linear_names()}
        self._bias = {n: self.rows[f"{n}.bias"][0].tensor for n in self._linear_names() if f"{n}.bias" in self.rows}
        self._scales = [rows[0].tensor for n, rows in self.rows.items() if n.startswith("scales.")]

    def __call__(self, x: Tensor, reader: Reader | None = None) -> Tensor:
        """(members, B, ...) to logits (members, B, classes)."""
        x = x.flatten(2)
        if self._depth:
            x = self._hidden(0, x, reader)
            if self._branch:
                for start in range(1, self._depth, self._branch):
                    y = x
                    for i in range(start, start + self._branch):
                        y = self._hidden(i, y, reader)
                    if self._scales:
                        y = self._scales[(start - 1) // self._branch].view(-1, 1, 1) * y
                    x = x + y
            else:
                for i in range(1, self._depth):
                    x = self._hidden(i, x, reader)
        return self._linear("head", x, reader)

    def write_back(self) -> None:
        """Copy parameters and running statistics into the networks."""
        write_back(self.models, self.rows)
        for norm in self._norms:
            if isinstance(norm, _BatchNorms):
                norm.write_back()

    def sync_activations(self) -> None:
        """Copy the parameters of the activations into the networks, whose modules then give their readings."""
        write_back(self.models, {n: rows for n, rows in self.rows.items() if n.startswith("activations.")})

    def any_parameter(self) -> Tensor:
        """One of the stacked parameters: what device and type they are of."""
        return self._weight["head"]

    # ------------------------------------------------------------------ layers
    def _hidden(self, i: int, x: Tensor, reader: Reader | None) -> Tensor:
        h = self._linear(f"layers.{i}", x, reader)
        norm = self._norms[i]
        if norm is not None:
            h = norm(h, training=self.training)
        parts = self._activations[i]
        if len(parts) == 1:
            sent = parts[0](h, training=self.training)
        else:
            pieces = h.split([p.stop - p.start for p in parts])
            sent = torch.cat([p(piece, training=self.training) for p, piece in zip(parts, pieces, strict=True)])
        if reader is not None:
            reader.activation(f"activations.{i}", h, sent)
        return sent

    def _linear(self, name: str, x: Tensor, reader: Reader | None) -> Tensor:
        weight, bias = self._weight[name].transpose(1, 2), self._bias.get(name)
        h = torch.bmm(x, weight) if bias is None else torch.baddbmm(bias.unsqueeze(1), x, weight)
        if reader is not None:
            reader.layer(name, h)
        return h

    def _linear_names(self) -> list[str]:
        return [*(f"layers.{i}" for i in range(self._depth)), "head"]

    def _activation(self, member: int, i: int) -> nn.Module:
        model = self.models[member]
        assert isinstance(model, MLP)
        return model.activations[i]

    def _norm(self, i: int) -> _BatchNorms | _LayerNorms | None:
        norms = [m.norms[i] for m in self.models if isinstance(m, MLP)]
        if isinstance(norms[0], nn.BatchNorm1d):
            return _BatchNorms([n for n in norms if isinstance(n, nn.BatchNorm1d)], self._affine(f"norms.{i}"))
        if isinstance(norms[0], nn.LayerNorm):
            return _LayerNorms(norms[0], self._affine(f"norms.{i}"))
        return None

    def _affine(self, name: str) -> tuple[Tensor, Tensor]:
        weight, bias = (self.rows[f"{name}.{part}"] for part in ("weight", "bias"))
        return weight[0].tensor, bias[0].tensor


class _LayerNorms:
    def __init__(self, norm: nn.LayerNorm, affine: tuple[Tensor, Tensor]) -> None:
        self._norm, self._affine = norm, affine

    def __call__(self, h: Tensor, *, training: bool) -> Tensor:
        del training
        weight, bias = self._affine
        unit = F.layer_norm(h, self._norm.normalized_shape, eps=self._norm.eps)
        return torch.addcmul(bias.unsqueeze(1), unit, weight.unsqueeze(1))


class _BatchNorms:
    """The units of all members side by side are the channels of one batch norm."""

    def __init__(self, norms: Sequence[nn.BatchNorm1d], affine: tuple[Tensor, Tensor]) -> None:
        self._norms, self._affine = list(norms), affine
        self._mean, self._var = (
            torch.cat([_buffer(n, name) for n in norms]) for name in ("running_mean", "running_var")
        )
        self._batches = 0

    def __call__(self, h: Tensor, *, training: bool) -> Tensor:
        members, batch, units = h.shape
        norm, (weight, bias) = self._norms[0], self._affine
        flat = h.transpose(0, 1).reshape(batch, members * units)
        assert norm.momentum is not None
        out = F.batch_norm(
            flat, self._mean, self._var, weight.flatten(), bias.flatten(), training, norm.momentum, norm.eps
        )
        self._batches += training
        return out.view(batch, members, units).transpose(0, 1)

    def write_back(self) -> None:
        units = self._norms[0].num_features
        for norm, mean, var in zip(self._norms, self._mean.split(units), self._var.split(units), strict=True):
            _buffer(norm, "running_mean").copy_(mean)
            _buffer(norm, "running_var").copy_(var)
            _buffer(norm, "num_batches_tracked").add_(self._batches)
        self._batches = 0


def _buffer(module: nn.Module, name: str) -> Tensor:
    found = getattr(module, name)
    assert isinstance(found, Tensor)
    return found


def _ranges(values: Sequence[object]) -> Iterator[tuple[int, int]]:
    """Ranges [start, stop) of neighbours with equal values."""
    start = 0
    for _, same in groupby(values):
        stop = start + len(list(same))
        yield start, stop
        start = stop
