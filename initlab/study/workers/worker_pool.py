"""Pool of worker processes that start before the study is known, since their imports take seconds.

The imports of the leader and those of its workers run in parallel if the workers start at once. A worker that is not
needed ends when the leader closes its pipe.

Nothing in here imports torch, or anything that does.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import subprocess
import sys
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

#: seconds to wait for an answer: imports may be slow on a slow disk
_PATIENCE = 60.0


class WorkerPool:
    """Worker processes that wait for their first input line."""

    def __init__(self) -> None:
        self._waiting: deque[subprocess.Popen[bytes]] = deque()
        atexit.register(self.end_unused)

    def ensure(self, count: int, *, threads: int) -> None:
        """Start workers until `count` are waiting, each with `threads` CPU threads."""
        self._waiting.extend(_start(threads) for _ in range(count - len(self._waiting)))

    def take(self, folder: Path, number: int, log: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Worker `number` of the study in `folder`: a waiting one, or a new one. Its output goes to `log`."""
        word = {"folder": str(folder), "number": number, "log": str(log), "environment": dict(environment)}
        line = json.dumps(word).encode() + b"\n"
        while self._waiting:
            if _send_line(process := self._waiting.popleft(), line):
                return process
        process = _start(int(environment["OMP_NUM_THREADS"]))
        _send_line(process, line)
        return process

    def ask(self, question: Mapping[str, Any]) -> Any:
        """The answer of a waiting worker, None where there is none or it does not answer."""
        if not self._waiting:
            return None
        process = self._waiting[0]
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(json.dumps(question).encode() + b"\n")
            process.stdin.flush()
            if not select.select([process.stdout], [], [], _PATIENCE)[0]:
                return None
            return json.loads(process.stdout.readline())
        except (OSError, TypeError, ValueError):  # it ended, or the question cannot be serialised
            return None

    def end_unused(self) -> None:
        """End the workers that were not needed."""
        while self._waiting:
            process = self._waiting.popleft()
            process.kill()  # it has done nothing yet
            process.wait()
            _close(process)


def threads(workers: int) -> int:
    """CPU threads of a worker among `workers`: what OMP_NUM_THREADS says, else an equal share of the machine."""
    said = os.environ.get("OMP_NUM_THREADS", "")
    return int(said) if said.isdecimal() and int(said) > 0 else max(1, (os.cpu_count() or 1) // max(1, workers))


def _start(count: int) -> subprocess.Popen[bytes]:
    paths = [str(Path(p).absolute()) if p else str(Path.cwd()) for p in sys.path]
    environment = {**os.environ, "OMP_NUM_THREADS": str(count), "PYTHONPATH": os.pathsep.join(paths)}
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "initlab.study.workers.worker_main", "--wait", str(os.getpid())],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        # a session of its own: Ctrl-C on the terminal reaches the leader, which then asks its workers to end
        start_new_session=True, env=environment,
    )  # fmt: skip


def _send_line(process: subprocess.Popen[bytes], line: bytes) -> bool:
    assert process.stdin is not None
    try:
        process.stdin.write(line)
        process.stdin.flush()
    except OSError:  # it ended already
        process.wait()
        return False
    finally:
        _close(process)
    return process.poll() is None


def _close(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()


#: the pool of this process; empty except in the leader of a study
POOL = WorkerPool()
