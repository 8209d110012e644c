"""Inputs of the training loop (`Run`) and its outcome (`Outcome`)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from torch import nn

from initlab.probes import AttentionLayers, DeadUnits, Observer, ProfileLog, RecurrentLayers
from initlab.spec import LrScale, LrSchedule, OptimizerFactory, ProfileRow, Site, Splits, Task, TrainerSettings
from initlab.train.checkpoint import Checkpoints
from initlab.train.layout import Layout
from initlab.train.ranks import ALONE, Ranks

Ending = Literal["finished", "diverged", "stopped", "killed"]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How training ended: `stopped` is early stopping, `killed` a stop asked for from outside.

    `serial` is free for a closing record; a run that goes on later counts on from behind it. `to_target` are metrics of
    a run that reached the target of `trainer.until`, which ends it as finished.
    """

    ending: Ending
    steps: int
    seconds: float
    serial: int
    diverged_step: int | None = None
    best_step: int | None = None
    to_target: Mapping[str, float] = field(default_factory=dict[str, float])


@dataclass(kw_only=True)
class Run:
    """What a training loop works with. `stop()` is asked before every update; by several ranks, with every record."""

    model: nn.Module
    task: Task
    splits: Splits
    sites: tuple[Site, ...]
    optimizer: OptimizerFactory
    lr_schedule: LrSchedule
    settings: TrainerSettings
    seed: int
    observer: Observer | None
    dead: DeadUnits | None
    recurrent: RecurrentLayers | None = None
    attention: AttentionLayers | None = None
    profile: ProfileLog
    checkpoints: Checkpoints
    metric_sites: frozenset[str] = frozenset()
    lr_scale: LrScale | None = None
    ranks: Ranks = ALONE
    layout: Layout = field(default_factory=Layout)
    stop: Callable[[], bool] = field(default=lambda: False)
    now_ms: Callable[[], int] = field(default=lambda: time.time_ns() // 1_000_000)

    def rows_of_epoch(self, step: int) -> tuple[ProfileRow, ...]:
        """What the probes that are taken once an epoch measure after `step` updates."""
        probes = (self.dead, self.recurrent, self.attention)
        return tuple(row for probe in probes if probe is not None for row in probe.rows(step))
