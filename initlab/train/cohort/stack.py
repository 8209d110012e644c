"""The stack: one network made of several, with their optimisers and probes, and the updates of all of them at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from initlab.spec import StackedTask
from initlab.train.cohort.draws import Draws
from initlab.train.cohort.member import Course
from initlab.train.cohort.network import StackedNetwork
from initlab.train.cohort.optimizers import StackedOptimizers, clip_gradients
from initlab.train.cohort.probes import StackedDeadUnits, StackedObserver


class Stack:
    """The stacked network of some members, with optimisers and probes.

    Args:
        courses: of the members; those with the same activation stand side by side.
    """

    def __init__(self, courses: Sequence[Course]) -> None:
        self.courses = list(courses)
        runs = [c.run for c in courses]
        self.draws = Draws([c.random for c in courses])
        self.network = StackedNetwork([r.model for r in runs], [c.function for c in courses], self.draws)
        self.optimizers = StackedOptimizers(
            [r.model for r in runs], [c.optimizer for c in courses], [c.base_rates for c in courses],
            [c.rates for c in courses], self.network.rows,
        )  # fmt: skip
        self.observer = None if runs[0].observer is None else StackedObserver(self.network, runs)
        self.dead = None if runs[0].dead is None else StackedDeadUnits(self.network, runs)
        task = runs[0].task
        assert isinstance(task, StackedTask)
        self._task: StackedTask = task
        self._clip = runs[0].settings.clip_grad_norm
        #: activations that change in the course of training
        self._moving: list[Any] = [
            m for r in runs for m in r.model.modules() if callable(getattr(m, "set_progress", None))
        ]
        self._losses: list[Tensor] = []
        self._answers: list[tuple[Tensor, Tensor]] = []

    def update(self, step: int, total: int, x: Tensor, y: Tensor) -> StackedObserver | None:
        """One update of all members; returns the observer where this is one of its steps."""
        for module in self._moving:
            module.set_progress(step / total)
        observer = self.observer if self.observer is not None and self.observer.is_due(step) else None
        if observer is not None:
            observer.begin()
        output = self.network(x, observer)
        losses = self._task.member_losses(output, y)
        losses.sum().backward()
        if observer is not None:
            observer.gradients()
        if self._clip is not None:
            clip_gradients(self.network.rows, len(self.courses), self._clip)
        if observer is not None:
            observer.before_update()
        self.optimizers.step(step)
        self._losses.append(losses.detach())
        self._answers.append((output.detach(), y))
        return observer

    def settle(self) -> None:
        """Fetch losses and right answers since the last time into the states of the members."""
        if not self._losses:
            return
        outputs, targets = zip(*self._answers, strict=True)
        correct = self._task.member_correct(torch.cat(outputs, 1), torch.cat(targets, 1))
        columns = torch.stack([*self._losses, correct]).T.tolist()
        for course, numbers in zip(self.courses, columns, strict=True):
            course.state.window_loss.extend(numbers[:-1])
            course.state.window_correct += numbers[-1]
        self._losses, self._answers = [], []

    def write_back(self, step: int) -> None:
        """Give networks, optimisers and random numbers back to the members."""
        self.settle()
        self.network.write_back()
        self.optimizers.write_back(step)
        for course, state in zip(self.courses, self.draws.states, strict=True):
            course.random = state
