"""The definition of padding that data, networks and probes share (in words: `spec.IO`)."""

from __future__ import annotations

import torch
from torch import Tensor


def step_mask(x: Tensor) -> Tensor:
    """Which steps of (B, F, T) are not padding: bool (B, T), true up to the last at which a feature is not 0."""
    steps = torch.arange(x.shape[2], device=x.device)
    heard = (x != 0).any(1)
    return steps < (heard * (steps + 1)).amax(1, keepdim=True)
