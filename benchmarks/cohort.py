"""Training alone: a cohort of perceptrons beside the bare loop and the loop of single runs, by batch size."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.processes import Cost
from benchmarks.table import Result, interleave
from initlab import config
from initlab.probes import ProfileLog
from initlab.run.assemble import training_loop
from initlab.run.prepare import prepare
from initlab.train import Checkpoints, train
from initlab.train.cohort import Member, train_cohort
from initlab.train.ranks import ALONE
from initlab.train.run import Run

#: members of the cohort: seeds of each activation
SEEDS, BATCHES = 8, (32, 64, 128)
_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU}
_WIDTH, _DEPTH, _EPOCHS = 64, 4, 10


def _run(activation: str, seed: int, batch: int, probes: str) -> Run:
    words = [
        "data=digits", "model=mlp", f"model.width={_WIDTH}", f"model.depth={_DEPTH}", f"trainer.epochs={_EPOCHS}",
        f"trainer.batch_size={batch}", f"probes={probes}", f"activation={activation}", f"seed={seed}", "device=cpu",
    ]  # fmt: skip
    e = config.experiment(config.compose(words), overrides=words)
    return training_loop(
        e, prepare(e), profile=ProfileLog(None), checkpoints=Checkpoints(None), stop=lambda: False, ranks=ALONE
    )


def _bare(run: Run, make: Callable[[], nn.Module], batch: int, *, fused: bool) -> None:
    """The loop that a person writes: epochs, validation, and the mean loss."""
    splits = run.splits
    x, val = (splits.prepare(p.x).flatten(1) for p in (splits.train, splits.val))
    sizes = [x.shape[1], *[_WIDTH] * _DEPTH]
    hidden = [m for i, o in pairwise(sizes) for m in (nn.Linear(i, o), make())]
    model = nn.Sequential(*hidden, nn.Linear(_WIDTH, splits.io.classes))
    optimizer = torch.optim.Adam(model.parameters(), fused=fused)
    for _ in range(_EPOCHS):
        total = 0.0
        for index in torch.randperm(len(x)).split(batch):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x[index]), splits.train.y[index])
            loss.backward()
            optimizer.step()
            total += loss.item()
        with torch.no_grad():
            output = model(val)
            F.cross_entropy(output, splits.val.y).item()
            (output.argmax(1) == splits.val.y).float().mean().item()


def _cost(work: Callable[[], object]) -> Cost:
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return Cost(cpu=time.process_time() - cpu, wall=time.perf_counter() - wall, memory=0.0)


def measure(repetitions: int) -> list[Result]:
    """One result for each batch size; all variants train the same number of networks."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    pairs = [(a, s) for a in _ACTIVATIONS for s in range(SEEDS)]
    found: list[Result] = []
    for batch in BATCHES:

        def runs(probes: str, batch: int = batch) -> list[Run]:
            return [_run(a, s, batch, probes) for a, s in pairs]

        def bare(fused: bool, batch: int = batch) -> Cost:
            known = runs("none")
            return _cost(
                lambda: [_bare(r, _ACTIVATIONS[a], batch, fused=fused) for r, (a, _) in zip(known, pairs, strict=True)]
            )

        def single(probes: str) -> Cost:
            known = runs(probes)
            return _cost(lambda: [list(train(r)) for r in known])

        def cohort(probes: str) -> Cost:
            members = [Member(run=r, function=a) for r, (a, _) in zip(runs(probes), pairs, strict=True)]
            return _cost(lambda: list(train_cohort(members)))

        bare(False)
        gc.collect()
        gc.freeze()
        found.append(
            interleave(
                f"cohort_{batch}",
                f"{len(pairs)} perceptrons 64-64x4-10 on digits, {_EPOCHS} epochs, Adam, batch {batch}: training alone",
                {
                    "bare loop, one after another": lambda: bare(False),
                    "bare loop, Adam(fused=True)": lambda: bare(True),
                    "loop of single runs, probes=none": lambda: single("none"),
                    "cohort, probes=none": lambda: cohort("none"),
                    "loop of single runs, probes=economy": lambda: single("economy"),
                    "cohort, probes=economy": lambda: cohort("economy"),
                },
                repetitions,
            )
        )
    return found


def main(arguments: Sequence[str]) -> list[Result]:
    return measure(int(arguments[0]) if arguments else 5)
