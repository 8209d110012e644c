"""ACON: a learnt smooth maximum of two lines, with parameters of a layer, a unit or computed from the batch."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from initlab.activations.modules import in_single_precision, learnable_activation, need_features, unit_dim
from initlab.core.factories import factory
from initlab.spec import Activation, PositiveInt


@factory
def acon_c(*, p1: float = 1.0, p2: float = 0.0, beta: float = 1.0, per_channel: bool = False) -> Activation:
    """φ(x) = (p₁ - p₂)x·σ(β(p₁ - p₂)x) + p₂x, all three learnt; φ' = (p₁ - p₂)(σ + uσ(1 - σ)) + p₂, u = β(p₁ - p₂)x.

    Ma, Zhang, Liu & Sun, CVPR 2021. A smooth maximum of p₁x and p₂x, which β turns from linear (0) to hard (∞).
    Starts as SiLU. The authors' code draws p₁ and p₂ of each unit from N(0, 1), with β = 1: every unit then starts as
    another function, with E[φ²] from 0 to above 10, for which no gain is right, and half of them mirrored. Here all
    start at the special case that the paper derives (p₁ = 1, p₂ = 0), whose gain is known.

    Args:
        p1: starting p₁.
        p2: starting p₂.
        beta: starting β.
        per_channel: parameters for each unit, as in the paper.
    """
    values = {"p1": float(p1), "p2": float(p2), "beta": float(beta)}
    return learnable_activation("acon_c", _acon, values, per_channel=per_channel)


def _acon(x: Tensor, *, p1: Tensor, p2: Tensor, beta: Tensor) -> Tensor:
    difference = (p1 - p2) * x
    return difference * torch.sigmoid(beta * difference) + p2 * x


@factory
def meta_acon(*, reduction: PositiveInt = 16) -> Activation:
    """ACON-C whose β is computed from the input: β = σ(W₂W₁m + b), m the mean of each unit over positions.

    φ and φ' as for acon_c at that β (through m as well). Ma, Zhang, Liu & Sun, CVPR 2021. Switches units on and off by
    what the example contains, as squeeze-and-excitation does. Starts as xσ(x/2), since W₂ starts at zero: one function
    whose gain is known. The authors' code differs as it does for acon_c (p₁, p₂ ~ N(0, 1)), draws W₁ and W₂ as torch
    does, has batch norms behind both, and at least `reduction` numbers between them.

    Args:
        reduction: W₁ maps N units to max(1, N / reduction).
    """

    def fn(x: Tensor) -> Tensor:
        return x * torch.sigmoid(x / 2)

    def make(features: int | None = None) -> nn.Module:
        return MetaAcon(activation, need_features(features, "meta_acon"), reduction)

    activation = Activation(name="meta_acon", make=make, fn=in_single_precision(fn))
    return activation


class MetaAcon(nn.Module):
    """Parameters ``p1``, ``p2``, ``bias`` (N,), ``squeeze`` (N / r, N), ``excite`` (N, N / r)."""

    initlab_activation = True

    def __init__(self, activation: Activation, features: int, reduction: int) -> None:
        super().__init__()
        self.activation = activation
        hidden = max(1, features // reduction)
        self.p1 = nn.Parameter(torch.ones(features))
        self.p2 = nn.Parameter(torch.zeros(features))
        # rows of a cosine basis: orthonormal, and the same for every seed without drawing from anyone's generator
        i, j = torch.arange(hidden)[:, None] + 0.5, torch.arange(features) + 0.5
        self.squeeze = nn.Parameter(math.sqrt(2 / features) * torch.cos(math.pi / features * i * j))
        self.excite = nn.Parameter(torch.zeros(features, hidden))
        self.bias = nn.Parameter(torch.zeros(features))

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, ...) or (B, T, N) to the same shape."""
        dim = unit_dim(x)
        positions = [d for d in range(1, x.dim()) if d != dim]
        mean = x.mean(positions) if positions else x
        beta = torch.sigmoid(F.linear(F.linear(mean, self.squeeze), self.excite, self.bias))
        shape = [1] * x.dim()
        shape[dim] = -1
        if dim > 0:
            beta = beta.reshape([x.shape[0] if d == 0 else shape[d] for d in range(x.dim())])
        p1, p2 = self.p1.reshape(shape), self.p2.reshape(shape)
        if x.dtype in (torch.float16, torch.bfloat16):
            return _acon(x.float(), p1=p1.float(), p2=p2.float(), beta=beta.float()).to(x.dtype)
        return _acon(x, p1=p1, p2=p2, beta=beta)

    def readings(self) -> dict[str, Tensor]:
        """Means over the units."""
        return {
            "act_p1": self.p1.detach().mean(),
            "act_p2": self.p2.detach().mean(),
            "act_excite": self.excite.detach().norm(),
        }
