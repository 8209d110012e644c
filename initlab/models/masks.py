"""Masks for batches of sequences of different lengths, and averages over the steps that are not padding.

Steps at the end of a sequence at which all features are exactly zero are padding. A network that sets the steps beyond
an example's end to zero after each layer gives the example the same output whatever padding is appended to it: a
convolution then reads the same zeros as those it pads the batch with.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from initlab.errors import ConfigError
from initlab.spec import IO

#: no ``layer``: it would take its mean over the padding, and the output would depend on it
SequenceNorm = Literal["none", "batch"]


def sequence_shape(io: IO, model: str) -> tuple[int, int]:
    """(F, T) of an input that must be a sequence of numbers.

    Raises:
        ConfigError: where it is not one.
    """
    if io.vocabulary is not None or len(io.input_shape) != 2:
        what = "tokens" if io.vocabulary is not None else f"the shape {io.input_shape}"
        raise ConfigError(
            "model", model, f"needs sequences (features, steps), as task=speech has; the data have {what}"
        )
    features, steps = io.input_shape
    return features, steps


def waveform_steps(io: IO, model: str) -> int:
    """T of an input that must be a waveform, (1, T).

    Raises:
        ConfigError: where it is not one.
    """
    features, steps = sequence_shape(io, model)
    if features != 1:
        raise ConfigError(
            "model", model, f"needs waveforms, these have {features} features; use data.features=waveform"
        )
    return steps


def pooled_mask(mask: Tensor, by: int) -> Tensor:
    """The mask (B, T // by) of a sequence after pooling or striding: True where all pooled steps are no padding."""
    return mask[:, by - 1 :: by]


def mask_steps(x: Tensor, mask: Tensor) -> Tensor:
    """Sets the steps of (B, C, T) or (B, C, F, T) to zero where the mask (B, T) is false."""
    keep = mask[:, None, :] if x.dim() == 3 else mask[:, None, None, :]
    return x.masked_fill(~keep, 0.0)


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Mean of (B, ..., T) over the steps where the mask (B, T) is true, (B, ...); 0 where none is."""
    keep = mask.reshape(mask.shape[0], *([1] * (x.dim() - 2)), mask.shape[1])
    return x.masked_fill(~keep, 0.0).sum(-1) / keep.sum(-1).clamp(min=1)


def masked_std(x: Tensor, mask: Tensor) -> Tensor:
    """Standard deviation of (B, C, T) over the unmasked steps, (B, C). A floor keeps its slope finite at 0."""
    centred = x - masked_mean(x, mask)[..., None]
    return (masked_mean(centred.square(), mask) + 1e-5).sqrt()


def last_step(x: Tensor, mask: Tensor) -> Tensor:
    """(B, T, C) at the last step that is no padding, (B, C)."""
    last = (mask.sum(1) - 1).clamp(min=0)
    return x[torch.arange(x.shape[0], device=x.device), last]
