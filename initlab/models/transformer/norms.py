"""Norms of transformers: over the features of each token, and elementwise functions that stand in their place."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

TokenNorm = Literal["layer", "rms", "dyt", "derf", "none"]


class DynamicTanh(nn.Module):
    """DyT, γ·tanh(αx) + β, in place of a norm. Zhu et al., CVPR 2025 (arXiv 2503.10622).

    α is one number for all features. Unlike a norm it does not take its input to scale 1: for small inputs it is αx.

    Args:
        features: size of the last dimension.
        alpha: α at the start.
    """

    def __init__(self, features: int, alpha: float = 0.5) -> None:
        super().__init__()
        self.start = alpha
        self.alpha = nn.Parameter(torch.full((1,), alpha))
        self.weight = nn.Parameter(torch.ones(features))
        self.bias = nn.Parameter(torch.zeros(features))

    def forward(self, x: Tensor) -> Tensor:
        """(..., features) to the same shape."""
        return self.weight * torch.tanh(self.alpha * x) + self.bias

    def extra_repr(self) -> str:
        return f"{len(self.weight)}, alpha={self.start:g}"


class DynamicErf(nn.Module):
    """Derf, γ·erf(αx + s) + β, in place of a norm. Chen et al., 2025 (arXiv 2512.10938).

    Args:
        features: size of the last dimension.
        alpha: α at the start; the shift s starts as 0.
    """

    def __init__(self, features: int, alpha: float = 0.5) -> None:
        super().__init__()
        self.start = alpha
        self.alpha = nn.Parameter(torch.full((1,), alpha))
        self.shift = nn.Parameter(torch.zeros(1))
        self.weight = nn.Parameter(torch.ones(features))
        self.bias = nn.Parameter(torch.zeros(features))

    def forward(self, x: Tensor) -> Tensor:
        """(..., features) to the same shape."""
        return self.weight * torch.erf(self.alpha * x + self.shift) + self.bias

    def extra_repr(self) -> str:
        return f"{len(self.weight)}, alpha={self.start:g}"


def token_norm(name: TokenNorm, features: int, *, bias: bool = True) -> nn.Module:
    """Normalisation of (..., features). An identity for ``none``, so that names do not depend on it.

    Args:
        name: ``layer`` (Ba, Kiros & Hinton, 2016), ``rms`` (Zhang & Sennrich, 2019), ``dyt``, ``derf`` or ``none``.
        features: of a token.
        bias: whether a layer norm has one.
    """
    if name == "layer":
        return nn.LayerNorm(features, bias=bias)
    if name == "rms":
        return nn.RMSNorm(features, eps=1e-5)
    if name == "dyt":
        return DynamicTanh(features)
    return DynamicErf(features) if name == "derf" else nn.Identity()
