"""Packages of one's own in the working directory."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_network"
ODD = '''
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from initlab.spec import IO, Activation


class Plain(nn.Module):
    """Remembers what it was given."""

    def __init__(self, in_features: int, num_classes: int, width: int = 8, **options: Any) -> None:
        super().__init__()
        self.given = {"in_features": in_features, "num_classes": num_classes, "width": width, **options}
        self.inner, self.head = nn.Linear(in_features, width), nn.Linear(width, num_classes)
        self.act = options.get("act", nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.act(self.inner(x.flatten(1))))


class ByName(Plain):
    def __init__(self, in_features: int, n_classes: int, activation: str = "relu") -> None:
        super().__init__(in_features, n_classes, named=activation)


class ByLiteral(Plain):
    def __init__(self, in_features: int, n_classes: int, activation: Literal["relu", "gelu"] = "relu") -> None:
        super().__init__(in_features, n_classes, named=activation)


class ByClass(Plain):
    def __init__(self, in_features: int, n_classes: int, act_layer: type[nn.Module] = nn.ReLU) -> None:
        super().__init__(in_features, n_classes, act=act_layer(inplace=True), again=act_layer())


class ByFactory(Plain):
    def __init__(self, in_features: int, n_classes: int, act_layer: Callable[..., nn.Module] = nn.ReLU) -> None:
        super().__init__(in_features, n_classes, act=act_layer())


class ByFunction(Plain):
    def __init__(self, in_features: int, n_classes: int, act: Callable[[Tensor], Tensor] = torch.relu) -> None:
        super().__init__(in_features, n_classes, act=act)


class ByModule(Plain):
    def __init__(self, in_features: int, n_classes: int, activation: nn.Module | None = None) -> None:
        super().__init__(in_features, n_classes, act=activation or nn.ReLU())


class ByDefaultClass(Plain):
    def __init__(self, in_features, n_classes, nonlinearity=nn.ReLU) -> None:
        super().__init__(in_features, n_classes, act=nonlinearity())


class Required(Plain):
    def __init__(self, in_features, n_classes, activation) -> None:
        super().__init__(in_features, n_classes, act=activation)


class Ours(Plain):
    def __init__(self, io: IO, activation: Activation) -> None:
        super().__init__(64, io.classes, ours=activation)


class Needs(Plain):
    def __init__(self, in_features: int, num_classes: int, depth: int) -> None:
        super().__init__(in_features, num_classes)


class Tokens(nn.Module):
    def __init__(self, vocab_size: int, num_classes: int) -> None:
        super().__init__()


class Breaks(nn.Module):
    def __init__(self, num_classes: int) -> None:
        raise KeyError("no such thing")


class Pair(Plain):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return super().forward(x), x


class Lazy(nn.Module):
    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.inner, self.head = nn.LazyLinear(12), nn.LazyLinear(num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.inner(x.flatten(1))))


def make(in_features, num_classes, width=5):
    return Plain(in_features, num_classes, width)


def made(num_classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))


def builder(depth: int = 1):
    return lambda io, activation: nn.Sequential(nn.Flatten(), nn.Linear(64, io.classes))


def number() -> int:
    return 3


def fill(w, value: float = 0.5):
    w.fill_(value)


def returned(t: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(t.shape, generator=generator) / 10


def random_(w: Tensor) -> None:
    nn.init.normal_(w, std=0.1)


def half(w: Tensor) -> None:
    w[: len(w) // 2] = 0.1


def fails(w: Tensor) -> None:
    raise KeyError("no such thing")


def on_modules(module: nn.Module) -> None:
    if isinstance(module, nn.Linear) and module.out_features == 10:
        module.weight.normal_(std=0.01)


def unclear(something):
    return something


def no_task():
    return 3
'''


@pytest.fixture
def own(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory that holds the example and `oddnets`, and is searched for packages."""
    (workdir / "oddnets.py").write_text(ODD, encoding="utf-8")
    monkeypatch.syspath_prepend(str(EXAMPLE))
    monkeypatch.syspath_prepend(str(workdir))
    importlib.invalidate_caches()
    for name in [n for n in sys.modules if n.partition(".")[0] in ("oddnets", "ownnet")]:
        del sys.modules[name]
    yield workdir
