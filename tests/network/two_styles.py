"""Random networks, each written twice: with modules and positional calls, and with functions and keywords.

A plan is a list of blocks drawn from a seed; `Modules` and `Functions` compute the same function of the same
parameters.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MODULES: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "elu": nn.ELU,
    "softplus": nn.Softplus, "mish": nn.Mish, "hardswish": nn.Hardswish, "leaky_relu": nn.LeakyReLU,
}  # fmt: skip


@dataclass(frozen=True)
class Block:
    """One block: its kind, activation, whether its layer is the one before it, whether it is frozen."""

    kind: str
    activation: str
    shared: bool
    frozen: bool


def plan(seed: int) -> list[Block]:
    rng = random.Random(seed)
    blocks: list[Block] = []
    for i in range(rng.randint(2, 6)):
        kind = rng.choice(("plain", "plain", "residual", "norm", "rms", "gated", "scaled", "joined", "sum"))
        shared = i > 0 and blocks[-1].kind == kind == "plain" and rng.random() < 0.3
        blocks.append(Block(kind, rng.choice(list(MODULES)), shared, rng.random() < 0.15))
    return blocks


class RMS(nn.Module):
    """An RMS norm of somebody's own."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x / torch.sqrt(torch.mean(x * x, dim=-1, keepdim=True) + 1e-6) * self.weight


class Modules(nn.Module):
    """Layers, norms and activations are modules."""

    def __init__(self, seed: int, width: int = 48, classes: int = 5) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.blocks = plan(seed)
        self.first = nn.Linear(12, width)
        self.layers, self.others, self.norms, self.acts = (nn.ModuleList() for _ in range(4))
        for block in self.blocks:
            layer = self.layers[-1] if block.shared else nn.Linear(width, width)
            self.layers.append(layer)
            joined = block.kind == "joined"
            self.others.append(nn.Linear(2 * width if joined else width, width))
            self.norms.append(nn.LayerNorm(width) if block.kind == "norm" else RMS(width))
            self.acts.append(MODULES[block.activation]())
            if block.frozen:
                layer.requires_grad_(False)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for block, layer, other, norm, act in zip(
            self.blocks, self.layers, self.others, self.norms, self.acts, strict=True
        ):
            if block.kind == "plain":
                x = act(layer(x))
            elif block.kind == "residual":
                x = x + other(act(layer(x)))
            elif block.kind in ("norm", "rms"):
                x = act(layer(norm(x)))
            elif block.kind == "gated":
                x = act(layer(x)) * other(x)
            elif block.kind == "scaled":
                x = act(layer(x) * 0.5)
            elif block.kind == "joined":
                x = other(torch.cat([act(layer(x)), x], 1))
            else:
                x = act(layer(x) + other(x))
        return self.head(x)


def _sigmoid(x: Tensor) -> Tensor:
    return 1 / (1 + torch.exp(-x))


#: the same functions, written otherwise
FUNCTIONS: dict[str, Any] = {
    "relu": lambda x: x.clamp(min=0), "gelu": lambda x: 0.5 * x * (1 + torch.erf(x * 0.7071067811865476)),
    "silu": lambda x: x * torch.sigmoid(input=x), "tanh": lambda x: x.tanh(), "sigmoid": _sigmoid,
    "elu": lambda x: torch.where(x > 0, x, torch.exp(x) - 1), "softplus": lambda x: F.softplus(input=x),
    "mish": lambda x: x * torch.tanh(F.softplus(x)), "hardswish": lambda x: x * F.relu6(x + 3) / 6,
    "leaky_relu": lambda x: torch.maximum(x, 0.01 * x),
}  # fmt: skip


class Functions(Modules):
    """The same network by functions: no activation module, keyword calls, products in place of layers."""

    def forward(self, x: Tensor) -> Tensor:
        x = F.linear(input=x, weight=self.first.weight, bias=self.first.bias)
        for block, layer, other, norm in zip(self.blocks, self.layers, self.others, self.norms, strict=True):
            act = FUNCTIONS[block.activation]

            def linear(x: Tensor, layer: Any = layer) -> Tensor:
                return x @ layer.weight.t() + layer.bias

            if block.kind == "plain":
                x = act(linear(x))
            elif block.kind == "residual":
                x = torch.add(input=x, other=other(input=act(linear(x))))
            elif block.kind == "norm":
                x = act(linear(F.layer_norm(x, (x.shape[-1],), weight=norm.weight, bias=norm.bias)))
            elif block.kind == "rms":
                x = act(linear(norm.weight * (x * x.pow(2).mean(-1, keepdim=True).add(1e-6).rsqrt())))
            elif block.kind == "gated":
                x = torch.mul(torch.einsum("bi,oi->bo", x, other.weight) + other.bias, act(linear(x)))
            elif block.kind == "scaled":
                x = act(linear(x).div(2.0))
            elif block.kind == "joined":
                x = other(torch.cat((act(linear(x)), x), dim=1))
            else:
                y = linear(x)
                y += F.linear(x, other.weight, other.bias)
                x = act(y)
        return self.head(x)
