"""Initialisers in the manner of torch.nn.init: of one tensor, and of one module."""

import math

from torch import Tensor, nn


def scaled_(w: Tensor, gain: float = 1.0) -> Tensor:
    """w ~ N(0, gain²/fan_in)."""
    return nn.init.normal_(w, std=gain / math.sqrt(w[0].numel()))


def init_weights(module: nn.Module, std: float = 0.05) -> None:
    """For model.apply: all weights of one scale, as many scripts have it."""
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        nn.init.normal_(module.weight, std=std)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
