"""Standardises sequences of features; padding becomes exactly zero."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from initlab.network.padding import step_mask

_CHUNK = 1 << 24  # numbers that are looked at together, so that statistics of large data need little memory


@dataclass(frozen=True)
class StandardiseSteps:
    """x ↦ (x - mean) / std with padding at 0, as ``x * scale + shift`` and NaN ↦ 0; float32 (B, F, T)."""

    scale: Tensor
    shift: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        return torch.mul(x, self.scale).add_(self.shift).nan_to_num_(0.0)

    def to(self, device: torch.device) -> StandardiseSteps:
        return StandardiseSteps(self.scale.to(device), self.shift.to(device))


def standardise_steps(x: Tensor, *, waveform: bool = False) -> StandardiseSteps:
    """The map that standardises `x`, feature by feature over the steps that are not padding. Sums are in float64.

    Args:
        x: features, float (N, F, T) with NaN at padding: they get zero mean and unit variance, and one that is constant
            is only centred. Or waveforms (N, 1, T) with zeros at padding.
        waveform: only scale, to a mean square of 1: a shift would move the zeros.
    """
    if waveform:
        return _scale_waveforms(x)
    rows = x.split(max(1, _CHUNK // max(1, x.shape[1] * x.shape[2])))
    count = sum(int(r[:, 0].isfinite().sum()) for r in rows)
    mean = torch.stack([r.double().nansum((0, 2)) for r in rows]).sum(0) / count
    squares = torch.stack([(r.double() - mean[:, None]).square().nansum((0, 2)) for r in rows]).sum(0)
    std = (squares / count).sqrt()
    std = torch.where(std > 0, std, 1.0)
    return StandardiseSteps((1 / std).float()[None, :, None], (-mean / std).float()[None, :, None])


def _scale_waveforms(x: Tensor) -> StandardiseSteps:
    """Over the samples up to the last that is not 0."""
    rows = x.split(max(1, _CHUNK // max(1, x.shape[2])))
    squares = sum(float(r.double().square().nansum()) for r in rows)
    count = sum(int(step_mask(r).sum()) for r in rows)
    scale = (count / squares) ** 0.5 if squares > 0 else 1.0
    return StandardiseSteps(torch.full((1, 1, 1), scale), torch.zeros(1, 1, 1))
