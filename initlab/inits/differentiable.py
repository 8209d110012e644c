"""Makes a network twice differentiable: replaces torch kernels that lack higher derivatives.

Objectives of MetaInit and GradInit contain a gradient (and a Hessian times it), and are differentiated themselves.
cuDNN's recurrent layers and fused attention have no second derivative, batch norm no third.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

_BATCH = nn.modules.batchnorm._BatchNorm  # pyright: ignore[reportPrivateUsage]
_INSTANCE = nn.modules.instancenorm._InstanceNorm  # pyright: ignore[reportPrivateUsage]


@contextmanager
def differentiable(model: nn.Module) -> Generator[None]:
    """While open, gradients of any order pass through `model`; batch norms do not update running statistics."""
    with ExitStack() as undo:
        undo.enter_context(torch.backends.cudnn.flags(enabled=False))
        undo.enter_context(sdpa_kernel(SDPBackend.MATH))
        for module in model.modules():
            if isinstance(module, (_BATCH, _INSTANCE)):
                undo.enter_context(_replace_forward(module, partial(_normalise, module)))
        yield


@contextmanager
def _replace_forward(module: nn.Module, forward: Callable[[Tensor], Tensor]) -> Generator[None]:
    """Replaces the forward of one module while open, then restores that of its class."""
    own: Any = vars(module).get("forward")
    module.forward = forward  # type: ignore[method-assign]
    try:
        yield
    finally:
        if own is None:
            del module.forward
        else:
            module.forward = own


def _normalise(module: Any, x: Tensor) -> Tensor:
    """(x - mean)/√(var + ε)·γ + β over the batch and positions (batch norm) or the positions (instance norm)."""
    per_channel = (1, -1, *[1] * (x.dim() - 2))
    positions = tuple(range(2, x.dim()))
    if module.training or module.running_mean is None:
        dims = positions if isinstance(module, _INSTANCE) else (0, *positions)
        mean, var = x.mean(dims, keepdim=True), x.var(dims, correction=0, keepdim=True)
    else:
        mean, var = module.running_mean.view(per_channel), module.running_var.view(per_channel)
    y = (x - mean) / (var + module.eps).sqrt()
    return y if module.weight is None else y * module.weight.view(per_channel) + module.bias.view(per_channel)
