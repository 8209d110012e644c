"""Loss and accuracy of a model on a part of the data, in eval mode, with one transfer at the end."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from initlab.spec import Part, Splits, Task


@dataclass(frozen=True)
class Score:
    """Mean loss (nats) and accuracy (share of examples) over a part."""

    loss: float
    accuracy: float

    @property
    def finite(self) -> bool:
        return math.isfinite(self.loss)


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
    batch_size: int,
    precision: str = "fp32",
    limit: int | None = None,
    around: AbstractContextManager[object] | None = None,
    more: Tensor | None = None,
) -> Score:
    """Score `part`; the model's mode is restored.

    `limit` caps the examples; `around` is open during the pass; `more` are further inputs, as stored, that belong to
    the pass and not to the score.
    """
    was_training = model.training
    model.eval()
    n = len(part) if limit is None else min(limit, len(part))
    losses: list[Tensor] = []
    right: list[Tensor] = []
    try:
        # no_grad and not inference_mode: a probe may keep what it sees
        with torch.no_grad(), around or nullcontext():
            for start in range(0, n, batch_size):
                stop = min(n, start + batch_size)
                y = part.y[start:stop]
                with autocast(y.device, precision):
                    output = model(splits.prepare(part.x[start:stop]))
                    losses.append(task.loss(output, y).float() * (stop - start))
                right.append(task.correct(output, y).float())
            for batch in () if more is None else more.split(batch_size):
                with autocast(batch.device, precision):
                    model(splits.prepare(batch))
    finally:
        model.train(was_training)
    loss, correct = torch.stack([torch.stack(losses).sum(), torch.stack(right).sum()]).tolist()
    return Score(loss=loss / n, accuracy=correct / n)
