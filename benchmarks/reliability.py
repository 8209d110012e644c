"""Strikes at random moments of runs and studies, and whether every record is in the store once; docs/reliability.md.

    python -m benchmarks reliability [--quick] [--seed S] [--rounds FACTOR] [--only ROW] [--lanes N] [--write]

Each row of the table is a kind of fault (a function in a file of tests/reliability/rows, which says what is done and
what must hold); its rounds are struck at random moments. Rows that strike no server of others run --lanes at a time.
After them: the MLflow server away for 60 s in mid-run, and what a server that takes 2 s for every call costs training.
--quick: one round of each row, without these two. --write puts the table into docs/reliability.md. Exit code 1 where
anything did not hold.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from initlab.config import compose, experiment  # noqa: E402
from initlab.run.train import run  # noqa: E402
from initlab.spec import Experiment  # noqa: E402
from initlab.tracking.store.client import connect  # noqa: E402
from tests.reliability.rounds import SLOW, Bench, bench, server_killed  # noqa: E402
from tests.reliability.rows import Row, table  # noqa: E402
from tests.tracking.tracking_cases import Gate  # noqa: E402

DOC = ROOT / "docs" / "reliability.md"
TRAINED = (
    "data=digits", "model=mlp", "model.width=128", "trainer.epochs=60", "tracking.report=false",
    "trainer.checkpoint=false", "device=cpu", "threads=1",
)  # fmt: skip


def rounds(made: Bench, row: Row, count: int, seed: int) -> tuple[str, int, list[str]]:
    """All rounds of a row: strikes, and what did not hold."""
    struck, wrong = 0, list[str]()
    begun = time.monotonic()
    for number in range(count):
        name = f"{re.sub('[^a-z0-9]+', '-', row.name.lower())}-{number}"
        try:
            points, found = row.strike(made, random.Random(f"{seed} {row.name} {number}"), name)
        except PermissionError as error:  # a file system that may not be mounted here
            print(f"  {row.name}: {error}", flush=True)
            break
        except Exception as error:  # what cannot be looked at is a finding too
            points, found = 1, [f"{type(error).__name__}: {' '.join(str(error).split())[:400]}"]
        struck += points
        wrong += [f"{row.name}, round {number}: {f}" for f in found]
        for sentence in found:
            print(f"  {row.name}, round {number}: {sentence}", flush=True)
    seconds = time.monotonic() - begun
    print(f"{row.name}: {struck} strikes in {count} rounds, {len(wrong)} violations, {seconds:.0f} s", flush=True)
    return row.name, struck, wrong


def strike_all(made: Bench, asked: argparse.Namespace) -> Iterator[tuple[str, int, list[str]]]:
    """The rows that are asked for; those that share no server with others, several at a time."""
    wanted = [(r, 1 if asked.quick else max(1, round(r.rounds * asked.rounds))) for r in table().values()]
    wanted = [(r, n) for r, n in wanted if asked.only in r.name]
    with ThreadPoolExecutor(asked.lanes) as lanes:
        shared = [lanes.submit(rounds, made, r, n, asked.seed) for r, n in wanted if not r.alone]
        yield from [future.result() for future in shared]
    for row, count in wanted:
        if row.alone:
            yield rounds(made, row, count, asked.seed)


def slowed(made: Bench, repeats: int = 5) -> tuple[float, float]:
    """Seconds of training with a server that takes two seconds a call, over those with a quick one and with none.

    In one process, in turns; medians over `repeats`.
    """
    gate = Gate(made.server.port, delay=SLOW)
    gate.open()
    composed = experiment(compose(list(TRAINED)), overrides=TRAINED)
    seconds: dict[str, list[float]] = {"slow": [], "quick": [], "none": []}
    try:
        for number in range(repeats + 1):
            for name, uri in (("slow", gate.uri), ("quick", made.server.uri), ("none", None)):
                result = run(_tracked(composed, uri), workdir=made.folder / f"trained-{name}")
                if number:  # the first of each loads what the others find loaded
                    seconds[name].append(result.seconds)
    finally:
        gate.shut()
    slow, quick, none = (statistics.median(seconds[n]) for n in ("slow", "quick", "none"))
    return slow / quick, slow / none


def _tracked(composed: Experiment, uri: str | None) -> Experiment:
    settings = replace(composed.tracking, uri=uri, enabled=uri is not None, drain_seconds=1.0)
    return replace(composed, tracking=settings)


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=float, default=1.0)
    parser.add_argument("--only", default="")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--lanes", type=int, default=2)
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args(words)
    whole = not asked.only and not asked.quick
    os.environ["OMP_NUM_THREADS"] = "1"
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="initlab-reliability-") as scratch:
        folder = Path(scratch)
        folder.chmod(0o755)
        (folder / "template").mkdir()
        connect(f"sqlite:///{folder}/template/mlflow.db", workdir=folder / "template")
        with bench(folder, folder / "template" / "mlflow.db") as made:
            found = list(strike_all(made, asked))
            if whole:
                struck, wrong = server_killed(made, random.Random(asked.seed), "away-for-a-minute", away=60.0)
                found.append(("server away for 60 s", struck, wrong))
                to_quick, to_none = slowed(made)
    lines = ["| fault | strikes | records lost, doubled or changed, ends unknown |", "|---|---|---|"]
    lines += [f"| {row} | {struck} | {len(wrong)} |" for row, struck, wrong in found]
    lines.append(f"| all | {sum(s for _, s, _ in found)} | {sum(len(w) for _, _, w in found)} |")
    if whole:
        lines += [
            "",
            f"Training with a server that takes {SLOW:g} s for every call: {to_quick:.3f} times the seconds with a",
            f"quick server, {to_none:.3f} times those with tracking=none (medians of 5, in turns).",
        ]
    rows_struck = sum(s > 0 for _, s, _ in found)
    lines += ["", f"{rows_struck} rows, seed {asked.seed}, {(time.monotonic() - begun) / 60:.0f} minutes."]
    print("\n".join(lines))
    if asked.write:
        text = DOC.read_text(encoding="utf-8")
        mark = re.compile(r"(<!-- table -->\n).*?(<!-- end of table -->)", re.DOTALL)
        DOC.write_text(mark.sub(lambda m: m[1] + "\n".join(lines) + "\n" + m[2], text), encoding="utf-8")
    return 1 if any(wrong for _, _, wrong in found) else 0


if __name__ == "__main__":
    sys.exit(main())
