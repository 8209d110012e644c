"""What large stores, long runs and deep networks cost: each command as typed, with all its processes.

A new run and `compare` in a store of 10,000 runs; a run of 50,000 updates that records over a million points; a
perceptron of 300 layers. The notes say how large the files are, and whether the store holds every point.
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.compare_scale import fill
from benchmarks.processes import Cost, cost_of
from benchmarks.table import Result
from tests.compare.stores import empty

RUNS, PAIRS = 10_000, 100
_TINY = ("data=digits", "data.limit=256", "model=mlp", "model.width=8", "model.depth=2", "trainer.batch_size=64")
_LONG = (*_TINY, "trainer.epochs=100000", "trainer.max_steps=50000", "trainer.log_every=1", "probes=full",
         "trainer.checkpoint=false")  # fmt: skip
_DEEP = ("data=digits", "model=mlp", "model.depth=300", "model.width=16", "trainer.epochs=2", "probes.every=10",
         "probes.max_metric_sites=300")  # fmt: skip


def measure(repetitions: int) -> list[Result]:
    """Costs, sizes and counts; each variant is measured in a folder of its own."""
    costs: dict[str, list[Cost]] = {}
    notes: list[str] = []
    for repetition in range(repetitions):
        for name, told in _once():
            cost, note = told
            print(f"  {repetition + 1}/{repetitions} {name}: {cost.cpu:.1f} s CPU, {cost.wall:.1f} s", file=sys.stderr)
            costs.setdefault(name, []).append(cost)
            notes.append(f"{name}: {note}")
    title = f"A store of {RUNS:,} runs with {PAIRS} parameters and metrics each; 50,000 updates; 300 layers"
    return [Result("growth", title, repetitions, costs, tuple(dict.fromkeys(notes)))]


def main(arguments: Sequence[str]) -> list[Result]:
    return measure(int(arguments[0]) if arguments else 1)


# ------------------------------------------------------------------ pieces
def _once() -> list[tuple[str, tuple[Cost, str]]]:
    with tempfile.TemporaryDirectory() as fresh, tempfile.TemporaryDirectory() as large:
        fill(empty(Path(large)), RUNS, PAIRS)
        found = [
            ("a new run, no store yet", _typed(Path(fresh), *_TINY, "trainer.epochs=1")),
            (f"a new run, {RUNS:,} runs", _typed(Path(large), *_TINY, "trainer.epochs=1")),
            (f"compare, {RUNS:,} runs", _typed(Path(large), "compare")),
            (f"list, {RUNS:,} runs", _typed(Path(large), "list")),
        ]
    for name, words in (("50,000 updates, every one recorded", _LONG), ("300 layers, 40 updates", _DEEP)):
        with tempfile.TemporaryDirectory() as fresh:
            found.append((name, _typed(Path(fresh), *words)))
    return found


def _typed(folder: Path, *words: str) -> tuple[Cost, str]:
    cost = cost_of([sys.executable, "-m", "initlab", *words], folder=folder, env={"OMP_NUM_THREADS": "1"})
    store = folder / "mlflow.db"
    if not store.exists():  # the store of compare's tests has another name
        store = next(folder.glob("*.db"))
    with sqlite3.connect(store) as database:
        (points,) = database.execute("SELECT COUNT(*) FROM metrics").fetchone()
    artifacts = sum(p.stat().st_size for p in (folder / "mlruns").rglob("*") if p.is_file())
    left = [p for p in (folder / ".initlab" / "spool").glob("*") if p.is_dir()]
    return cost, (
        f"store {store.stat().st_size / 1e6:.1f} MB, {points:,} points, artifacts {artifacts / 1e6:.2f} MB,"
        f" {len(left)} spools left"
    )
