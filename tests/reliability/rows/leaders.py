"""Several leaders of one new study, started at once; and holders of its locks that stand still."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time

from tests.reliability.rounds import Bench
from tests.reliability.rows import row
from tests.reliability.studies import ended, leader


def _at_once(bench: Bench, draw: random.Random, name: str, count: int) -> tuple[int, list[str]]:
    folder = bench.folder / name
    started = []
    for _ in range(count):
        started.append(leader(folder))
        time.sleep(draw.choice((0.0, 0.0, draw.uniform(0.0, 1.0))))
    if draw.random() < 0.3:
        time.sleep(draw.uniform(0.0, 6.0))
        started[0].kill()
    codes = [one.wait(280) for one in started]
    wrong = [f"exit codes {codes}"] if any(c not in (0, -signal.SIGKILL) for c in codes) else []
    return 1, [*wrong, *ended(folder, None)]


@row("2 leaders started at once", rounds=8)
def two(bench: Bench, draw: random.Random, name: str) -> tuple[int, list[str]]:
    """The first one is killed three times in ten."""
    return _at_once(bench, draw, name, 2)


@row("4 leaders started at once", rounds=6)
def four(bench: Bench, draw: random.Random, name: str) -> tuple[int, list[str]]:
    """The first one is killed three times in ten."""
    return _at_once(bench, draw, name, 4)


@row("8 leaders started at once", rounds=3)
def eight(bench: Bench, draw: random.Random, name: str) -> tuple[int, list[str]]:
    """The first one is killed three times in ten."""
    return _at_once(bench, draw, name, 8)


@row("holder of a lock stopped", rounds=8)
def stopped(bench: Bench, draw: random.Random, name: str) -> tuple[int, list[str]]:
    """SIGSTOP to one of two leaders, with whatever lock it holds; it goes on when the other has ended."""
    folder = bench.folder / name
    first, second = leader(folder), leader(folder)
    time.sleep(draw.uniform(0.0, 6.0))
    with contextlib.suppress(ProcessLookupError):
        os.kill(first.pid, signal.SIGSTOP)
    try:
        code = second.wait(280)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(first.pid, signal.SIGCONT)
    codes = [code, first.wait(280)]
    return 1, [*([f"exit codes {codes}"] if any(codes) else []), *ended(folder, None)]
