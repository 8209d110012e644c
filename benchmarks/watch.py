"""What `initlab.watch` costs a training loop: CPU seconds of all threads with it over those without it, in one run.

    python benchmarks/watch.py [UPDATES]

Untracked, at the default of a look every 50 updates. `whole` includes the first step, which records the network and
predicts; `later` is from the eleventh update on, what a long training pays.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import initlab


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


def loop(make: Callable[[], nn.Module], shape: tuple[int, ...], updates: int, *, watched: bool) -> tuple[float, float]:
    """CPU seconds of the whole loop, and from the eleventh update on."""
    torch.manual_seed(0)
    model, x, y = make(), torch.randn(shape), torch.randint(10, shape[:1])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    seen = initlab.watch(model, optimizer, classes=10, track=False) if watched else None
    begun = later = time.process_time()
    for i in range(updates):
        if i == 10:
            later = time.process_time()
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    ended = time.process_time()
    if seen is not None:
        seen.close()
    return ended - begun, ended - later


def main() -> None:
    updates = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    print(f"{'network':18} {'bare (s)':>9} {'whole':>7} {'later':>7}")
    for name, (make, shape) in NETWORKS.items():
        loop(make, shape, 20, watched=True)
        rounds = [
            (loop(make, shape, updates, watched=False), loop(make, shape, updates, watched=True)) for _ in range(3)
        ]
        bare = min(b[0] for b, _ in rounds)
        whole, later = (min(w[i] for _, w in rounds) / min(b[i] for b, _ in rounds) for i in (0, 1))
        print(f"{name:18} {bare:9.2f} {whole:7.3f} {later:7.3f}")


if __name__ == "__main__":
    main()
