"""Shared parts of the models: norms, residual multipliers, and checks of arguments."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from initlab.errors import ConfigError
from initlab.spec import IO, Activation

NormName = Literal["none", "batch", "layer"]
DropoutName = Literal["plain", "alpha"]


def require(key: str, value: object, expected: str, *, holds: bool) -> None:
    """Raises ConfigError about `key` unless `holds`, also for callers from Python without a configuration."""
    if not holds:
        raise ConfigError(key, value, expected)


class BranchScale(nn.Module):
    """Multiplies a residual branch by a learnable number, as SkipInit (De & Smith, 2020) and Fixup do."""

    initlab_role = "scale"

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same shape."""
        return self.weight * x


def branch_end(*, scaled: bool) -> nn.Module:
    """The last module of a residual branch: BranchScale, or an identity so that names do not depend on it."""
    return BranchScale() if scaled else nn.Identity()


def require_elementwise(activations: tuple[Activation, ...], model: str) -> None:
    """Raise ConfigError where an activation changes the number of units, in a model whose shortcuts fix the widths."""
    for activation in activations:
        if activation.units != (1, 1):
            raise ConfigError(
                "activation",
                activation.name,
                f"changes the number of units, which model={model} does not take; use model=mlp, cnn or convnet, or an "
                "elementwise activation",
            )


def require_numbers(io: IO, model: str) -> None:
    """Raise ConfigError where the inputs are tokens, in a model that multiplies its inputs by weights."""
    if io.vocabulary is not None:
        raise ConfigError("model", model, "needs numbers, the data are tokens; use model=lstm, gru or rnn")


def flat_norm(name: NormName, features: int) -> nn.Module:
    """Normalisation of (B, features). An identity for ``none``, so that names do not depend on it."""
    if name == "batch":
        return nn.BatchNorm1d(features)
    return nn.LayerNorm(features) if name == "layer" else nn.Identity()


def image_norm(name: NormName, channels: int) -> nn.Module:
    """Normalisation of (B, channels, H, W). ``layer`` is over C, H, W with an affine map per channel (one group)."""
    if name == "batch":
        return nn.BatchNorm2d(channels)
    return nn.GroupNorm(1, channels) if name == "layer" else nn.Identity()


def image_shape(input_shape: tuple[int, ...], model: str) -> tuple[int, int, int]:
    """(C, H, W) of an input that must be an image.

    Raises:
        ConfigError: where it is not one.
    """
    if len(input_shape) != 3:
        raise ConfigError(
            "model",
            model,
            f"needs images (C, H, W), the data have the shape {input_shape}; use model=mlp, or lstm for a text",
        )
    return input_shape
