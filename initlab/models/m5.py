"""M5, a convolutional network on raw waveforms."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from initlab.core.factories import factory
from initlab.models.masks import SequenceNorm, mask_steps, masked_mean, pooled_mask, waveform_steps
from initlab.models.pieces import image_norm, require
from initlab.network.padding import step_mask
from initlab.spec import IO, Activation, ModelBuilder, PositiveInt

_FIRST, _STRIDE, _POOL = 80, 4, 4
_LAYERS = 4
_LEAST = _STRIDE * _POOL**_LAYERS  # samples of which one step is left


@factory
def m5(*, width: PositiveInt = 32, norm: SequenceNorm = "batch") -> ModelBuilder:
    """Builder of M5; see `M5`.

    Args:
        width: channels of the first two convolutions; 128 in the paper. The third has twice as
            many, the fourth four times.
        norm: before each activation, ``batch`` as in the paper, or none. In training it counts padding in.
    """
    require("width", width, "must be 1 or more", holds=width >= 1)
    return partial(M5, width=width, norm=norm)


class M5(nn.Module):
    """conv 80 stride 4 → three convs 3; norm, activation and max pooling by 4 after each; mean over time; head.

    Dai, Dai, Qu, Li & Das, Very deep convolutional neural networks for raw waveforms, ICASSP 2017, table 1, made for
    8 kHz. Parameters are named ``layers.0.weight`` ..., ``norms.<i>.weight``, ``head.weight``.
    """

    def __init__(self, io: IO, activation: Activation, *, width: int = 32, norm: SequenceNorm = "batch") -> None:
        super().__init__()
        steps = waveform_steps(io, "m5")
        least = f"needs {_LEAST} samples or more, the data have {steps}"
        require("model", "m5", least, holds=steps >= _LEAST)
        activations = activation.sequence(_LAYERS)
        sent = (width, width, 2 * width, 4 * width)
        made = [a.units_before(c) for a, c in zip(activations, sent, strict=True)]
        own_bias = norm == "none"
        self.layers = nn.ModuleList(
            # padded so that T samples give T // 4 steps
            [nn.Conv1d(1, made[0], _FIRST, stride=_STRIDE, padding=(_FIRST - _STRIDE) // 2, bias=own_bias)]
        )
        self.layers.extend(
            nn.Conv1d(i, o, 3, padding=1, bias=own_bias) for i, o in zip(sent[:-1], made[1:], strict=True)
        )
        self.norms = nn.ModuleList([image_norm(norm, c) for c in made])
        self.activations = nn.ModuleList([a.make(c) for a, c in zip(activations, made, strict=True)])
        self.pools = nn.ModuleList([nn.MaxPool1d(_POOL) for _ in made])
        self.head = nn.Linear(sent[-1], io.classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, T) to logits (B, classes)."""
        mask = step_mask(x)
        for i, (layer, pool) in enumerate(zip(self.layers, self.pools, strict=True)):
            x = layer(x)
            mask = pooled_mask(mask, _STRIDE) if i == 0 else mask
            # units lie along dimension 1 of (B, C, T, 1), which norms and activations know; of (B, C, T) they do not
            x = self.activations[i](self.norms[i](x.unsqueeze(-1))).squeeze(-1)
            x = pool(mask_steps(x, mask))
            mask = pooled_mask(mask, _POOL)
            x = mask_steps(x, mask)
        return self.head(masked_mean(x, mask))
