"""Layers whose weights are standardised before use (weight standardisation)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: ε below, added to the variance of a unit's weights
EPSILON = 1e-5


def standardise_weight(weight: Tensor) -> Tensor:
    """Ŵ = (W - μ)/√(σ² + ε), with mean and variance over the weights (fan_in) of each output unit; ε = 1e-5.

    Qiao, Wang, Liu, Shen & Yuille, arXiv:1903.10520, 2019.

    Args:
        weight: (units, ...).
    """
    kept = list(range(1, weight.dim()))
    variance, mean = torch.var_mean(weight, dim=kept, correction=0, keepdim=True)
    return (weight - mean) * torch.rsqrt(variance + EPSILON)


class StandardisedLinear(nn.Linear):
    """A linear layer that uses its weight standardised; parameters as those of `nn.Linear`."""

    def forward(self, input: Tensor) -> Tensor:
        """(B, inputs) to (B, units)."""
        return F.linear(input, standardise_weight(self.weight), self.bias)


class StandardisedConv2d(nn.Conv2d):
    """A convolution that uses its weight standardised; parameters as those of `nn.Conv2d`."""

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) to (B, channels, H, W)."""
        return self._conv_forward(input, standardise_weight(self.weight), self.bias)


def linear_layer(inputs: int, units: int, *, standardised: bool, bias: bool) -> nn.Linear:
    """A linear layer, with standardised weights or plain."""
    return (StandardisedLinear if standardised else nn.Linear)(inputs, units, bias=bias)


def convolution(channels: int, out: int, kernel: int, *, standardised: bool, **options: Any) -> nn.Conv2d:
    """A convolution with the `options` of `nn.Conv2d`, with standardised weights or plain."""
    return (StandardisedConv2d if standardised else nn.Conv2d)(channels, out, kernel, **options)
