"""Studies that are moved or copied in the middle."""

from __future__ import annotations

import contextlib
import random
import shutil
import subprocess
from pathlib import Path

import psutil

from tests.reliability.rounds import Bench
from tests.reliability.rows import row
from tests.reliability.studies import ended, leader, somewhere, workers


@row("study killed, moved, gone on with", rounds=8)
def moved(bench: Bench, draw: random.Random, name: str) -> tuple[int, list[str]]:
    """To another folder, or out of the store's path by a link that its old name becomes."""
    there = _killed(bench.folder / name / "here", draw)
    target = there.with_name("there")
    if draw.random() < 0.5:
        there.rename(target)
    else:
        shutil.copytree(there, target, symlinks=True)
        shutil.rmtree(there)
    wrong = ended(target, None)
    return 1, [*wrong, *(["something was made in its old place"] if there.exists() else [])]


@row("study killed, copied, both gone on with", rounds=8)
def copied(bench: Bench, draw: random.Random, name: str) -> tuple[int, list[str]]:
    """At the same time, each in its place and its store."""
    here = _killed(bench.folder / name / "here", draw)
    there = here.with_name("there")
    shutil.copytree(here, there, symlinks=True)
    both = [leader(here), leader(there)]
    wrong = [f"{p.name}: {w}" for p, one in zip((here, there), both, strict=True) for w in ended(p, one)]
    return 1, wrong


def _killed(folder: Path, draw: random.Random) -> Path:
    """A study whose processes were killed somewhere in its life."""
    process = leader(folder)
    somewhere(process, draw, least=0.3)
    found = workers(process)
    with contextlib.suppress(psutil.Error):
        found += psutil.Process(process.pid).children(recursive=True)
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    for one in found:
        with contextlib.suppress(psutil.Error):
            one.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(60)
    psutil.wait_procs(found, timeout=30)
    return folder
