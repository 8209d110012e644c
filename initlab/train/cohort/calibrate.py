"""Measures on the device whether a stacked update is faster than the updates of its members one after another."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from initlab.core.optimizer_step import stepper
from initlab.spec import StackedTask
from initlab.train.batching import batch_count
from initlab.train.cohort.member import Course, Member
from initlab.train.cohort.stack import Stack
from initlab.train.optimizers import parameter_groups
from initlab.train.run import Run

#: a stack has to take less than this share of the time of single runs
WORTH = 0.9
#: updates that are timed, behind one that is not
_TIMED = 3


def is_faster(members: Sequence[Member]) -> bool:
    """Whether the members train faster as a stack than alone, from a few updates of copies of theirs."""
    first = members[0].run
    batches = batch_count(len(first.splits.train), first.settings.batch_size, streams=False)
    with torch.random.fork_rng(devices=[]):
        courses = [Course(_copy(m), i, batches=batches, total=_TIMED + 1) for i, m in enumerate(members)]
        courses.sort(key=lambda c: repr(c.function))
        examples = [_batch(c.run) for c in courses]
        x, y = torch.stack([e[0] for e in examples]), torch.stack([e[1] for e in examples])
        stack = Stack(courses)
        step = iter(range(_TIMED + 1))
        together = _seconds(lambda: stack.update(next(step), _TIMED + 1, x, y), x.device)
        alone = _seconds(_single_update(first), x.device)
    return together < WORTH * alone * len(members)


def _copy(member: Member) -> Member:
    """The member with a network of its own, and without probes."""
    run = replace(member.run, model=copy.deepcopy(member.run.model), observer=None, dead=None)
    return replace(member, run=run)


def _batch(run: Run) -> tuple[Tensor, Tensor]:
    size = run.settings.batch_size
    return run.splits.prepare(run.splits.train.x[:size]), run.splits.train.y[:size]


def _single_update(run: Run) -> Callable[[], object]:
    model = copy.deepcopy(run.model).train()
    optimizer = run.optimizer(parameter_groups(model, run.sites, run.lr_scale))
    step, parameters = stepper(optimizer), list(model.parameters())
    x, y = _batch(run)
    limit = run.settings.clip_grad_norm
    assert isinstance(run.task, StackedTask)

    def update() -> None:
        run.task.loss(model(x), y).backward()
        if limit is not None:
            torch.nn.utils.clip_grad_norm_(parameters, limit, foreach=True)
        step()
        for parameter in parameters:
            parameter.grad = None

    return update


def _seconds(update: Callable[[], object], device: torch.device) -> float:
    """The shortest of a few updates."""
    found: list[float] = []
    for _ in range(_TIMED + 1):
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        begun = time.perf_counter()
        update()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        found.append(time.perf_counter() - begun)
    return min(found[1:])
