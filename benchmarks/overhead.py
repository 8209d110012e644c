"""Cost of the loop, of the probes and of tracking against a bare PyTorch loop: ratios, in one process.

    python benchmarks/overhead.py [repetitions]

Each repetition runs every variant once, in turn, so that a slow minute of the machine hits all of them. Reported is the
median over repetitions of (variant / bare), for wall-clock and for CPU time of the process.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from initlab import config
from initlab.core import seeds
from initlab.run.prepare import prepare
from initlab.run.train import run
from initlab.spec import Experiment

BASE = (
    "data=mnist_mini", "tracking.report=false", "trainer.checkpoint=false", "trainer.test_with=last",
    "probes.histograms=false",
)  # fmt: skip
NETWORKS = {
    "MLP 784-256-256-10, batch 64": ("model=mlp", "trainer.epochs=30"),
    "reference CNN, batch 64": ("model=cnn", "trainer.epochs=4"),
}
VARIANTS = {
    "loop, no probes": ("probes=none", "tracking=none"),
    "probes=economy": ("tracking=none",),
    "probes=economy, steady state": ("tracking=none", "probes.dense_until=0"),
    "probes=full (every step)": ("probes=full", "tracking=none"),
    "probes=economy + tracking": (),
}


def experiment(*overrides: str) -> Experiment:
    return config.experiment(config.compose([*BASE, *overrides]))


def bare(decided: Experiment) -> None:
    """What one would write by hand: no records, no probes, one evaluation an epoch."""
    prepared = prepare(decided)
    model, splits, batch = prepared.model, prepared.splits, decided.trainer.batch_size
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    clock = Clock()
    for epoch in range(decided.trainer.epochs):
        model.train()
        order = torch.randperm(len(splits.train), generator=seeds.generator(0, "data", f"epoch{epoch}"))
        for index in order.split(batch):
            optimizer.zero_grad(set_to_none=True)
            x, y = splits.prepare(splits.train.x[index]), splits.train.y[index]
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            (model(splits.prepare(splits.val.x)).argmax(1) == splits.val.y).float().mean().item()
    clock.stop()
    TIMES["bare"].append((clock.wall, clock.cpu))


class Clock:
    """Wall-clock and CPU seconds since it was made."""

    def __init__(self) -> None:
        self._start = time.perf_counter(), time.process_time()
        self.wall = self.cpu = 0.0

    def stop(self) -> None:
        self.wall, self.cpu = time.perf_counter() - self._start[0], time.process_time() - self._start[1]


class Timed:
    """A narrator that takes the time from the start of training to the last record."""

    def started(self, *_: object) -> None:
        self.clock = Clock()

    def record(self, *_: object) -> None:
        self.clock.stop()

    def finished(self, *_: object) -> None:
        self.done = True


TIMES: dict[str, list[tuple[float, float]]] = {}


def once(name: str, decided: Experiment) -> None:
    timed = Timed()
    run(decided, narrator=timed)
    TIMES[name].append((timed.clock.wall, timed.clock.cpu))


def measure(overrides: tuple[str, ...], repetitions: int) -> None:
    TIMES.clear()
    plain = experiment(*overrides)
    variants: dict[str, Callable[[], None]] = {"bare": lambda: bare(plain)}
    for name, extra in VARIANTS.items():
        decided = experiment(*overrides, *extra)
        variants[name] = lambda name=name, decided=decided: once(name, decided)
    for name in variants:
        TIMES[name] = []
    for repetition in range(repetitions + 1):
        for work in variants.values():
            work()
        if repetition == 0:  # warm-up: imports, kernels, the creation of the store
            for times in TIMES.values():
                times.clear()
    wall, cpu = (statistics.median(t[i] for t in TIMES["bare"]) for i in (0, 1))
    print(f"  bare loop                      {wall:6.2f} s wall, {cpu:6.2f} s CPU")
    for name in VARIANTS:
        ratios = [
            statistics.median(t[i] / b[i] for t, b in zip(TIMES[name], TIMES["bare"], strict=True)) for i in (0, 1)
        ]
        print(f"  {name:<30} {ratios[0]:6.2f} x wall, {ratios[1]:6.2f} x CPU")


def main() -> None:
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {repetitions} repetitions, data=mnist_mini")
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)
        for name, overrides in NETWORKS.items():
            print(name)
            measure(overrides, repetitions)
        os.chdir(Path(scratch).parent)


if __name__ == "__main__":
    main()
