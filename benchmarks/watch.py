"""What `initlab.watch` costs a training loop: CPU seconds of all threads, in updates of the same loop without it.

    python benchmarks/watch.py [UPDATES]

Untracked, at the default of a look every 50 updates; medians over the updates of three loops, which other work on the
machine disturbs less than sums. `first`: the first eleven updates together (the network is recorded and predicted).
`look`: an update that is looked at. `between`: one that is not. `in all`: 49 of those and a look, over 50.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import initlab

EVERY = 50  # updates between two looks, as `initlab.watch` has it by default


class Functional(nn.Module):
    """An MLP with functions for activations."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.layers, self.head = nn.ModuleList(nn.Linear(width, width) for _ in range(depth)), nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = F.gelu(layer(x))
        return self.head(x)


def mlp() -> nn.Module:
    return nn.Sequential(*[m for _ in range(6) for m in (nn.Linear(256, 256), nn.ReLU())], nn.Linear(256, 10))


def cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(64, 10),
    )  # fmt: skip


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "mlp of modules": (mlp, (128, 256)),
    "mlp of functions": (lambda: Functional(256, 6), (128, 256)),
    "cnn": (cnn, (64, 3, 32, 32)),
}


def loop(make: Callable[[], nn.Module], shape: tuple[int, ...], updates: int, *, watched: bool) -> list[float]:
    """CPU seconds of each update."""
    torch.manual_seed(0)
    model, x, y = make(), torch.randn(shape), torch.randint(10, shape[:1])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    seen = initlab.watch(model, optimizer, classes=10, track=False) if watched else None
    seconds = list[float]()
    for _ in range(updates):
        begun = time.process_time()
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        seconds.append(time.process_time() - begun)
    if seen is not None:
        seen.close()
    return seconds


def main() -> None:
    updates = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    print(f"{'network':18} {'update (ms)':>12} {'first':>7} {'look':>6} {'between':>8} {'in all':>7}")
    for name, (make, shape) in NETWORKS.items():
        bare, between, looks, first = list[float](), list[float](), list[float](), list[float]()
        for _ in range(3):
            bare += loop(make, shape, updates, watched=False)[1:]
            watched = loop(make, shape, updates, watched=True)
            first.append(sum(watched[:11]))
            looks += watched[EVERY::EVERY]
            between += [s for i, s in enumerate(watched) if i > 10 and i % EVERY]
        one = median(bare)
        look, plain = median(looks) / one, median(between) / one
        whole = (plain * (EVERY - 1) + look) / EVERY
        print(f"{name:18} {one * 1e3:12.2f} {median(first) / one:7.1f} {look:6.2f} {plain:8.3f} {whole:7.3f}")


if __name__ == "__main__":
    main()
