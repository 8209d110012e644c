"""Losses and right answers since the last training record, collected on the device and fetched together."""

from __future__ import annotations

import torch
from torch import Tensor

from initlab.spec import Task
from initlab.train.checkpoint import State
from initlab.train.ranks import Ranks

#: logits of a batch whose right answers are counted together with those of other batches
_TOGETHER = 65_536


class Window:
    """Collects the loss and the right answers of each update; `settle` fetches them into the state in one transfer."""

    def __init__(self, task: Task, ranks: Ranks, state: State) -> None:
        self._task, self._ranks, self._state = task, ranks, state
        self._losses: list[Tensor] = []
        self._correct: list[Tensor] = []
        #: outputs and targets of which the right answers are still to be counted
        self._answers: list[tuple[Tensor, Tensor]] = []

    @property
    def is_empty(self) -> bool:
        """Whether no update was made since the last record."""
        return not self._losses and not self._state.window_loss

    def add(self, loss: Tensor, output: Tensor, y: Tensor, *, weight: float) -> None:
        """Collect an update.

        Args:
            loss: scalar, detached.
            output: of the network, detached.
            y: targets.
            weight: share of this rank in the batch; a rank without a share counts no answers.
        """
        self._losses.append(loss)
        # right answers of small batches are counted together, when they are fetched
        if self._ranks.is_single and output.dim() == 2 and output.numel() <= _TOGETHER:
            self._answers.append((output, y))
            return
        self._correct.append(self._task.correct(output, y))
        if weight == 0:
            self._correct[-1] = torch.zeros_like(self._correct[-1])

    def settle(self) -> None:
        """Fetch the losses and right answers that wait on the device."""
        if not self._losses:
            return
        ranks = self._ranks
        if self._answers:
            outputs, targets = zip(*self._answers, strict=True)
            self._correct.append(self._task.correct(torch.cat(outputs), torch.cat(targets)))
        values = ranks.sum(torch.stack([v.float() for v in (*self._losses, *self._correct)]))
        numbers: list[float] = values.tolist()
        self._state.window_loss.extend(v / ranks.world for v in numbers[: len(self._losses)])
        self._state.window_correct += sum(numbers[len(self._losses) :])
        self._losses, self._correct, self._answers = [], [], []
