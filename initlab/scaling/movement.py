"""Trains networks of several sizes for a few steps on one repeated batch, and measures how far activations move.

Yang et al., Tensor Programs V, 2022, appendix D.1: mean|x(t) - x(0)| of every activation x has a limit as the width
grows under the maximal update parametrisation, and grows or vanishes under others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import nn

from initlab.core.text import listed
from initlab.errors import ConfigError
from initlab.network.inputs import call, cloned
from initlab.scaling.activations import Kind, read_activations
from initlab.spec import Batch


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A network that is ready to train.

    Attributes:
        model: initialised.
        optimizer: of its parameters.
        batch: what it is trained on, again and again.
        notes: of the initialiser.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    batch: Batch
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Movements:
    """How far each activation moved, by size and seed.

    Attributes:
        sizes: widths or depths, ascending.
        seeds: of the draws.
        steps: t.
        kinds: activation → what it is, in the order of the forward pass; those that all sizes have.
        moved: activation → mean|x(t) - x(0)|, a row for each size, a column for each seed.
        start: activation → mean|x(0)|, likewise.
        losses: loss before the first and after the last step, likewise.
        notes: of the initialiser, at the largest size.
    """

    sizes: tuple[int, ...]
    seeds: tuple[int, ...]
    steps: int
    kinds: dict[str, Kind]
    moved: dict[str, list[list[float]]]
    start: dict[str, list[list[float]]]
    losses: list[list[tuple[float, float]]] = field(default_factory=list[list[tuple[float, float]]])
    notes: tuple[str, ...] = ()


def measure(
    make: Callable[[int, int], Subject],
    sizes: Sequence[int],
    *,
    seeds: Sequence[int],
    steps: int,
    progress: Callable[[str], None] = lambda _line: None,
) -> Movements:
    """Build, train and read a network for each size and seed.

    Args:
        make: (size, seed) → network with its optimiser and batch; parameters have the same names at every width.
        sizes: two or more.
        seeds: one or more.
        steps: updates.
        progress: is told what is done; an empty line ends it.

    Raises:
        ConfigError: fewer than two sizes, or networks that share no activation.
    """
    sizes = tuple(sorted(set(sizes)))
    if len(sizes) < 2:
        raise ConfigError("widths", listed([str(s) for s in sizes]) or "[]", "must name two sizes or more")
    found: dict[tuple[int, int], tuple[dict[str, tuple[Kind, float, float]], tuple[float, float]]] = {}
    notes: tuple[str, ...] = ()
    for done, (size, seed) in enumerate([(n, s) for n in sizes for s in seeds]):
        progress(f"size {size}, seed {seed} ({done + 1} of {len(sizes) * len(seeds)})")
        subject = make(size, seed)
        found[size, seed] = _train(subject, steps)
        notes = subject.notes
    progress("")
    first = found[sizes[-1], seeds[0]][0]
    names = [n for n in first if all(n in found[key][0] for key in found)]
    if not names:
        raise ConfigError("model", None, "has other modules at every size: no activation can be compared")

    def table(index: Literal[1, 2]) -> dict[str, list[list[float]]]:
        return {n: [[float(found[size, seed][0][n][index]) for seed in seeds] for size in sizes] for n in names}

    return Movements(
        sizes=sizes, seeds=tuple(seeds), steps=steps, kinds={n: first[n][0] for n in names}, moved=table(1),
        start=table(2), losses=[[found[size, seed][1] for seed in seeds] for size in sizes], notes=notes,
    )  # fmt: skip


def _train(subject: Subject, steps: int) -> tuple[dict[str, tuple[Kind, float, float]], tuple[float, float]]:
    """Activation → (kind, movement, size at the start), and the losses."""
    model, batch = subject.model, subject.batch
    before = read_activations(model, batch.inputs)
    losses: list[float] = []
    model.train()
    for _ in range(steps):
        subject.optimizer.zero_grad()
        loss = batch.loss(call(model, cloned(batch.inputs)), batch.targets)
        losses.append(float(loss.detach()))
        loss.backward()
        subject.optimizer.step()
    after = read_activations(model, batch.inputs)
    with torch.no_grad():
        last = float(batch.loss(call(model, cloned(batch.inputs)), batch.targets))
    measured: dict[str, tuple[Kind, float, float]] = {}
    for name, (kind, x) in before.items():
        if name in after and after[name][1].shape == x.shape and x.numel():
            moved = float((after[name][1] - x).abs().mean())
            measured[name] = (kind, moved if math.isfinite(moved) else math.inf, float(x.abs().mean()))
    return measured, (losses[0] if losses else math.nan, last)
