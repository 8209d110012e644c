"""Workers that train cohorts, several runs in one process: killed, and the study's leader too."""

from __future__ import annotations

import random

from tests.reliability.rounds import Bench
from tests.reliability.rows import row
from tests.reliability.studies import COHORT, ended, leader, somewhere, workers

_ON = (f"study.cohort={COHORT}", "study.workers=2")


@row("worker with a cohort killed", rounds=14)
def worker(bench: Bench, draw: random.Random, name: str) -> tuple[int, list[str]]:
    """kill -9 of a worker; its arms are trained by others."""
    folder = bench.folder / name
    process = leader(folder, *_ON)
    if somewhere(process, draw) and (found := workers(process)):
        draw.choice(found).kill()
    return 1, ended(folder, process, *_ON)


@row("leader and workers with cohorts killed", rounds=10)
def all_of_them(bench: Bench, draw: random.Random, name: str) -> tuple[int, list[str]]:
    """kill -9 of the leader, and of its workers at once; then the same command again."""
    folder = bench.folder / name
    process = leader(folder, *_ON)
    if somewhere(process, draw):
        found = workers(process)
        process.kill()
        for one in found if draw.random() < 0.5 else ():
            one.kill()
    return 1, ended(folder, process, *_ON)


@row("study with cohorts ended by SIGTERM", rounds=8)
def terminated(bench: Bench, draw: random.Random, name: str) -> tuple[int, list[str]]:
    """SIGTERM to the leader; then the same command again."""
    folder = bench.folder / name
    process = leader(folder, *_ON)
    if somewhere(process, draw):
        process.terminate()
    return 1, ended(folder, process, *_ON)
