"""A small convolutional network over time and frequency, the article's second case."""

from __future__ import annotations

from functools import partial
from typing import Literal

from torch import Tensor, nn

from initlab.core.factories import factory
from initlab.models.masks import SequenceNorm, mask_steps, masked_mean, pooled_mask, sequence_shape
from initlab.models.pieces import image_norm, require
from initlab.network.padding import step_mask
from initlab.spec import IO, Activation, ModelBuilder, PositiveInt

Pooling = Literal["max", "average"]
_LEAST = 4  # features and steps that two poolings leave one of


@factory
def speech_cnn(
    *,
    width: PositiveInt = 32,
    dense: PositiveInt = 64,
    kernel: PositiveInt = 5,
    norm: SequenceNorm = "none",
    pool: Pooling = "max",
) -> ModelBuilder:
    """Builder of the network; see `SpeechCNN`.

    Args:
        width: channels that the first convolution sends on; the second sends twice as many.
        dense: units of the fully connected layer.
        kernel: side of both kernels, over features and steps, odd.
        norm: before each activation of a convolution, ``batch`` or none. In training it counts padding in.
        pool: by ``max`` or ``average``, over 2 features and 2 steps.

    Raises:
        ConfigError: an even kernel.
    """
    require("width", width, "must be 1 or more", holds=width >= 1)
    require("dense", dense, "must be 1 or more", holds=dense >= 1)
    require("kernel", kernel, "must be odd, so that the number of steps is kept", holds=kernel % 2 == 1)
    return partial(SpeechCNN, width=width, dense=dense, kernel=kernel, norm=norm, pool=pool)


class SpeechCNN(nn.Module):
    """conv → pool 2 → conv → pool 2 → mean over the steps heard → dense → head, an activation after each but the last.

    The features (F, T) are an image of one channel. What is left of the features after pooling, F // 4, stays apart;
    time is averaged over, so that recordings of any length do. Sainath & Parada, Interspeech 2015, is the model for
    small networks of this form. Parameters are named ``conv1.weight``, ``norm1.weight``, ``conv2.weight``,
    ``norm2.weight``, ``dense.weight``, ``head.weight``.
    """

    def __init__(
        self,
        io: IO,
        activation: Activation,
        *,
        width: int = 32,
        dense: int = 64,
        kernel: int = 5,
        norm: SequenceNorm = "none",
        pool: Pooling = "max",
    ) -> None:
        super().__init__()
        features, steps = sequence_shape(io, "speech_cnn")
        least = (
            f"needs {_LEAST} features and steps or more, the data have {features} and {steps}; samples want model=m5"
        )
        require("model", "speech_cnn", least, holds=min(features, steps) >= _LEAST)
        first, second, third = activation.sequence(3)
        wide = first.units_before(width), second.units_before(2 * width), third.units_before(dense)
        pools = {"max": nn.MaxPool2d, "average": nn.AvgPool2d}
        own_bias = norm == "none"
        self.conv1 = nn.Conv2d(1, wide[0], kernel, padding=kernel // 2, bias=own_bias)
        self.norm1 = image_norm(norm, wide[0])
        self.activation1 = first.make(wide[0])
        self.pool1 = pools[pool](2)
        self.conv2 = nn.Conv2d(width, wide[1], kernel, padding=kernel // 2, bias=own_bias)
        self.norm2 = image_norm(norm, wide[1])
        self.activation2 = second.make(wide[1])
        self.pool2 = pools[pool](2)
        self.dense = nn.Linear(2 * width * (features // 4), wide[2])
        self.activation3 = third.make(wide[2])
        self.head = nn.Linear(dense, io.classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, F, T) to logits (B, classes)."""
        mask = step_mask(x)
        x = self.activation1(self.norm1(self.conv1(x.unsqueeze(1))))
        x, mask = self.pool1(mask_steps(x, mask)), pooled_mask(mask, 2)
        x = self.activation2(self.norm2(self.conv2(mask_steps(x, mask))))
        x, mask = self.pool2(mask_steps(x, mask)), pooled_mask(mask, 2)
        x = masked_mean(x, mask).flatten(1)
        return self.head(self.activation3(self.dense(x)))
