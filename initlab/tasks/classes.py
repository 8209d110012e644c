"""Cross entropy, accuracy and baselines of classification tasks."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from initlab.spec import Baseline


def cross_entropy(output: Tensor, target: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    """Mean cross entropy (nats) of logits (..., C) and class indices (...), a scalar tensor."""
    logits = output.flatten(0, -2) if output.dim() > 2 else output
    return F.cross_entropy(logits, target.flatten(), label_smoothing=label_smoothing)


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
