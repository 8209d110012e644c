"""Data augmentation of speech (SpecAugment, time shift), drawn for each example from a passed generator.

They act on what the network sees, (B, F, T) with zeros at the end as padding, and padding stays zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor

from initlab.errors import ConfigError
from initlab.network.padding import step_mask
from initlab.spec import NonNegativeInt, UnitFloat

AugmentName = Literal["none", "spec_augment", "time_shift", "spec_augment_time_shift"]


@dataclass(frozen=True, kw_only=True)
class SpeechAugment:
    """Settings of the augmentation of training batches.

    Attributes:
        name: ``spec_augment`` hides bands of features and stretches of time (Park et al., Interspeech 2019, without
            the time warping, which they found to matter least); ``time_shift`` moves the whole example.
        masks: how many bands, and how many stretches.
        mask_features: share of the features that a band has at most.
        mask_time: share of the example's steps that a stretch has at most.
        shift: share of the example's steps that it is moved by at most, either way. What is pushed out is lost.
    """

    name: AugmentName = "none"
    masks: NonNegativeInt = 1
    mask_features: UnitFloat = 0.2
    mask_time: UnitFloat = 0.2
    shift: UnitFloat = 0.1

    def check(self, *, waveform: bool) -> None:
        """Raises ConfigError where bands are hidden in a waveform, which has one feature."""
        if waveform and self.hides:
            raise ConfigError(
                "augment",
                self.name,
                "hides bands of features, which a waveform lacks; use augment=time_shift, or features=mfcc or log_mel",
            )

    @property
    def hides(self) -> bool:
        return self.name in ("spec_augment", "spec_augment_time_shift")

    @property
    def moves(self) -> bool:
        return self.name in ("time_shift", "spec_augment_time_shift")

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        """(B, F, T) to the same shape. Numbers are drawn on the CPU: the same examples on every device."""
        if self.moves:
            x = shift_in_time(x, generator, share=self.shift)
        if self.hides:
            x = mask_bands(x, generator, count=self.masks, features=self.mask_features, time=self.mask_time)
        return x


def shift_in_time(x: Tensor, generator: Generator, *, share: float) -> Tensor:
    """Shifts each example by up to `share` of its steps either way; the freed steps are zero."""
    batch, _, steps = x.shape
    u = (torch.rand(batch, generator=generator) * 2 - 1).to(x.device)
    offset = (u * share * step_mask(x).sum(1)).round().long()
    index = torch.arange(steps, device=x.device) - offset[:, None]
    inside = (index >= 0) & (index < steps)
    moved = x.gather(2, index.clamp(0, steps - 1)[:, None].expand_as(x))
    return moved * inside[:, None]


def mask_bands(x: Tensor, generator: Generator, *, count: int, features: float, time: float) -> Tensor:
    """`count` bands of features and `count` stretches of time set to 0, the mean, each of a random width up to a share.

    The last step of an example is never hidden: it tells where the example ends.
    """
    batch, bands, _ = x.shape
    u = torch.rand(4, count, batch, generator=generator).to(x.device)
    ends = (step_mask(x).sum(1) - 1).clamp(min=0)
    rows = torch.full((batch,), bands, device=x.device)
    for width, start, width_t, start_t in zip(*u, strict=True):
        hidden = _span(rows, width * features * bands, start, x.shape[1])[:, :, None]
        hidden_t = _span(ends, width_t * time * ends, start_t, x.shape[2])[:, None]
        # of the last step nothing is hidden, not even a band: a recording of one feature would end earlier
        last = torch.arange(x.shape[2], device=x.device) >= ends[:, None]
        x = x.masked_fill((hidden | hidden_t) & ~last[:, None], 0.0)
    return x


def _span(size: Tensor, width: Tensor, start: Tensor, positions: int) -> Tensor:
    """Which of `positions` lie in a span of `width` (at most, rounded down) within the first `size`; bool (B, P)."""
    whole = torch.minimum(width.floor(), size.float())
    first = (start * (size - whole + 1)).floor()[:, None]
    at = torch.arange(positions, device=size.device)
    return (at >= first) & (at < first + whole[:, None])
