"""Process of a firing: runs the command line of the study in its own session, so that Ctrl-C does not stop it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from initlab.core.hidden import HIDDEN
from initlab.core.redact import has_password

#: folder of the processes' logs, below the working directory
LOGS = Path(".initlab") / "schedule"


class Child(Protocol):
    """Interface of a firing's process, as the scheduler uses it."""

    pid: int

    def code(self) -> int | None: ...

    def ask(self) -> None: ...

    def kill(self) -> None: ...


def command(run: Sequence[str], study: str) -> list[str]:
    """The command line. No shell reads it, so an override may contain any character.

    Overrides with a password are left out: everybody can read a command line. `environment` has them.
    """
    return [sys.executable, "-m", "initlab", "-m", *(o for o in run if not has_password(o)), f"study.name={study}"]


def environment(run: Sequence[str]) -> dict[str, str]:
    """The variables of the process, with the overrides that have a password."""
    secret = [o for o in run if has_password(o)]
    return {**os.environ, **({HIDDEN: json.dumps(secret)} if secret else {})}


def log_of(workdir: Path, study: str) -> Path:
    return workdir / LOGS / f"{study}.log"


class Process:
    """The study `study` as a process in `workdir`; its output goes to its log, or, `shown`, to the terminal."""

    def __init__(self, run: Sequence[str], study: str, workdir: Path, *, shown: bool = False) -> None:
        file = log_of(workdir, study)
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("ab") as log:
            self._process = subprocess.Popen(
                command(run, study),
                cwd=workdir,
                env=environment(run),
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                stdout=None if shown else log,
                stderr=None if shown else log,
            )
        self.pid = self._process.pid

    def code(self) -> int | None:
        return self._process.poll()

    def ask(self) -> None:
        """Ask the study to stop: its runs end after the current update, and a restart resumes them."""
        self._process.terminate()

    def kill(self) -> None:
        """Kill the process and its workers, which are in its session."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)


def alive(pid: int, study: str) -> bool:
    """Whether process `pid` of this machine is still the study's, and not a new process with the same number."""
    import psutil

    if pid <= 0:
        return False
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and f"study.name={study}" in process.cmdline()
    except psutil.Error:
        return False


def stop_orphan(pid: int, *, hard: bool) -> None:
    """Ask a study whose scheduler died to end, or kill it (`hard`)."""
    with suppress(ProcessLookupError, PermissionError):
        if hard:
            os.killpg(pid, signal.SIGKILL)
        else:
            os.kill(pid, signal.SIGTERM)
