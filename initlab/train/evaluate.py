"""Evaluates a model on a part of the data: loss and accuracy in eval mode, with one transfer at the end."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from initlab.spec import Part, Splits, Task
from initlab.train.batching import EVAL_STREAMS, stream_batches
from initlab.train.hidden_state import carry_state
from initlab.train.layout import Layout


@dataclass(frozen=True)
class Score:
    """Mean loss and share of right answers over a part; [true class][answer] counts on request."""

    loss: float
    accuracy: float
    confusion: tuple[tuple[int, ...], ...] = ()

    @property
    def finite(self) -> bool:
        return math.isfinite(self.loss)

    def scores(self, task: Task) -> dict[str, float]:
        """The task's own scores; only the share of right answers where the loss is not finite."""
        found = task.scores(self.loss, self.accuracy)
        return found if self.finite else {k: v for k, v in found.items() if k == "accuracy"}


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """Mixed precision for the forward pass; none for fp32."""
    if precision == "fp32":
        return nullcontext()
    dtype = torch.bfloat16 if precision == "bf16" else torch.float16
    return torch.autocast(device.type, dtype=dtype)


def evaluate(
    model: nn.Module,
    task: Task,
    splits: Splits,
    part: Part,
    *,
    layout: Layout,
    precision: str = "fp32",
    limit: int | None = None,
    around: AbstractContextManager[object] | None = None,
    more: Tensor | None = None,
    wanted: Callable[[], bool] = lambda: True,
    confusion: bool = False,
) -> Score:
    """Score `part`; the model's mode is restored. A part that is one long sequence is read in parallel streams.

    `layout` says how many examples a batch has; `limit` caps the examples; `around` is open during the pass; `more` are
    further inputs, as stored, that belong to the pass and not to the score, as long as they are `wanted`.
    `confusion` counts answers by true class, of a classifier of whole examples.
    """
    was_training = model.training
    model.eval()
    n = len(part) if limit is None else min(limit, len(part))
    losses: list[Tensor] = []
    right: list[Tensor] = []
    counts: list[Tensor] = []
    answers = 0
    try:
        # no_grad and not inference_mode: a probe may keep what it sees
        with torch.no_grad(), around or nullcontext():
            with carry_state(model, splits):
                for x, y in _batches(part, n, layout.eval_batch, streams=splits.streams):
                    with autocast(y.device, precision):
                        output = model(layout.of(splits.prepare(x)))
                        losses.append(task.loss(output, y).float() * len(y))
                    right.append(task.correct(output, y).float())
                    answers += y.numel()
                    if confusion:
                        classes = output.shape[-1]
                        pairs = y.flatten() * classes + output.argmax(-1).flatten()
                        counts.append(torch.bincount(pairs, minlength=classes**2))
            for batch in () if more is None else more.split(layout.eval_batch):
                if not wanted():
                    break
                with autocast(batch.device, precision):
                    model(layout.of(splits.prepare(batch)))
    finally:
        model.train(was_training)
    loss, correct = torch.stack([torch.stack(losses).sum(), torch.stack(right).sum()]).tolist()
    return Score(loss=loss / n, accuracy=correct / answers, confusion=_square(counts))


def _batches(part: Part, n: int, batch_size: int, *, streams: bool) -> Iterator[tuple[Tensor, Tensor]]:
    if streams:
        for index in stream_batches(n, EVAL_STREAMS, device=part.y.device):
            yield part.x[index], part.y[index]
        return
    for start in range(0, n, batch_size):
        yield part.x[start : min(n, start + batch_size)], part.y[start : min(n, start + batch_size)]


def _square(counts: list[Tensor]) -> tuple[tuple[int, ...], ...]:
    if not counts:
        return ()
    total = torch.stack(counts).sum(0)
    side = math.isqrt(len(total))
    return tuple(tuple(row) for row in total.view(side, side).tolist())
