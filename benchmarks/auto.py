"""Is `init=auto` ever worse than the best of the schemes that people type?

    python benchmarks/auto.py run FILE       train the pairs; can be stopped and goes on where it was
    python benchmarks/auto.py report FILE    the table of docs/auto.md

Ten (model, activation) pairs on `mnist_mini`, 340 updates of SGD with momentum 0.9, learning rate 0.01, clipped to norm
1, batches of 64 (32 for convolutional networks), test accuracy after the last update, five seeds. Arms under one seed
see the same batches; the interval is that of the mean paired difference to the best of the four (Student, 95 %).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing as mp
import os
import statistics
import time
from pathlib import Path
from typing import Any

PAIRS = (
    "model=mlp model.depth=3 model.width=100 activation=relu",
    "model=mlp model.depth=30 model.width=100 activation=relu",
    "model=mlp model.depth=20 model.width=100 activation=tanh",
    "model=mlp model.depth=20 model.width=100 activation=gelu",
    "model=mlp model.depth=10 model.width=100 activation=silu",
    "model=mlp model.depth=10 model.width=100 activation=sigmoid",
    "model=mlp model.depth=12 model.width=100 model.residual=true model.norm=layer activation=gelu",
    "model=cnn activation=relu trainer.batch_size=32",
    "model=convnet model.depth=10 model.width=12 model.readout=flatten activation=elu trainer.batch_size=32",
    "model=resnet model.depth=20 model.width=8 model.norm=none activation=relu trainer.batch_size=32",
)
USUAL = ("he", "xavier", "orthogonal", "lsuv")
INITS = (*USUAL, "auto")
SEEDS = range(5)
COMMON = (
    "task=image", "data=mnist_mini", "optimizer=sgd", "optimizer.lr=0.01", "optimizer.momentum=0.9",
    "trainer.clip_grad_norm=1.0", "trainer.epochs=6", "trainer.max_steps=340", "trainer.checkpoint=false",
    "trainer.test_with=last", "probes=none", "tracking=none", "device=cpu",
)  # fmt: skip
#: two-sided 95 % quantile of Student's t with four degrees of freedom
T4 = 2.7764


def one(cell: dict[str, Any]) -> dict[str, Any]:
    import torch

    from initlab import config
    from initlab.run.prepare import prepare
    from initlab.run.train import run

    torch.set_num_threads(1)
    begun = time.perf_counter()
    overrides = [*COMMON, *cell["pair"].split(), f"init={cell['init']}", f"seed={cell['seed']}"]
    decided = config.experiment(config.compose(overrides))
    chosen = prepare(decided).initialised.initializer.name if cell["init"] == "auto" else cell["init"]
    result = run(decided)
    accuracy = result.metrics.get("test/accuracy", 0.1)
    return {
        **cell,
        "chosen": chosen,
        "accuracy": accuracy,
        "status": result.status,
        "seconds": time.perf_counter() - begun,
    }


def train(file: Path, workers: int) -> None:
    cells = [{"pair": p, "init": i, "seed": s} for s in SEEDS for p in PAIRS for i in INITS]
    done = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    known = {(r["pair"], r["init"], r["seed"]) for r in done}
    todo = [c for c in cells if (c["pair"], c["init"], c["seed"]) not in known]
    print(f"{len(done)} runs done, {len(todo)} to go", flush=True)
    with mp.get_context("spawn").Pool(workers) as pool, file.open("a") as out:
        for row in pool.imap_unordered(one, todo):
            out.write(json.dumps(row) + "\n")
            out.flush()


def report(file: Path) -> None:
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    by: dict[tuple[str, str], dict[int, float]] = {}
    chosen: dict[str, set[str]] = {}
    for r in rows:
        by.setdefault((r["pair"], r["init"]), {})[r["seed"]] = r["accuracy"]
        if r["init"] == "auto":
            chosen.setdefault(r["pair"], set()).add(r["chosen"])
    print("| network | he | xavier | orthogonal | lsuv | auto | auto chose | auto - best (95 %) | |")
    print("|---|---|---|---|---|---|---|---|---|")
    held = 0
    for pair in PAIRS:
        means = {i: statistics.mean(by[pair, i].values()) for i in INITS}
        best = max(USUAL, key=lambda i: means[i])
        auto, other = by[pair, "auto"], by[pair, best]
        gaps = [auto[s] - other[s] for s in sorted(auto.keys() & other.keys())]
        half = T4 * statistics.stdev(gaps) / len(gaps) ** 0.5
        mean = statistics.mean(gaps)
        fine = mean >= -half
        held += fine
        words = " ".join(w.partition(".")[2] or w for w in pair.replace("trainer.batch_size=32", "").split())
        cells = " | ".join(f"{means[i]:.3f}" for i in USUAL)
        print(
            f"| {words} | {cells} | **{means['auto']:.3f}** | {', '.join(sorted(chosen[pair]))}"
            f" | {mean:+.3f} ± {half:.3f} ({best}) | {'yes' if fine else 'no'} |"
        )
    print(f"\nNot worse than the best by more than the interval: {held} of {len(PAIRS)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("run", "report"))
    parser.add_argument("file", nargs="?", type=Path, default=Path("auto.jsonl"))
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    if arguments.command == "run":
        train(arguments.file, arguments.workers)
    else:
        report(arguments.file)


if __name__ == "__main__":
    main()
