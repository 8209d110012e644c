"""Typing commands as a person does: a process in a directory, its output, its exit code."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cli.forkserver import Forked, run

SMALL = ("data=digits", "model=mlp", "model.width=32", "trainer.epochs=2", "tracking.report=false")
#: long enough to be interrupted in the middle, with a checkpoint now and then
LONG = (
    "data=digits", "model=mlp", "model.width=16", "trainer.epochs=70", "trainer.checkpoint_every=50",
    "tracking.report=false", "tracking.flush_seconds=0.2",
)  # fmt: skip


def environment(**extra: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "HYDRA_", "INITLAB_", "PYTEST_"))}
    return {**kept, "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1", **extra}


def initlab(*arguments: str, cwd: Path, timeout: float = 120, **extra: str) -> subprocess.CompletedProcess[str]:
    """Run a command line in a process of its own; see `forkserver`. Settings of Python take a new interpreter."""
    if any(name.startswith(("PYTHON", "OMP_")) for name in extra):
        return subprocess.run(
            [sys.executable, "-m", "initlab", *arguments], cwd=cwd, env=environment(**extra), capture_output=True,
            text=True, timeout=timeout, check=False,
        )  # fmt: skip
    return run(arguments, cwd=cwd, env=environment(**extra), timeout=timeout)


@contextmanager
def training(*arguments: str, cwd: Path) -> Iterator[subprocess.Popen[str]]:
    """A training process, killed at the end if it still lives."""
    process = Forked(
        [sys.executable, "-m", "initlab", *arguments], cwd=cwd, env=environment(), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.communicate(timeout=30)


def wait_for(condition: object, *, seconds: float = 60, process: subprocess.Popen[str] | None = None) -> None:
    """Poll until `condition()` holds; fails when the process has ended or the time is up."""
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        if process is not None and process.poll() is not None:
            raise AssertionError(f"the process ended: {process.communicate()}")
        if time.monotonic() > deadline:
            raise AssertionError("it did not happen in time")
        time.sleep(0.02)
