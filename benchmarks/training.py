"""The training loop with probes and tracking beside a bare loop over the same network, batches and optimiser.

In one process; the CPU time of this process, without that of the helper which delivers the records.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import torch

from benchmarks.processes import Cost
from benchmarks.table import Result, interleave
from initlab import config
from initlab.core import seeds
from initlab.run.prepare import prepare
from initlab.run.train import run
from initlab.spec import Experiment

Overrides = tuple[str, ...]

_BASE = ("tracking.report=false", "trainer.checkpoint=false", "trainer.test_with=last", "probes.histograms=false")
NETWORKS = {
    "cnn": (
        "reference CNN, MNIST, batch 32",
        ("data=mnist_mini", "model=cnn", "trainer.batch_size=32", "trainer.epochs=2"),
    ),
    "mlp": (
        "perceptron 784-256x10, batch 128",
        ("data=mnist_mini", "model=mlp", "model.depth=10", "trainer.batch_size=128", "trainer.epochs=12"),
    ),
    "gpt": (
        "decoder of 4 blocks of 128, characters, batch 12",
        ("task=text", "data=tiny_shakespeare", "model=gpt", "trainer.batch_size=12", "trainer.max_steps=150"),
    ),
    "lstm": ("LSTM, characters of a text", ("task=text", "model=lstm", "trainer.max_steps=300")),
}
VARIANTS = {
    "loop, no probes": ("probes=none", "tracking=none"),
    "probes=economy": ("tracking=none",),
    "probes=economy and tracking": (),
    "probes=full": ("probes=full", "tracking=none"),
}


def measure(repetitions: int) -> list[Result]:
    """One result for each network."""
    torch.set_num_threads(1)
    contiguous = {"cnn": {"bare loop, contiguous images": ("trainer.channels_last=false",)}}
    return compare("training", NETWORKS, VARIANTS, repetitions, bare_too=contiguous)


def compare(
    stem: str,
    networks: Mapping[str, tuple[str, Overrides]],
    variants: Mapping[str, Overrides],
    repetitions: int,
    *,
    everywhere: Overrides = (),
    bare_too: Mapping[str, Mapping[str, Overrides]] | None = None,
) -> list[Result]:
    """One result for each of `networks`: the bare loop, and initlab's with each of `variants`, in turn.

    Args:
        stem: of the results' files.
        everywhere: overrides of all runs.
        bare_too: network → further bare loops by name.
    """
    found: list[Result] = []
    with tempfile.TemporaryDirectory() as scratch:
        before = Path.cwd()
        os.chdir(scratch)
        try:
            for name, (title, words) in networks.items():
                placed = (*words, *everywhere)
                timings: dict[str, Callable[[], Cost]] = {}
                for label, extra in {"bare loop": (), **(bare_too or {}).get(name, {})}.items():
                    timings[label] = partial(bare, experiment_of(*placed, *extra))
                for label, extra in variants.items():
                    timings[label] = partial(timed, experiment_of(*placed, *extra))
                found.append(interleave(f"{stem}_{name}", title, timings, repetitions))
        finally:
            os.chdir(before)
    return found


def main(arguments: Sequence[str]) -> list[Result]:
    return measure(int(arguments[0]) if arguments else 5)


def experiment_of(*overrides: str) -> Experiment:
    """What these overrides say, without report, checkpoint and histograms."""
    return config.experiment(config.compose([*_BASE, *overrides]))


def bare(decided: Experiment) -> Cost:
    """What one would write by hand, in the memory layout of the run: no records, no probes, one evaluation an epoch."""
    prepared = prepare(decided)
    model, splits, task, batch = prepared.model, prepared.splits, decided.task, decided.trainer.batch_size
    placed = prepared.layout.of
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    left = decided.trainer.max_steps or 10**9
    cpu, wall = time.process_time(), time.perf_counter()
    for epoch in range(decided.trainer.epochs):
        model.train()
        order = torch.randperm(len(splits.train), generator=seeds.generator(0, "data", f"epoch{epoch}"))
        for index in order.split(batch):
            optimizer.zero_grad(set_to_none=True)
            task.loss(model(placed(splits.prepare(splits.train.x[index]))), splits.train.y[index]).backward()
            if decided.trainer.clip_grad_norm is not None:
                torch.nn.utils.clip_grad_norm_(model.parameters(), decided.trainer.clip_grad_norm, foreach=True)
            optimizer.step()
            left -= 1
            if left == 0:
                break
        model.eval()
        with torch.no_grad():
            for x, y in zip(splits.val.x.split(batch), splits.val.y.split(batch), strict=True):
                task.loss(model(placed(splits.prepare(x))), y).item()
        if left == 0:
            break
    return Cost(cpu=time.process_time() - cpu, wall=time.perf_counter() - wall, memory=0.0)


class _Timed:
    """A narrator that takes the time from the start of training to the last record."""

    def started(self, *_: object) -> None:
        self.begun = time.process_time(), time.perf_counter()

    def record(self, *_: object) -> None:
        now = time.process_time(), time.perf_counter()
        self.cost = Cost(cpu=now[0] - self.begun[0], wall=now[1] - self.begun[1], memory=0.0)

    def finished(self, *_: object) -> None:
        self.done = True


def timed(decided: Experiment) -> Cost:
    """Cost from the first evaluation to the end of the last epoch."""
    timed = _Timed()
    run(decided, narrator=timed)
    return timed.cost
