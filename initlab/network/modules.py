"""Modules whose meaning is known as a whole, so that a recorded pass does not look inside."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from initlab.activations.slope import is_activation

CONV = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
CONV_TRANSPOSE = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
NORM = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.modules.instancenorm._InstanceNorm)  # pyright: ignore[reportPrivateUsage]
WEIGHTED = (nn.Linear, nn.Bilinear, *CONV, *CONV_TRANSPOSE, nn.Embedding, nn.EmbeddingBag)
RECURRENT = (nn.RNNBase, nn.RNNCellBase)

Op = Literal[
    "input",
    "constant",
    "weight",
    "norm",
    "scale",
    "activation",
    "recurrent",
    "attention",
    "sum",
    "factor",
    "product",
    "join",
    "shape",
    "dropout",
    "alpha_dropout",
    "opaque",
]


def meaning(module: nn.Module) -> Op | None:
    """What a module is as a whole, None where its parts are looked at."""
    if is_scale(module):
        return "scale"
    if getattr(module, "initlab_activation", False):
        return "activation"
    if isinstance(module, RECURRENT):
        return "recurrent"
    if not type(module).forward.__module__.startswith("torch.nn.modules"):
        return None  # somebody's own forward, in whatever it is derived from
    if isinstance(module, NORM):
        return "norm"
    if isinstance(module, nn.MultiheadAttention):
        return "attention"
    return "activation" if is_activation(module) else None


def is_scale(module: nn.Module) -> bool:
    """Whether a module multiplies a residual branch by a parameter of its own."""
    return getattr(module, "initlab_role", None) == "scale"


def call_name(module: str, call: int) -> str:
    """Name of one use of an activation module within a forward pass: ``relu``, then ``relu#1``, ``relu#2``, ..."""
    return f"{module}#{call}" if call else module


def is_unmade(tensor: Tensor) -> bool:
    """Whether a parameter or buffer of a lazy module has no shape yet."""
    return isinstance(tensor, (UninitializedParameter, UninitializedBuffer))


def is_batch_norm(module: nn.Module | None) -> bool:
    """Whether a module is a batch norm, whose statistics are taken over the examples."""
    return isinstance(module, nn.modules.batchnorm._BatchNorm)  # pyright: ignore[reportPrivateUsage]
