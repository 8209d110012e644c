"""Networks that people ask about."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


def perceptron(
    width: int, depth: int, activation: Callable[[], nn.Module], *, inputs: int = 784, outputs: int = 10
) -> nn.Sequential:
    """`depth` hidden layers, drawn as torch draws them."""
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Linear(inputs, width), activation()]
        inputs = width
    return nn.Sequential(*layers, nn.Linear(width, outputs))


def images(count: int = 64) -> tuple[Tensor, Tensor]:
    """Standardised inputs and targets of ten classes."""
    g = torch.Generator().manual_seed(0)
    return torch.randn(count, 784, generator=g), torch.randint(10, (count,), generator=g)


class LanguageModel(nn.Module):
    """One pre-norm block between an embedding and a head, which may be one matrix."""

    def __init__(self, *, tied: bool, vocabulary: int = 65, width: int = 128) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.block = nn.TransformerEncoderLayer(width, 4, 4 * width, dropout=0.0, batch_first=True, norm_first=True)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        if tied:
            self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.norm(self.block(self.embedding(tokens))))


def tokens(vocabulary: int = 65) -> tuple[Tensor, Tensor]:
    """Token windows and the tokens that follow each."""
    text = torch.randint(vocabulary, (16, 33), generator=torch.Generator().manual_seed(0))
    return text[:, :-1], text[:, 1:]


def encoder(layers: int, *, width: int = 64, norm_first: bool = False) -> nn.TransformerEncoder:
    """torch's encoder, whose layers are deep copies of one."""
    layer = nn.TransformerEncoderLayer(width, 4, 4 * width, dropout=0.0, batch_first=True, norm_first=norm_first)
    return nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)


def redraw(model: nn.Module, rule: Callable[[Tensor], object]) -> None:
    """Every matrix by `rule`."""
    for parameter in model.parameters():
        if parameter.dim() > 1:
            rule(parameter)


class Siren(nn.Module):
    """Three layers of sin(ω₀ h), as torch draws them."""

    def __init__(self, w0: float = 30.0) -> None:
        super().__init__()
        self.w0 = w0
        self.layers = nn.ModuleList([nn.Linear(2, 256), nn.Linear(256, 256), nn.Linear(256, 256)])
        self.head = nn.Linear(256, 3)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.sin(self.w0 * layer(x))
        return self.head(x)
