"""Facts about a network's setting: the size of its inputs, and an activation that cuts its answers off."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from initlab.spec import InitContext, Site

#: examples from which the scale of the inputs is measured
_EXAMPLES = 256


def input_square(inputs: Any) -> float | None:
    """Mean square of the first inputs as the network receives them; None where they are not a tensor of numbers."""
    x = inputs[:_EXAMPLES] if isinstance(inputs, Tensor) and inputs.dim() else None
    if x is None or not x.is_floating_point() or not x.numel():
        return None
    return float(x.detach().double().square().mean().cpu())


def output_cut(sites: tuple[Site, ...], context: InitContext) -> str:
    """Name of the activation behind the last weight, if it is constant for negative numbers (ReLU); else empty."""
    weights = [s for s in sites if s.role in ("weight", "head") and not s.unused]
    last = max(weights, key=lambda s: s.order, default=None)
    module = None if last is None or last.activation is None else last.activation
    activation = context.activations.get(module) if module is not None else None
    if activation is None or activation.units != (1, 1):
        return ""
    below = activation.fn(torch.tensor([-5.0, -2.0, -1.0]))
    return activation.name if bool((below == below[0]).all()) else ""
