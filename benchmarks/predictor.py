"""How well does what is said before the first step rank what happens afterwards?

    python benchmarks/predictor.py run [--workers 2] [--out FILE]     train the grid; can be stopped and goes on
    python benchmarks/predictor.py fit FILE                           choose the thresholds on the training activations
    python benchmarks/predictor.py report FILE                        figures on the held-out activations

The grid: 11 initialisers x 12 activations x depths 3-50 (perceptron of width 100) and 3-30 (plain convolutional network
of 12 channels, batches of 32), on `mnist_mini`, 340 updates of SGD with momentum 0.9, learning rate 0.01, clipped to
norm 1, seed 0.
Six activations are for choosing thresholds, six others are held out and looked at once.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing as mp
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

CHOSEN_ON = ("relu", "tanh", "gelu", "sigmoid", "elu", "sin")
HELD_OUT = ("silu", "selu", "softsign", "leaky_relu activation.negative_slope=0.2", "softplus", "erf")
INITS = (
    "he", "xavier", "lecun", "orthogonal", "torch_default", "uniform init.a=0.05", "normal init.std=0.01",
    "normal init.std=0.2", "he init.gain=2.5", "edge_of_chaos", "lsuv",
)  # fmt: skip
MODELS = {
    "mlp model.width=100": (3, 10, 20, 35, 50),
    "convnet model.width=12 trainer.batch_size=32": (3, 10, 30),
}
COMMON = (
    "task=image", "data=mnist_mini", "optimizer=sgd", "optimizer.lr=0.01", "optimizer.momentum=0.9",
    "trainer.clip_grad_norm=1.0", "trainer.epochs=6", "trainer.max_steps=340", "trainer.checkpoint=false",
    "trainer.test_with=last", "probes=none", "tracking=none", "device=cpu", "seed=0",
)  # fmt: skip


def grid() -> Iterator[dict[str, Any]]:
    """Every cell, cheap ones first, so that a partial run covers all of the smaller depths."""
    cells = [
        {"model": model, "depth": depth, "activation": activation, "init": init, "held_out": activation in HELD_OUT}
        for model, depths in MODELS.items()
        for depth in depths
        for activation in (*CHOSEN_ON, *HELD_OUT)
        for init in INITS
    ]
    yield from sorted(cells, key=lambda c: (c["depth"] * (4 if "convnet" in c["model"] else 1), c["model"]))


def overrides(cell: dict[str, Any]) -> list[str]:
    return [
        *COMMON,
        *(f"model={cell['model']} model.depth={cell['depth']}").split(),
        *f"activation={cell['activation']}".split(),
        *f"init={cell['init']}".split(),
    ]


def one(cell: dict[str, Any]) -> dict[str, Any]:
    """Predict, measure at initialisation, train, and say how it ended."""
    import torch

    from initlab import config, wiring
    from initlab.errors import ConfigError
    from initlab.probes import snapshot
    from initlab.run import prepare, run
    from initlab.theory import predict, scales

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    row: dict[str, Any] = {**cell}
    begun = time.perf_counter()
    try:
        decided = config.experiment(config.compose(overrides(cell)))
        prepared = prepare(decided)
    except ConfigError as refused:
        return {**row, "refused": str(refused)}
    batch = prepared.context.batches(0) if prepared.context.batches is not None else None
    assert batch is not None
    graph = wiring.trace(prepared.model, batch.inputs[:64], moments=True)
    said = predict(graph, prepared.sites, scales(prepared.model), prepared.context)
    row["predicted"] = asdict(said)
    row["measured"] = asdict(snapshot(prepared.model, prepared.sites, batch, prepared.context))
    result = run(decided)
    row["status"] = result.status
    row["accuracy"] = result.metrics.get("test/accuracy", 0.1)
    row["train_loss"] = result.metrics.get("train/loss", math.nan)
    row["seconds"] = time.perf_counter() - begun
    return row


def train_grid(out: Path, workers: int) -> None:
    key = lambda c: (c["model"], c["depth"], c["activation"], c["init"])  # noqa: E731
    done = {key(json.loads(line)) for line in out.read_text().splitlines()} if out.exists() else set()
    todo = [c for c in grid() if key(c) not in done]
    print(f"{len(done)} cells done, {len(todo)} to go", flush=True)
    with mp.get_context("spawn").Pool(workers) as pool, out.open("a") as file:
        for i, row in enumerate(pool.imap_unordered(one, todo)):
            file.write(json.dumps(row) + "\n")
            file.flush()
            if i % 20 == 0:
                print(f"{i}/{len(todo)} {row['model']} depth {row['depth']}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("run", "fit", "report"))
    parser.add_argument("file", nargs="?", type=Path, default=Path("predictor.jsonl"))
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    if arguments.command == "run":
        train_grid(arguments.file, arguments.workers)
        return
    sys.exit("fit and report follow")


if __name__ == "__main__":
    main()
