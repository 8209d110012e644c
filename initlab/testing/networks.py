"""Small networks of every kind of layer, each with a batch of data, on which initialisers are tested."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from initlab import activations
from initlab.network.sites import describe
from initlab.spec import Activation, Batch, InitContext, Site

CLASSES = 3


class Scale(nn.Module):
    """A multiplier of a residual branch."""

    initlab_role = "scale"

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * x


class Branch(nn.Module):
    """x + branch(x)."""

    def __init__(self, branch: nn.Module) -> None:
        super().__init__()
        self.branch = branch

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x)


class Recurrent(nn.Module):
    """Tokens → embedding → recurrent layer → its last output → head."""

    def __init__(self, layer: nn.RNNBase, tokens: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(tokens, layer.input_size)
        self.rnn = layer
        self.head = nn.Linear(layer.hidden_size * (2 if layer.bidirectional else 1), CLASSES)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.rnn(self.embedding(tokens).transpose(0, 1))[0][-1])


class Attention(nn.Module):
    """One pre-norm transformer layer on numbers (B, T, d), and a head on the mean."""

    def __init__(self, d: int, heads: int, *, scaled: bool = False) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.attention = nn.MultiheadAttention(d, heads, batch_first=True)
        self.wide, self.act, self.narrow = nn.Linear(d, 2 * d), nn.ReLU(), nn.Linear(2 * d, d)
        self.end = Scale() if scaled else nn.Identity()
        self.head = nn.Linear(d, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        x = x + self.end(self.narrow(self.act(self.wide(self.norm2(x)))))
        return self.head(x.mean(1))


@dataclass(frozen=True)
class NetworkCase:
    """A network that can be built again and again, and a batch of inputs for it.

    Attributes:
        label: shown where a test fails.
        build: makes the network, each time anew.
        inputs: a batch of examples, (B, ...).
        activation: of the network.
    """

    label: str
    build: Callable[[], nn.Module]
    inputs: Tensor
    activation: Activation
    _read: dict[object, tuple[Site, ...]] = field(default_factory=dict, compare=False, repr=False)

    def batch(self, dtype: torch.dtype = torch.float32) -> Batch:
        """The inputs in `dtype` with random classes, and the cross entropy."""
        y = torch.randint(CLASSES, (len(self.inputs),), generator=torch.Generator().manual_seed(1))
        return Batch(inputs=self._as(self.inputs, dtype), targets=y, loss=F.cross_entropy)

    def context(self, dtype: torch.dtype = torch.float32) -> InitContext:
        """What an initialiser may read: the activation, and the same batch for every number."""
        return InitContext(activation=self.activation, batches=lambda _i: self.batch(dtype))

    def sites(self, model: nn.Module) -> tuple[Site, ...]:
        """The parameters of `model`, which `build` made, in the dtype that it has now; read once for each structure."""
        dtype = next(model.parameters()).dtype
        structure = (dtype, repr(model), tuple(n for n, _ in model.named_parameters()))
        if structure not in self._read:
            self._read[structure] = describe(model, self._as(self.inputs[:2], dtype))
        return self._read[structure]

    def _as(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        return x.to(dtype) if x.is_floating_point() else x

    def __repr__(self) -> str:
        return self.label


def noise(*shape: int) -> Tensor:
    """Standard normal numbers, the same at every call."""
    return torch.empty(shape).normal_(generator=torch.Generator().manual_seed(0))


def mlp(
    sizes: list[int], norm: str = "none", *, bias: bool = True, activation: Activation | None = None
) -> NetworkCase:
    """A perceptron with hidden layers of `sizes[1:]` units; `norm` is none, batch, layer or rms."""
    used = activation or activations.relu()
    norms: dict[str, Callable[[int], nn.Module]] = {
        "batch": nn.BatchNorm1d, "layer": nn.LayerNorm, "rms": nn.RMSNorm, "none": lambda _n: nn.Identity(),
    }  # fmt: skip

    def build() -> nn.Module:
        layers: list[nn.Module] = []
        for a, b in pairwise(sizes):
            layers += [nn.Linear(a, b, bias=bias), norms[norm](b), used.make()]
        return nn.Sequential(*layers, nn.Linear(sizes[-1], CLASSES))

    return NetworkCase(f"mlp{sizes}{norm}{bias}", build, noise(8, sizes[0]), used)


def conv(dims: int, groups: int, widths: list[int], kernel: int, stride: int, *, transposed: bool) -> NetworkCase:
    """Two convolutions over 1 or 2 dimensions, the second with a stride and groups, and a linear head."""
    make = {
        (1, False): nn.Conv1d, (2, False): nn.Conv2d, (1, True): nn.ConvTranspose1d, (2, True): nn.ConvTranspose2d,
    }[dims, transposed]  # fmt: skip
    norm = nn.BatchNorm1d if dims == 1 else nn.BatchNorm2d

    def build() -> nn.Module:
        first, second = (n * groups for n in widths)
        layers = [
            make(groups, first, kernel, padding=kernel // 2), nn.ReLU(),
            make(first, second, kernel, stride=stride, groups=groups), norm(second), nn.ReLU(), nn.Flatten(2),
        ]  # fmt: skip
        return nn.Sequential(*layers, Mean(), nn.Linear(second, CLASSES))

    label = f"conv{dims}d groups={groups} {widths} kernel={kernel} stride={stride} transposed={transposed}"
    return NetworkCase(label, build, noise(8, groups, *[9] * dims), activations.relu())


class Mean(nn.Module):
    """Mean over the last dimension."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(-1)


