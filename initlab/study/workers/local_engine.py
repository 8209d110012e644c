"""Runs workers as processes of this machine."""

from __future__ import annotations

import socket
from collections.abc import Generator
from contextlib import contextmanager

from initlab.study.space.plan import Plan
from initlab.study.workers.worker import StartWorker
from initlab.study.workers.worker_pool import POOL, threads


class _Process:
    """A worker in a process of its own."""

    def __init__(self, plan: Plan, number: int) -> None:
        self._log = plan.folder / f"worker-{number}.log"
        environment = {"OMP_NUM_THREADS": str(threads(plan.settings.workers))}
        self._process = POOL.take(plan.folder, number, self._log, environment)

    @property
    def known_as(self) -> tuple[int, str]:
        return self._process.pid, socket.gethostname()

    @property
    def log(self) -> str:
        return str(self._log)

    def ended(self) -> str | None:
        code = self._process.poll()
        if code is None or code == 0:
            return None if code is None else ""
        return f"signal {-code}" if code < 0 else f"exit code {code}"

    def ask(self) -> None:
        self._process.terminate()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@contextmanager
def processes(plan: Plan) -> Generator[StartWorker]:
    """Context in which workers can be started."""
    try:
        yield lambda number: _Process(plan, number)
    finally:
        POOL.end_unused()
