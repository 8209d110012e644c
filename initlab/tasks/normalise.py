"""Standardises data with statistics of the training part: zero mean and unit variance per channel.

Data stay as stored (a quarter of the memory for images) until a batch is taken; the batch is then scaled in one
multiplication and one addition, wherever it lies.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_CHUNK = 1 << 24  # numbers that are looked at together, so that statistics of large data need little memory


@dataclass(frozen=True)
class Standardise:
    """x ↦ (x - mean) / std, as ``x * scale + shift``; float32, shaped to broadcast over a batch."""

    scale: Tensor
    shift: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        return torch.mul(x, self.scale).add_(self.shift)

    def to(self, device: torch.device) -> Standardise:
        return Standardise(self.scale.to(device), self.shift.to(device))


def standardise(x: Tensor) -> Standardise:
    """The map that standardises `x` (N, C, ...), per channel; a constant channel is only centred.

    Flat uint8 examples (N, D) are images rolled out, and share one mean and deviation: a pixel that is lit in one
    training image only would otherwise be blown up. Flat float examples are standardised feature by feature.

    Dividing uint8 images by 255 first would cancel out, so it is not done.
    """
    shared = x.dim() == 2 and x.dtype == torch.uint8
    channels = x.reshape(1, -1) if shared else x.transpose(0, 1)
    mean, std = _uint8_moments(channels) if x.dtype == torch.uint8 else _float_moments(channels)
    std = torch.where(std > 0, std, 1.0)
    shape = (1, -1, *([1] * (x.dim() - 2)))
    return Standardise((1 / std).float().reshape(shape), (-mean / std).float().reshape(shape))


def _uint8_moments(channels: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of uint8 values per row, from their counts: exact, for any order or number of threads."""
    values = torch.arange(256, dtype=torch.float64)
    counts = torch.stack([torch.bincount(row.reshape(-1), minlength=256) for row in channels]).double()
    share = counts / counts.sum(1, keepdim=True)
    mean = share @ values
    return mean, (share * (values - mean[:, None]) ** 2).sum(1).sqrt()


def _float_moments(channels: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of float values per row, in two passes in float64."""
    rows = channels.reshape(channels.shape[0], -1)
    step = max(1, _CHUNK // max(1, rows.shape[0]))
    chunks = rows.split(step, dim=1)
    n = rows.shape[1]
    mean = torch.stack([c.double().sum(1) for c in chunks]).sum(0) / n
    variance = torch.stack([(c.double() - mean[:, None]).square().sum(1) for c in chunks]).sum(0) / n
    return mean, variance.sqrt()
