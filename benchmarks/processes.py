"""CPU seconds, wall seconds and peak memory of a command with all processes that it starts, also if they outlive it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

#: of Linux: processes whose parent has ended become children of this one, so that their CPU time is seen
_PR_SET_CHILD_SUBREAPER = 36
#: seconds between two looks at the memory
_LOOK = 0.1


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a command took. cpu, wall: seconds. memory: largest sum of the processes' resident sizes, MiB."""

    cpu: float
    wall: float
    memory: float


def cost_of(command: Sequence[str], *, folder: Path, env: Mapping[str, str] | None = None) -> Cost:
    """Run `command` in `folder` and wait for every process of it. Raises RuntimeError where it fails."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    before = _children_cpu()
    start = time.perf_counter()
    with (folder / "output.txt").open("w+", encoding="utf-8") as output:
        process = subprocess.Popen(
            command, cwd=folder, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, **(env or {})}
        )
        look = _Memory()
        code = process.wait()
        wall = time.perf_counter() - start
        _wait_for_orphans()
        memory = look.stop()
        if code != 0:
            output.seek(0)
            raise RuntimeError(f"{' '.join(command)} ended with {code}:\n{output.read()[-3000:]}")
    return Cost(cpu=_children_cpu() - before, wall=wall, memory=memory)


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _wait_for_orphans() -> None:
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)


class _Memory:
    """Looks at the sum of resident sizes of this process's descendants, in a thread of its own."""

    def __init__(self) -> None:
        self._done = threading.Event()
        self._most = 0
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> float:
        self._done.set()
        self._thread.join()
        return self._most / 2**20

    def _watch(self) -> None:
        own = psutil.Process()
        while not self._done.wait(_LOOK):
            now = 0
            for child in own.children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    now += child.memory_info().rss
            self._most = max(self._most, now)
