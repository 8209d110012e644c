"""What one would write by hand for 4 initialisations x 3 activations x seeds on digits: one network after another.

    python benchmarks/scripts/bare_study.py [seeds]

A perceptron of 4 x 64 units, 10 epochs. The data are read once; nothing but training and evaluation, each epoch.
"""

from __future__ import annotations

import itertools
import sys

import torch
from torch import Tensor, nn

INITS = {
    "he": lambda w: nn.init.kaiming_normal_(w, nonlinearity="relu"),
    "xavier": nn.init.xavier_uniform_,
    "orthogonal": nn.init.orthogonal_,
    "lecun": lambda w: nn.init.kaiming_normal_(w, nonlinearity="linear"),
}
ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU}
WIDTH, DEPTH, EPOCHS, BATCH = 64, 4, 10, 64


def network(activation: str, init: str, seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    sizes = [64, *[WIDTH] * DEPTH]
    layers: list[nn.Module] = []
    for a, b in itertools.pairwise(sizes):
        layers += [nn.Linear(a, b), ACTIVATIONS[activation]()]
    model = nn.Sequential(*layers, nn.Linear(WIDTH, 10))
    for module in model:
        if isinstance(module, nn.Linear):
            INITS[init](module.weight)
            nn.init.zeros_(module.bias)
    return model


def train_all(seeds: int) -> None:
    """Train and test every network, and print its score."""
    from sklearn.datasets import load_digits

    x, y = (torch.tensor(a) for a in load_digits(return_X_y=True))
    x = ((x - x.mean()) / x.std()).float()
    train, val, test = slice(0, 1294), slice(1294, 1438), slice(1438, 1797)
    for init in INITS:
        for activation in ACTIVATIONS:
            for seed in range(seeds):
                model = network(activation, init, seed)
                _train(model, x[train], y[train], x[val], y[val])
                print(init, activation, seed, _accuracy(model, x[test], y[test]))


def _train(model: nn.Module, x: Tensor, y: Tensor, x_val: Tensor, y_val: Tensor) -> None:
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    for _ in range(EPOCHS):
        for index in torch.randperm(len(x)).split(BATCH):
            optimizer.zero_grad(set_to_none=True)
            nn.functional.cross_entropy(model(x[index]), y[index]).backward()
            optimizer.step()
        _accuracy(model, x_val, y_val)


@torch.no_grad()
def _accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    return float((model(x).argmax(1) == y).float().mean())


def main() -> None:
    train_all(int(sys.argv[1]) if len(sys.argv) > 1 else 20)


if __name__ == "__main__":
    main()
