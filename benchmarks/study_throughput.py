"""A study of many tiny runs, MLflow and start-up included, against a bare PyTorch loop over the same work.

    python benchmarks/study_throughput.py [seeds]

4 initialisations x 3 activations x 20 seeds on digits (a perceptron of 4 x 64 units, 10 epochs). The bare loop reads
the data once and then does nothing but train and evaluate each epoch, in this process; the study is the command that
a person types, with one worker, in a fresh directory. Both have one thread. Reported are the times and their ratio.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import tempfile
import time

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


def bare(seeds: int) -> float:
    """Seconds of the loop that one would write by hand."""
    start = time.perf_counter()
    from sklearn.datasets import load_digits

    x, y = (torch.tensor(a) for a in load_digits(return_X_y=True))
    x = ((x - x.mean()) / x.std()).float()
    train, val, test = slice(0, 1294), slice(1294, 1438), slice(1438, 1797)
    for init in INITS:
        for activation in ACTIVATIONS:
            for seed in range(seeds):
                model = network(activation, init, seed)
                _train(model, x[train], y[train], x[val], y[val])
                _accuracy(model, x[test], y[test])
    return time.perf_counter() - start


def study(seeds: int) -> float:
    """Seconds of the command, from typing it to its exit."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        done = subprocess.run(
            [
                sys.executable, "-m", "initlab", "-m", f"init={','.join(INITS)}", f"activation={','.join(ACTIVATIONS)}",
                f"replicas={seeds}", "data=digits", "model=mlp", f"model.width={WIDTH}", f"model.depth={DEPTH}",
                f"trainer.epochs={EPOCHS}", "tracking.report=false", "trainer.checkpoint=false",
                "trainer.test_with=last", "probes=none",
            ],
            cwd=folder, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        seconds = time.perf_counter() - start
    if done.returncode != 0:
        raise SystemExit(done.stdout + done.stderr)
    return seconds


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
    torch.set_num_threads(1)
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    by_hand, typed = bare(seeds), study(seeds)
    runs = len(INITS) * len(ACTIVATIONS) * seeds
    print(f"{runs} runs: bare loop {by_hand:.1f} s, study {typed:.1f} s, ratio {typed / by_hand:.2f}")


if __name__ == "__main__":
    main()
