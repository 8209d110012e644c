"""A scheduler process whose clock begins at another time and runs faster.

    python -m tests.operations.schedule.turned_clock FOLDER START FACTOR OFFSET short|study [STORAGE]

START is the time (ISO) at the Unix time that the file OFFSET holds, which is waited for; from then on a second is
FACTOR seconds. Everything else is what `initlab schedule` uses: the schedules of FOLDER, their database, and a process
for each firing, which is its study or one that ends after a quarter of a second. Whether a scheduler is dead is told by
its process alone: signs of life are seconds apart, which are milliseconds here. It ends at SIGTERM.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import psutil

from initlab.operations.schedule.child import Process, log_of
from initlab.operations.schedule.files import read_schedules
from initlab.operations.schedule.ledger import opened
from initlab.operations.schedule.scheduler import Scheduler


class Short(Process):
    """A process that says that it was begun, and ends."""

    def __init__(self, study: str, workdir: Path) -> None:
        file = log_of(workdir, study)
        file.parent.mkdir(parents=True, exist_ok=True)
        code = "import time; print('begun', flush=True); time.sleep(0.25)"
        with file.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-S", "-c", code, f"study.name={study}"], cwd=workdir, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self.pid = self._process.pid


def main(folder: Path, kind: str, now: Callable[[], datetime], storage: str | None) -> None:
    """Tick until SIGTERM, then end what was begun."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())

    workdir = Path.cwd()
    with opened(storage, workdir) as ledger:
        scheduler = Scheduler(
            read_schedules(folder), ledger,
            launch=lambda s, f: Short(f.study, workdir) if kind == "short" else Process(s.run, f.study, workdir),
            ended=lambda _s, f: print(f"ended {f.study} {f.state}", flush=True),
            say=lambda line: print(line, flush=True),
            dead=lambda f, _: not psutil.pid_exists(int(f.owner.split(":")[1])),
        )  # fmt: skip
        print("ready", flush=True)
        while not stop.is_set():
            scheduler.tick(now())
            stop.wait(0.1)
        while not scheduler.drain(now()):
            time.sleep(0.1)


def clock(start: datetime, factor: float, file: Path) -> datetime:
    """The time that it is now."""
    while not file.exists():
        time.sleep(0.02)
    return start + timedelta(seconds=(time.time() - float(file.read_text())) * factor)


if __name__ == "__main__":
    _START, _FACTOR, _OFFSET = datetime.fromisoformat(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4])
    main(
        Path(sys.argv[1]), sys.argv[5], lambda: clock(_START, _FACTOR, _OFFSET),
        sys.argv[6] if len(sys.argv) > 6 else None,
    )  # fmt: skip
