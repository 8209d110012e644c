"""The command that a newcomer types, with all its processes, beside a bare script and Lightning with MLflow logging."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from benchmarks.processes import Cost, cost_of
from benchmarks.table import Result, interleave

_SCRIPTS = Path(__file__).parent / "scripts"


def measure(repetitions: int) -> list[Result]:
    """One epoch of a perceptron on digits, in a directory that has a store already."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)

        def run(*command: str) -> Cost:
            return cost_of([sys.executable, *command], folder=folder, env={"OMP_NUM_THREADS": "1"})

        def typed(*words: str) -> Cost:
            return run("-m", "initlab", "model=mlp", "trainer.epochs=1", *words)

        variants = {
            "bare script": lambda: run(str(_SCRIPTS / "bare_digits.py")),
            "initlab, as typed": typed,
            "initlab probes=none tracking.report=false": lambda: typed("probes=none", "tracking.report=false"),
            "import torch": lambda: run("-c", "import torch"),
        }
        if find_spec("lightning"):
            variants["Lightning and MLFlowLogger"] = lambda: run(str(_SCRIPTS / "lightning_digits.py"))
        found = interleave(
            "default_run", "A default run: digits, perceptron 64-256-256-10, 1 epoch", variants, repetitions
        )
        inspect = interleave(
            "inspect", "inspect, beside import torch",
            {
                "import torch": lambda: run("-c", "import torch"),
                "inspect model=mlp": lambda: run("-m", "initlab", "inspect", "model=mlp"),
                "--help": lambda: run("-m", "initlab", "--help"),
            },
            repetitions,
        )  # fmt: skip
    return [found, inspect]


def main(arguments: Sequence[str]) -> list[Result]:
    return measure(int(arguments[0]) if arguments else 5)
