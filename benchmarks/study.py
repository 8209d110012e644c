"""A study of many tiny runs as a user types it, with everything that it starts, beside a bare sequential loop."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.processes import Cost, cost_of
from benchmarks.scripts.bare_study import ACTIVATIONS, DEPTH, EPOCHS, INITS, WIDTH
from benchmarks.table import Result, interleave

_BARE = Path(__file__).parent / "scripts" / "bare_study.py"
SEEDS = 20


def measure(repetitions: int) -> list[Result]:
    """240 runs: digits, a perceptron of 4 x 64 units, 10 epochs, 4 initialisations, 3 activations, 20 seeds."""

    def run(*command: str) -> Cost:
        with tempfile.TemporaryDirectory() as folder:
            return cost_of([sys.executable, *command], folder=Path(folder), env={"OMP_NUM_THREADS": "1"})

    def typed(*more: str) -> Cost:
        grid = [f"init={','.join(INITS)}", f"activation={','.join(ACTIVATIONS)}", f"replicas={SEEDS}"]
        size = [f"model.width={WIDTH}", f"model.depth={DEPTH}", f"trainer.epochs={EPOCHS}"]
        return run("-m", "initlab", "-m", *grid, "data=digits", "model=mlp", *size, *more)

    count = len(INITS) * len(ACTIVATIONS) * SEEDS
    variants = {
        "bare loop": lambda: run(str(_BARE), str(SEEDS)),
        "study": typed,
        "study, 2 workers": lambda: typed("study.workers=2"),
        "study, study.cohort=off": lambda: typed("study.cohort=off"),
    }
    title = f"{count} tiny runs in a fresh directory, defaults: reports, checkpoints and probes as they are"
    return [interleave("study", title, variants, repetitions)]


def main(arguments: Sequence[str]) -> list[Result]:
    return measure(int(arguments[0]) if arguments else 5)
