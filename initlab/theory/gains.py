"""Gain of an activation: the g in std(W) = g / √fan."""

from __future__ import annotations

from typing import Literal

from torch import nn

from initlab.errors import ConfigError
from initlab.spec import Activation
from initlab.theory.quadrature import moments_of

GainKind = Literal["forward", "backward", "geometric", "centred", "torch"]


def gain(activation: Activation, kind: GainKind = "forward") -> float:
    """Gain of an activation under unit-variance pre-activations.

    - ``forward``: 1/√E[φ²], which keeps the mean square of the signal (He et al., ICCV 2015, generalised to any φ);
    - ``backward``: 1/√E[φ'²], which keeps the mean square of the gradient;
    - ``geometric``: √(forward · backward), which keeps the product of the two;
    - ``centred``: 1/√Var φ, for weights whose rows have mean 0 (Brock, De & Smith, ICLR 2021);
    - ``torch``: what `torch.nn.init.calculate_gain` says, heuristic for tanh (5/3), sigmoid (1) and selu (3/4).

    Raises:
        ConfigError: under ``gain`` where torch has no gain for the activation, or the moment is zero.
    """
    if kind == "torch":
        if activation.torch_name is None:
            raise ConfigError("gain", "torch", f"torch has no gain for {activation.name}; use auto or a number")
        return float(nn.init.calculate_gain(activation.torch_name, activation.torch_param))
    if kind == "geometric":
        return (gain(activation, "forward") * gain(activation, "backward")) ** 0.5
    m = moments_of(activation)
    second = {"forward": m.second, "backward": m.slope_second, "centred": m.variance}[kind]
    if not second > 0:
        raise ConfigError("gain", kind, f"{activation.name} has no {kind} gain (its second moment is {second:g})")
    return float(second**-0.5)
