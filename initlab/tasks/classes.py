"""Cross entropy, accuracy and baselines of classification tasks."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from initlab.spec import Baseline, Part, Splits


def cross_entropy(output: Tensor, target: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    """Mean cross entropy (nats) of logits (..., C) and class indices (...), a scalar tensor."""
    logits = output.flatten(0, -2) if output.dim() > 2 else output
    return F.cross_entropy(logits, target.flatten(), label_smoothing=label_smoothing)


def member_cross_entropy(output: Tensor, target: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    """`cross_entropy` of several networks: (members,) of logits (members, B, ..., C) and indices (members, B, ...)."""
    each = F.cross_entropy(output.flatten(0, -2), target.flatten(), label_smoothing=label_smoothing, reduction="none")
    return each.view(len(output), -1).mean(1)


def count_correct(output: Tensor, target: Tensor) -> Tensor:
    """Number of answers whose largest logit is at the target, a scalar tensor."""
    return (output.argmax(-1) == target).sum()


def baseline(y: Tensor, classes: int) -> Baseline:
    """Baseline of guessing on targets `y` (int64, any shape) of `classes`: ln C, entropy, commonest class."""
    share = torch.bincount(y.flatten().cpu(), minlength=classes).double() / max(1, y.numel())
    return Baseline(
        untrained=math.log(classes),
        constant=float(-torch.special.xlogy(share, share).sum()),
        accuracy=float(share.max()),
        words=f"ln {classes} = {math.log(classes):.2f}",
    )


class Classification:
    """What every classification task does alike: count right answers, report the accuracy, produce no texts."""

    def correct(self, output: Tensor, target: Tensor) -> Tensor:
        """How many of the batch have their largest logit at the target, a scalar tensor."""
        return count_correct(output, target)

    def member_correct(self, output: Tensor, target: Tensor) -> Tensor:
        """`correct` of several networks: (members,) from logits (members, B, ..., C) and targets (members, B, ...)."""
        return (output.argmax(-1) == target).flatten(1).sum(1)

    def scores(self, loss: float, accuracy: float) -> dict[str, float]:
        """The accuracy."""
        del loss
        return {"accuracy": accuracy}

    def closing(self, model: nn.Module, splits: Splits, *, seed: int) -> dict[str, str]:
        """Nothing."""
        del model, splits, seed
        return {}


def move_part(part: Part, device: torch.device) -> Part:
    """The part on `device`."""
    return Part(x=part.x.to(device), y=part.y.to(device))
