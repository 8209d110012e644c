"""Pieces that several networks are built of, and the checks of their arguments."""

from __future__ import annotations

from typing import Literal

from torch import nn

from initlab.errors import ConfigError

NormName = Literal["none", "batch", "layer"]


def require(key: str, value: object, expected: str, *, holds: bool) -> None:
    """Raise ConfigError about `key` unless `holds`: builders are called from Python too, past the configuration."""
    if not holds:
        raise ConfigError(key, value, expected)


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
            "model", model, f"needs images (C, H, W), the data have the shape {input_shape}; use model=mlp"
        )
    return input_shape
