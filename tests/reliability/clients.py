"""Recording clients as processes, and what each of them said before it was struck."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.tracking.tracking_cases import QUIET

ROOT = Path(__file__).resolve().parents[2]
RECORDS, RATE = 400, 160.0
#: seconds that a client has for its start, its records and its end
PATIENCE = 150.0


@dataclass
class Client:
    """A recording process, and what it said so far."""

    workdir: Path
    process: subprocess.Popen[bytes]
    uid: str = ""
    acknowledged: int = 0
    failed: bool = False
    closed: bool = False
    refused: str = ""
    _reader: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                word, _, rest = line.decode().rstrip("\n").partition(" ")
                if word.isdecimal():
                    self.acknowledged = int(word) + 1
                self.uid = rest if word == "uid" else self.uid
                self.refused = rest if word == "refused" else self.refused
                self.failed |= word == "failed"
                self.closed |= word == "closed"

    def until(self, condition: Callable[[Client], bool]) -> None:
        """Wait until it holds, or the process ended."""
        deadline = time.monotonic() + PATIENCE
        while not condition(self) and self.process.poll() is None:
            assert time.monotonic() < deadline, f"{self.workdir}: nothing happens"
            time.sleep(0.005)

    def end(self) -> None:
        self.process.wait(PATIENCE)
        self._reader.join(10)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.end()

    def helper(self) -> psutil.Process | None:
        with contextlib.suppress(psutil.Error):
            for child in psutil.Process(self.process.pid).children():
                if any("helper_main" in part for part in child.cmdline()):
                    return child
        return None


def client(workdir: Path, uri: str, *, records: int = RECORDS, rate: float = RATE) -> Client:
    """Start one; its folder is made."""
    workdir.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.reliability.client", str(workdir), uri, str(records), str(rate)],
        cwd=ROOT, env={**os.environ, **QUIET, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    return Client(workdir, process)
