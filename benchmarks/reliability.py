"""Strikes at random moments of runs that record, and whether every record is in the store once; docs/reliability.md.

    python benchmarks/reliability.py [--seed S] [--rounds FACTOR] [--only ROW] [--write]

Each row of the table is a kind of fault (tests/reliability/rounds.py says what is done and what must hold); its rounds
are struck at random moments. Rows that need no server run two at a time. After them: the MLflow server away for 60 s in
mid-run, and what a server that takes 2 s for every call costs training. --write puts the table into
docs/reliability.md. Exit code 1 where anything did not hold.
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
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from initlab.config import compose, experiment  # noqa: E402
from initlab.run.train import run  # noqa: E402
from initlab.spec import Experiment  # noqa: E402
from initlab.tracking.store.client import connect  # noqa: E402
from tests.reliability.rounds import ROWS, SLOW, Bench, bench, server_killed  # noqa: E402
from tests.tracking.tracking_cases import Gate  # noqa: E402

DOC = ROOT / "docs" / "reliability.md"
#: rows whose clients share a server that others must not strike meanwhile
_ALONE = ("server killed", "PostgreSQL restarted")
TRAINED = (
    "data=digits", "model=mlp", "model.width=128", "trainer.epochs=60", "tracking.report=false",
    "trainer.checkpoint=false", "device=cpu", "threads=1",
)  # fmt: skip


def rounds(made: Bench, row: str, count: int, seed: int) -> tuple[str, int, list[str]]:
    """All rounds of a row: strikes, and what did not hold."""
    strike, struck, wrong = ROWS[row][0], 0, []
    for number in range(count):
        name = f"{re.sub('[^a-z0-9]+', '-', row.lower())}-{number}"
        points, found = strike(made, random.Random(f"{seed} {row} {number}"), name)
        struck += points
        wrong += [f"{row}, round {number}: {f}" for f in found]
        for sentence in found:
            print(f"  {row}, round {number}: {sentence}", flush=True)
    print(f"{row}: {struck} strikes in {count} rounds, {len(wrong)} violations", flush=True)
    return row, struck, wrong


def table(made: Bench, factor: float, only: str, seed: int) -> Iterator[tuple[str, int, list[str]]]:
    wanted = {row: max(1, round(count * factor)) for row, (_, count) in ROWS.items() if only in row}
    with ThreadPoolExecutor(2) as lanes:
        shared = [lanes.submit(rounds, made, row, n, seed) for row, n in wanted.items() if row not in _ALONE]
        yield from [future.result() for future in shared]
    for row in _ALONE:
        if row in wanted:
            yield rounds(made, row, wanted[row], seed)


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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=float, default=1.0)
    parser.add_argument("--only", default="")
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="initlab-reliability-") as scratch:
        folder = Path(scratch)
        folder.chmod(0o755)
        (folder / "template").mkdir()
        connect(f"sqlite:///{folder}/template/mlflow.db", workdir=folder / "template")
        with bench(folder, folder / "template" / "mlflow.db") as made:
            found = list(table(made, asked.rounds, asked.only, asked.seed))
            if not asked.only:
                struck, wrong = server_killed(made, random.Random(asked.seed), "away-for-a-minute", away=60.0)
                found.append(("server away for 60 s", struck, wrong))
                to_quick, to_none = slowed(made)
    lines = ["| fault | strikes | records lost, doubled or changed, ends unknown |", "|---|---|---|"]
    lines += [f"| {row} | {struck} | {len(wrong)} |" for row, struck, wrong in found]
    lines.append(f"| all | {sum(s for _, s, _ in found)} | {sum(len(w) for _, _, w in found)} |")
    if not asked.only:
        lines += [
            "",
            f"Training with a server that takes {SLOW:g} s for every call: {to_quick:.3f} times the seconds with a",
            f"quick server, {to_none:.3f} times those with tracking=none (medians of 5, in turns).",
        ]
    lines += ["", f"Seed {asked.seed}, {(time.monotonic() - begun) / 60:.0f} minutes."]
    print("\n".join(lines))
    if asked.write:
        text = DOC.read_text(encoding="utf-8")
        mark = re.compile(r"(<!-- table -->\n).*?(<!-- end of table -->)", re.DOTALL)
        DOC.write_text(mark.sub(lambda m: m[1] + "\n".join(lines) + "\n" + m[2], text), encoding="utf-8")
    return 1 if any(wrong for _, _, wrong in found) else 0


if __name__ == "__main__":
    sys.exit(main())
