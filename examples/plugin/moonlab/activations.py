"""SinLU, a wave that fades in with the sigmoid."""

from __future__ import annotations

import torch
from torch import Tensor

from initlab.activations.modules import pointwise
from initlab.spec import Activation, PositiveFloat


def sinlu(*, a: PositiveFloat = 1.0, b: PositiveFloat = 1.0) -> Activation:
    """φ(x) = (x + a sin(b x)) σ(x). Paul, Bandyopadhyay, Yoon, Geem & Sarkar, Mathematics 10(3), 2022.

    Args:
        a: height of the wave.
        b: its frequency.
    """

    def fn(x: Tensor) -> Tensor:
        return (x + a * torch.sin(b * x)) * torch.sigmoid(x)

    return pointwise("sinlu", fn)
