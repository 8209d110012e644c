"""A time-delay network (TDNN): dilated convolutions over time, then mean and deviation of each channel."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from initlab.core.factories import factory
from initlab.errors import ConfigError
from initlab.models.masks import SequenceNorm, mask_steps, masked_mean, masked_std, sequence_shape
from initlab.models.pieces import image_norm, require
from initlab.network.padding import step_mask
from initlab.spec import IO, Activation, ModelBuilder, PositiveInt

#: (kernel, dilation) of the layers that see frames
_FRAMES: Sequence[tuple[int, int]] = ((5, 1), (3, 2), (3, 3), (1, 1))


@factory
def tdnn(*, width: PositiveInt = 64, dense: PositiveInt = 64, norm: SequenceNorm = "none") -> ModelBuilder:
    """Builder of the network; see `TDNN`.

    Args:
        width: channels that each convolution sends on; 512 in the paper.
        dense: units of the layer after the statistics.
        norm: before each activation of a convolution, ``batch`` or none. In training it counts padding in.
    """
    require("width", width, "must be 1 or more", holds=width >= 1)
    require("dense", dense, "must be 1 or more", holds=dense >= 1)
    return partial(TDNN, width=width, dense=dense, norm=norm)


class TDNN(nn.Module):
    """Four convolutions over time, dilated 1, 2, 3, 1; mean and deviation of each channel over time; dense; head.

    Waibel et al., IEEE Transactions on Acoustics, Speech and Signal Processing, 1989; with dilations and statistics
    pooling as the x-vector network of Snyder et al., ICASSP 2018, and one layer fewer at either end. Parameters are
    named ``layers.0.weight`` ..., ``norms.<i>.weight``, ``dense.weight``, ``head.weight``.
    """

    def __init__(
        self, io: IO, activation: Activation, *, width: int = 64, dense: int = 64, norm: SequenceNorm = "none"
    ) -> None:
        super().__init__()
        features, _ = sequence_shape(io, "tdnn")
        if features == 1:
            raise ConfigError("model", "tdnn", "needs frames of features, these are samples; use data.features=mfcc")
        *framed, last = activation.sequence(len(_FRAMES) + 1)
        made = [a.units_before(width) for a in framed]
        received = [features, *[width] * (len(_FRAMES) - 1)]
        self.layers = nn.ModuleList(
            nn.Conv1d(i, o, kernel, dilation=gap, padding=kernel // 2 * gap, bias=norm == "none")
            for i, o, (kernel, gap) in zip(received, made, _FRAMES, strict=True)
        )
        self.norms = nn.ModuleList([image_norm(norm, c) for c in made])
        self.activations = nn.ModuleList([a.make(c) for a, c in zip(framed, made, strict=True)])
        self.dense = nn.Linear(2 * width, last.units_before(dense))
        self.activation = last.make(last.units_before(dense))
        self.head = nn.Linear(dense, io.classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, F, T) to logits (B, classes)."""
        mask = step_mask(x)
        for layer, norm, activation in zip(self.layers, self.norms, self.activations, strict=True):
            # units lie along dimension 1 of (B, C, T, 1), which norms and activations know; of (B, C, T) they do not
            x = mask_steps(activation(norm(layer(x).unsqueeze(-1))).squeeze(-1), mask)
        x = torch.cat([masked_mean(x, mask), masked_std(x, mask)], 1)
        return self.head(self.activation(self.dense(x)))
