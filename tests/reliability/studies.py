"""Whole studies for the fault table: starting one, ending it by the same command, and what must hold then."""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
import time
from pathlib import Path

import psutil

from tests.cli.driver import environment
from tests.cli.forkserver import Forked
from tests.study.study_cases import TINY, broken, runs, the_study

ARMS, SEEDS = 3, 2
NAME = "shared"
GRID = ("-m", *TINY, "trainer.epochs=12", "init=he,xavier,lecun", f"replicas={SEEDS}", f"study.name={NAME}")
#: arms of a cohort, and seconds that such a study takes here, roughly: strikes are drawn among them
COHORT, SECONDS = 2, 9.0
_AGAIN, _PATIENCE = 4, 280.0


def leader(folder: Path, *more: str) -> subprocess.Popen[str]:
    """The command of the study as a process; its output goes to a file in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"out-{time.monotonic_ns()}").open("w") as out:
        return Forked(
            [sys.executable, "-m", "initlab", *GRID, *more], cwd=folder, env=environment(), text=True, stdout=out,
            stderr=subprocess.STDOUT,
        )  # fmt: skip


def initlab(folder: Path, *words: str) -> subprocess.Popen[str]:
    """Another command as a process; its output is a pipe."""
    return Forked(
        [sys.executable, "-m", "initlab", *words], cwd=folder, env=environment(), text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )  # fmt: skip


def workers(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The live workers of a leader."""
    with contextlib.suppress(psutil.Error):
        found = psutil.Process(process.pid).children(recursive=True)
        return [p for p in found if _is_worker(p)]
    return []


def _is_worker(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return "initlab.study.workers.worker_main" in process.cmdline()
    return False


def somewhere(process: subprocess.Popen[str], draw: random.Random, *, least: float = 0.1) -> bool:
    """Wait until a random moment of the study; whether it still goes on then."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(SECONDS * draw.uniform(least, 1.0))
    return process.poll() is None


def ended(folder: Path, process: subprocess.Popen[str] | None, *more: str) -> list[str]:
    """Wait for the end of `process`, give the command again until it ends well; what does not hold then."""
    codes: list[int] = []
    while not codes or codes[-1] != 0:
        if len(codes) > _AGAIN:
            return [f"exit codes {codes}: {_last_words(folder)}"]
        process = process or leader(folder, *more)
        try:
            codes.append(process.wait(_PATIENCE))
        except subprocess.TimeoutExpired:
            process.kill()
            return [f"a leader did not end within {_PATIENCE:.0f} s: {_last_words(folder)}"]
        process = None
    sync = initlab(folder, "sync")
    said, _ = sync.communicate(timeout=_PATIENCE)
    wrong = [] if sync.returncode == 0 else [f"sync: {said[-300:]}"]
    # by name: a `gc` that came after the end may have taken the folder
    study = the_study(folder, name=NAME)
    return [*wrong, *broken(study, runs(folder), arms=ARMS, seeds=SEEDS), *_tracebacks(folder)]


def _last_words(folder: Path) -> str:
    newest = max(folder.glob("out-*"), key=lambda p: p.stat().st_mtime)
    return " ".join(newest.read_text(errors="replace").split())[-300:]


def _tracebacks(folder: Path) -> list[str]:
    return [f"{p.name} holds a traceback" for p in folder.glob("out-*") if "Traceback" in p.read_text(errors="replace")]
