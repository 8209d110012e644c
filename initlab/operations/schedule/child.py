"""A firing's process: the study's own command line, in a session of its own, so that one Ctrl-C stops no study."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

#: where the processes' output is kept, below the working directory
LOGS = Path(".initlab") / "schedule"


class Child(Protocol):
    """What a scheduler asks of a process."""

    pid: int

    def code(self) -> int | None: ...

    def ask(self) -> None: ...

    def kill(self) -> None: ...


def command(run: Sequence[str], study: str) -> list[str]:
    """What is run. No shell reads it: an override may hold whatever it likes."""
    return [sys.executable, "-m", "initlab", "-m", *run, f"study.name={study}"]


def log_of(workdir: Path, study: str) -> Path:
    return workdir / LOGS / f"{study}.log"


class Process:
    """The study `study` as a process in `workdir`; its output goes to its log, or, `shown`, to the terminal."""

    def __init__(self, run: Sequence[str], study: str, workdir: Path, *, shown: bool = False) -> None:
        file = log_of(workdir, study)
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("ab") as log:
            self._process = subprocess.Popen(
                command(run, study), cwd=workdir, stdin=subprocess.DEVNULL, start_new_session=True,
                stdout=None if shown else log, stderr=None if shown else log,
            )  # fmt: skip
        self.pid = self._process.pid

    def code(self) -> int | None:
        return self._process.poll()

    def ask(self) -> None:
        """The study ends its runs after the update at hand, and goes on where it stopped when it is begun again."""
        self._process.terminate()

    def kill(self) -> None:
        """End it and its workers, which are in its session."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)


def alive(pid: int, study: str) -> bool:
    """Whether the process `pid` of this machine is still the study's, and not another that came to its number."""
    import psutil

    if pid <= 0:
        return False
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and f"study.name={study}" in process.cmdline()
    except psutil.Error:
        return False


def stop_orphan(pid: int, *, hard: bool) -> None:
    """Ask a study whose scheduler died to end, or make it."""
    with suppress(ProcessLookupError, PermissionError):
        if hard:
            os.killpg(pid, signal.SIGKILL)
        else:
            os.kill(pid, signal.SIGTERM)