def recurrent(
    kind: type[nn.RNNBase], layers: int, hidden: int, *, both: bool = False, bias: bool = True
) -> NetworkCase:
    """An embedding of 7 tokens, a recurrent layer, and a head on its last output."""

    def build() -> nn.Module:
        layer: Any = kind  # the stubs know the signature of RNNBase, which has a mode more
        return Recurrent(layer(5, hidden, layers, bidirectional=both, bias=bias), tokens=7)

    tokens = torch.randint(7, (8, 6), generator=torch.Generator().manual_seed(0))
    label = f"{kind.__name__} layers={layers} hidden={hidden} both={both} bias={bias}"
    return NetworkCase(label, build, tokens, activations.tanh())


def residual(count: int, length: int, width: int = 6, *, scaled: bool = False, norm: bool = False) -> NetworkCase:
    """`count` residual blocks whose branches have `length` linear layers each."""

    def branch() -> nn.Module:
        layers: list[nn.Module] = []
        for i in range(length):
            layers += [nn.Linear(width, width)]
            layers += [nn.LayerNorm(width)] if norm else []
            layers += [nn.ReLU()] if i < length - 1 else []
        return Branch(nn.Sequential(*layers, *([Scale()] if scaled else [])))

    def build() -> nn.Module:
        blocks = [branch() for _ in range(count)]
        return nn.Sequential(nn.Linear(4, width), *blocks, nn.ReLU(), nn.Linear(width, CLASSES))

    label = f"residual count={count} length={length} width={width} scaled={scaled} norm={norm}"
    return NetworkCase(label, build, noise(8, 4), activations.relu())


def attention(d: int, heads: int, *, scaled: bool = False) -> NetworkCase:
    """One transformer layer of width `d`."""
    return NetworkCase(
        f"attention d={d} heads={heads} scaled={scaled}", lambda: Attention(d, heads, scaled=scaled), noise(8, 5, d),
        activations.relu(),
    )  # fmt: skip


#: one of each kind of layer
NETWORKS = (
    mlp([6, 8, 8], "batch"), conv(2, 2, [2, 3], 3, 1, transposed=False), conv(1, 1, [2, 2], 3, 2, transposed=True),
    recurrent(nn.LSTM, 2, 4, both=True), recurrent(nn.GRU, 1, 4), recurrent(nn.RNN, 1, 4),
    residual(3, 2), residual(2, 2, scaled=True), residual(2, 2, norm=True), attention(4, 2, scaled=True),
)  # fmt: skip
