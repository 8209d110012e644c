"""Commands that read, clean and send beside a live study."""

from __future__ import annotations

import random
from pathlib import Path

from tests.reliability.rounds import Bench
from tests.reliability.rows import row
from tests.reliability.studies import ARMS, NAME, SEEDS, ended, initlab, leader, somewhere
from tests.study.study_cases import runs

_PATIENCE = 120.0
#: of gc: everything that is of no use any more goes at once
_AT_ONCE = ("checkpoints_days=0", "deleted_days=0", "logs_days=0", "studies_days=0", "spool_days=0", "apply=true")


def _beside(bench: Bench, draw: random.Random, name: str, *words: str) -> tuple[int, list[str], Path]:
    """The command, once or twice, at random moments of the study."""
    folder = bench.folder / name
    process = leader(folder)
    struck, wrong = 0, list[str]()
    for _ in range(draw.choice((1, 2))):
        if not somewhere(process, draw, least=0.02):
            break
        struck += 1
        one = initlab(folder, *words)
        said, _ = one.communicate(timeout=_PATIENCE)
        # what is not there yet, or still runs, is told
        if one.returncode not in (0, 1, 2) or "Traceback" in said:
            wrong.append(f"{words[0]} ended with {one.returncode}: {said[-300:]}")
    return max(1, struck), [*wrong, *ended(folder, process)], folder


@row("sync beside a live study", rounds=8)
def sync(bench: Bench, draw: random.Random, name: str) -> tuple[int, list[str]]:
    """What its processes record is theirs."""
    struck, wrong, _ = _beside(bench, draw, name, "sync")
    return struck, wrong


@row("gc beside a live study", rounds=8)
def gc(bench: Bench, draw: random.Random, name: str) -> tuple[int, list[str]]:
    """With all its limits at 0 days."""
    struck, wrong, _ = _beside(bench, draw, name, "gc", *_AT_ONCE)
    return struck, wrong


@row("export beside a live study", rounds=6)
def export(bench: Bench, draw: random.Random, name: str) -> tuple[int, list[str]]:
    """And once more after its end, into the same folder: that is imported, and whole."""
    struck, wrong, folder = _beside(bench, draw, name, "export", f"study={NAME}", "to=out")
    other = bench.folder / f"{name}-other"
    other.mkdir()
    for home, words in ((folder, ("export", f"study={NAME}", "to=out")), (other, ("import", f"from={folder}/out"))):
        one = initlab(home, *words)
        said, _ = one.communicate(timeout=_PATIENCE)
        wrong += [f"{words[0]} ended with {one.returncode}: {said[-300:]}"] if one.returncode else []
    if not wrong:
        there = [r for r in runs(other) if r.info.status == "FINISHED"]
        if len(there) != ARMS * SEEDS + 1:
            wrong.append(f"{len(there)} runs were imported as FINISHED")
    return struck, wrong
