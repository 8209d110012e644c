"""A convolutional recurrent network (CRNN): convolutions over time and frequency, then a GRU or LSTM."""

from __future__ import annotations

from functools import partial
from typing import Literal

from torch import Tensor, nn

from initlab.core.factories import factory
from initlab.models.masks import SequenceNorm, last_step, mask_steps, masked_mean, pooled_mask, sequence_shape
from initlab.models.pieces import image_norm, require
from initlab.network.padding import step_mask
from initlab.spec import IO, Activation, ModelBuilder, PositiveInt

Recurrent = Literal["gru", "lstm"]
Readout = Literal["last", "mean"]
_LEAST = (4, 2)  # features and steps that the poolings leave one of


@factory
def crnn(
    *,
    width: PositiveInt = 16,
    hidden_size: PositiveInt = 64,
    rnn: Recurrent = "gru",
    readout: Readout = "mean",
    norm: SequenceNorm = "none",
) -> ModelBuilder:
    """Builder of the network; see `CRNN`.

    Args:
        width: channels that the first convolution sends on; the second sends twice as many.
        hidden_size: units of the recurrent layer.
        rnn: ``gru`` or ``lstm``.
        readout: what the head sees, the ``last`` step heard or the ``mean`` over all.
        norm: before each activation, ``batch`` or none. In training it counts padding in.
    """
    require("width", width, "must be 1 or more", holds=width >= 1)
    require("hidden_size", hidden_size, "must be 1 or more", holds=hidden_size >= 1)
    return partial(CRNN, width=width, hidden_size=hidden_size, rnn=rnn, readout=readout, norm=norm)


class CRNN(nn.Module):
    """conv 3x3 → pool 2 x 2 → conv 3x3 → pool 2 x 1 → GRU or LSTM over time → head.

    The features (F, T) are an image of one channel; the recurrent layer sees 2 width (F // 4) numbers at each of T // 2
    steps. Arik et al., Convolutional recurrent neural networks for small-footprint keyword spotting, Interspeech 2017.
    Parameters are named ``conv1.weight``, ``norm1.weight``, ``conv2.weight``, ``norm2.weight``, ``rnn.weight_ih_l0``,
    ``rnn.weight_hh_l0``, ``head.weight``.
    """

    def __init__(
        self,
        io: IO,
        activation: Activation,
        *,
        width: int = 16,
        hidden_size: int = 64,
        rnn: Recurrent = "gru",
        readout: Readout = "mean",
        norm: SequenceNorm = "none",
    ) -> None:
        super().__init__()
        features, steps = sequence_shape(io, "crnn")
        least = (
            f"needs {_LEAST[0]} features and {_LEAST[1]} steps or more, the data have {features} and {steps}; "
            "samples want model=m5"
        )
        require("model", "crnn", least, holds=features >= _LEAST[0] and steps >= _LEAST[1])
        first, second = activation.sequence(2)
        wide = first.units_before(width), second.units_before(2 * width)
        own_bias = norm == "none"
        kinds = {"gru": nn.GRU, "lstm": nn.LSTM}
        self.readout = readout
        self.conv1 = nn.Conv2d(1, wide[0], 3, padding=1, bias=own_bias)
        self.norm1 = image_norm(norm, wide[0])
        self.activation1 = first.make(wide[0])
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(width, wide[1], 3, padding=1, bias=own_bias)
        self.norm2 = image_norm(norm, wide[1])
        self.activation2 = second.make(wide[1])
        self.pool2 = nn.MaxPool2d((2, 1))
        self.rnn = kinds[rnn](2 * width * (features // 4), hidden_size, batch_first=True)
        self.head = nn.Linear(hidden_size, io.classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, F, T) to logits (B, classes)."""
        mask = step_mask(x)
        x = self.activation1(self.norm1(self.conv1(x.unsqueeze(1))))
        x, mask = self.pool1(mask_steps(x, mask)), pooled_mask(mask, 2)
        x = self.activation2(self.norm2(self.conv2(mask_steps(x, mask))))
        x = self.pool2(mask_steps(x, mask))
        # padding comes last, so that no step heard comes after it
        x, _ = self.rnn(x.flatten(1, 2).transpose(1, 2))
        x = masked_mean(x.transpose(1, 2), mask) if self.readout == "mean" else last_step(x, mask)
        return self.head(x)
