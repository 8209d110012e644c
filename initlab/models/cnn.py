"""The small convolutional network (CNN) of the Keras examples, the reference network."""

from __future__ import annotations

from functools import partial
from typing import Literal

from torch import Tensor, nn

from initlab.core.factories import factory
from initlab.errors import ConfigError
from initlab.models.pieces import image_shape
from initlab.spec import IO, Activation, ModelBuilder

Padding = Literal["auto", "valid", "same"]
#: what the activations send on; a gated one receives twice as many
_CHANNELS = (32, 64, 64)
_DENSE = 64


@factory
def cnn(*, padding: Padding = "auto") -> ModelBuilder:
    """Builder of the reference network; see `CNN`.

    Args:
        padding: ``valid`` pads nothing (28 → 26 → 13 → 11 → 5 → 3, 576 features), ``same`` keeps the side through a
            convolution, ``auto`` is valid where the input is large enough (18 pixels), else same.
    """
    return partial(CNN, padding=padding)


class CNN(nn.Module):
    """conv 3x3, 32 → pool 2 → conv 3x3, 64 → pool 2 → conv 3x3, 64 → dense 64 → dense classes.

    An activation follows each layer but the last. Chollet, Deep Learning with Python, 2018, section 5.1.
    Parameters are named ``conv1.weight``, ``conv2.weight``, ``conv3.weight``, ``dense.weight``, ``head.weight``.
    """

    def __init__(self, io: IO, activation: Activation, *, padding: Padding = "auto") -> None:
        super().__init__()
        channels, *sides = image_shape(io.input_shape, "cnn")
        if padding == "auto":
            padding = "valid" if all(_side(s, 0) >= 1 for s in sides) else "same"
        pad = 1 if padding == "same" else 0
        height, width = (_side(s, pad) for s in sides)
        if min(height, width) < 1:
            least = 4 if pad else 18
            raise ConfigError("padding", padding, f"needs images of at least {least} x {least}, these are {sides}")
        first, second, third, fourth = activation.sequence(4)
        wide = [a.units_before(c) for a, c in zip((first, second, third), _CHANNELS, strict=True)]
        self.conv1 = nn.Conv2d(channels, wide[0], 3, padding=pad)
        self.activation1 = first.make(wide[0])
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(_CHANNELS[0], wide[1], 3, padding=pad)
        self.activation2 = second.make(wide[1])
        self.pool2 = nn.MaxPool2d(2)
        self.conv3 = nn.Conv2d(_CHANNELS[1], wide[2], 3, padding=pad)
        self.activation3 = third.make(wide[2])
        self.dense = nn.Linear(_CHANNELS[2] * height * width, fourth.units_before(_DENSE))
        self.activation4 = fourth.make(fourth.units_before(_DENSE))
        self.head = nn.Linear(_DENSE, io.classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to logits (B, classes)."""
        x = self.pool1(self.activation1(self.conv1(x)))
        x = self.pool2(self.activation2(self.conv2(x)))
        x = self.activation3(self.conv3(x))
        x = self.activation4(self.dense(x.flatten(1)))
        return self.head(x)


def _side(side: int, pad: int) -> int:
    """Side of the last feature map of an input of `side` pixels."""
    lost = 2 - 2 * pad
    return ((side - lost) // 2 - lost) // 2 - lost
