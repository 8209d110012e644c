"""Workers as processes of this machine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from initlab.study.engine import Hire
from initlab.study.plan import Plan


class _Process:
    """A worker in a process of its own."""

    def __init__(self, plan: Plan, number: int) -> None:
        self._log = plan.folder / f"worker-{number}.log"
        threads = max(1, (os.cpu_count() or 1) // max(1, plan.settings.workers))
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), **_gpu(number)}
        paths = [str(Path(p).absolute()) if p else str(Path.cwd()) for p in sys.path]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "initlab.study.worker_main", str(plan.folder), str(number),
                 str(os.getpid())],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=plan.workdir,
                # a session of its own: a Ctrl-C on the terminal is for the leader, which then asks them to end
                start_new_session=True, env={**environment, "PYTHONPATH": os.pathsep.join(paths)},
            )  # fmt: skip

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
def processes(plan: Plan) -> Generator[Hire]:
    """While open, workers can be started."""
    yield lambda number: _Process(plan, number)


def _gpu(number: int) -> dict[str, str]:
    """One GPU a worker, in turn, where there are several and nobody chose."""
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        return {}
    import torch

    count = torch.cuda.device_count()
    return {"CUDA_VISIBLE_DEVICES": str(number % count)} if count > 1 else {}
