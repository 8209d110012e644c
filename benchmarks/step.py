"""One update of a transformer beside that of a bare loop: the difference of a long and a short run, without evaluation.

In one process, as `benchmarks.training`; the figures are of 1,000 updates.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch

from benchmarks.processes import Cost
from benchmarks.table import Result, interleave
from benchmarks.training import VARIANTS, bare, experiment_of, timed
from initlab.spec import Experiment

#: network, batch and clipping of `experiment=gpt_shakespeare_cpu`; a small validation part
_GPT = (
    "task=text", "data=tiny_shakespeare", "data.val_fraction=0.02", "model=gpt", "init=gpt2", "trainer.batch_size=12",
    "trainer.clip_grad_norm=1.0",
)  # fmt: skip
#: updates of the two runs; both are below one epoch, so that each evaluates at its end
SHORT, LONG = 100, 500


def main(arguments: Sequence[str]) -> list[Result]:
    repetitions = int(arguments[0]) if arguments else 5
    torch.set_num_threads(1)
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)
        try:
            timings: dict[str, Callable[[], Cost]] = {"bare loop": partial(_difference, bare, ())}
            timings |= {label: partial(_difference, timed, extra) for label, extra in VARIANTS.items()}
            return [interleave("step", "1,000 updates of a decoder of 4 blocks of 128", timings, repetitions)]
        finally:
            os.chdir(before)


def _difference(measure: Callable[[Experiment], Cost], extra: Sequence[str]) -> Cost:
    """Cost of 1,000 updates: that of the long run without that of the short one."""
    short, long = (measure(experiment_of(*_GPT, f"trainer.max_steps={n}", *extra)) for n in (SHORT, LONG))
    share = 1000 / (LONG - SHORT)
    return Cost(cpu=share * (long.cpu - short.cpu), wall=share * (long.wall - short.wall), memory=0.0)
