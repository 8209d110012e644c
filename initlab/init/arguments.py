"""Checks of arguments: wrong ones are refused with a sentence."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from initlab.errors import ConfigError, one_of


def require_tensor(w: object, key: str = "w") -> tuple[int, ...]:
    """The shape of `w`. Raises ConfigError where it is nothing that can be initialised."""
    if isinstance(w, nn.Module):
        raise ConfigError(key, type(w).__name__, "is a module: give its .weight, or model.apply(for_module('he'))")
    if not isinstance(w, Tensor):
        raise ConfigError(key, type(w).__name__, "must be a tensor or parameter")
    if is_lazy(w):
        raise ConfigError(key, type(w).__name__, "has no shape yet: send a batch through the network first")
    if w.is_meta:
        raise ConfigError(key, "meta tensor", "has no memory: module.to_empty(device='cpu') gives it some")
    if not (w.is_floating_point() or w.is_complex()):
        raise ConfigError(key, f"tensor of {w.dtype}", "must be of a floating point or complex dtype")
    return tuple(w.shape)


def require_generator(generator: object) -> None:
    """Raises ConfigError where `generator` is none of the CPU."""
    if generator is not None and not (isinstance(generator, torch.Generator) and generator.device.type == "cpu"):
        raise ConfigError("generator", generator, "must be a torch.Generator of the CPU, where values are drawn")


def require_choice(key: str, value: object, options: tuple[str, ...]) -> None:
    """Raises ConfigError where `value` is no option."""
    if value not in options:
        raise ConfigError(key, value, one_of(options, value))


def require_count(key: str, value: object) -> None:
    """Raises ConfigError where `value` is no integer of 1 or greater."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(key, value, "must be an integer, 1 or greater")


def require_positive(key: str, value: float) -> float:
    """`value` as a float. Raises ConfigError where it is not greater than 0."""
    if not require_finite(key, value) > 0:
        raise ConfigError(key, value, "must be greater than 0")
    return float(value)


def require_finite(key: str, value: float) -> float:
    """`value` as a float. Raises ConfigError where it is no finite number."""
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigError(key, value, "must be a finite number")
    return float(value)
