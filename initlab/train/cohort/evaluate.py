"""Evaluates all members of a stack on their own validation parts, and counts their dead units in the same passes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from initlab.spec import Part, StackedTask
from initlab.train.cohort.network import Reader, StackedNetwork
from initlab.train.evaluate import Score
from initlab.train.run import Run

#: bytes of prepared inputs, of all members together, that are kept for the next evaluation
_KEPT = 32 * 2**20


class Evaluation:
    """Scores of the validation parts of the members.

    Args:
        runs: in the order of the stack.
        more: training examples at the beginning of each part that belong to the passes and not to the scores.
    """

    def __init__(self, runs: Sequence[Run], *, more: int) -> None:
        self._runs = list(runs)
        self._size, self._more = len(runs[0].splits.val), more
        self._batch = runs[0].layout.eval_batch
        numbers = sum((self._size + more) * r.splits.val.x[0].numel() for r in runs)
        self._keeps = 4 * numbers <= _KEPT
        self._kept: dict[tuple[bool, int], Tensor] = {}

    def scores(
        self, network: StackedNetwork, task: StackedTask, reader: Reader | None, *, wanted: Callable[[], bool]
    ) -> list[Score]:
        """Loss and accuracy of each member in evaluation mode.

        `reader` sees every forward pass; those of training examples are made as long as they are `wanted`.
        """
        losses: list[Tensor] = []
        right: list[Tensor] = []
        network.training = False
        try:
            with torch.no_grad():
                for start, stop in self._ranges(self._size):
                    y = torch.stack([r.splits.val.y[start:stop] for r in self._runs])
                    output = network(self._inputs(start, stop, more=False), reader)
                    losses.append(task.member_losses(output, y).float() * (stop - start))
                    right.append(task.member_correct(output, y).float())
                for start, stop in self._ranges(self._more):
                    if not wanted():
                        break
                    network(self._inputs(start, stop, more=True), reader)
        finally:
            network.training = True
        totals = torch.stack([torch.stack(losses).sum(0), torch.stack(right).sum(0)]).T.tolist()
        answers = self._runs[0].splits.val.y.numel()
        return [Score(loss=loss / self._size, accuracy=correct / answers) for loss, correct in totals]

    def _ranges(self, size: int) -> Iterator[tuple[int, int]]:
        return ((start, min(size, start + self._batch)) for start in range(0, size, self._batch))

    def _inputs(self, start: int, stop: int, *, more: bool) -> Tensor:
        key = (more, start)
        if key in self._kept:
            return self._kept[key]
        found = torch.stack([r.splits.prepare(_part(r, more=more).x[start:stop]) for r in self._runs])
        if self._keeps:
            self._kept[key] = found
        return found


def _part(run: Run, *, more: bool) -> Part:
    return run.splits.train if more else run.splits.val
