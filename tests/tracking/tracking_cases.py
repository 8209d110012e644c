"""What the tests of tracking share: making records, and reading a store row by row with plain SQL."""

from __future__ import annotations

import contextlib
import math
import os
import random
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path

from initlab.spec import Record, RunHeader, TrackingSettings
from initlab.tracking import RunSink
from initlab.tracking.record.start import start
from tests.cli.forkserver import Forked

QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "PYTHONWARNINGS": "ignore",
}


def header(name: str = "run", **changes: object) -> RunHeader:
    given: dict[str, object] = {
        "name": name,
        "experiment": "initlab",
        "params": {"optimizer.lr": 0.1, "model.norm": None, "trainer.compile": False},
        "tags": {"seed": "0"},
        "dataset": None,
        "start_ms": 1_700_000_000_000,
    }
    return RunHeader(**{**given, **changes})  # type: ignore[arg-type]


def record(serial: int, metrics: Mapping[str, float] | None = None, nonfinite: tuple[str, ...] = ()) -> Record:
    return Record(
        serial=serial,
        step=serial,
        epoch=serial / 10,
        time_ms=1_700_000_000_000 + serial,
        metrics={"train/loss": 1 / (serial + 1)} if metrics is None else metrics,
        nonfinite=nonfinite,
    )


def settings(uri: str | None = None, **changes: float) -> TrackingSettings:
    return TrackingSettings(uri=uri, flush_seconds=changes.get("flush", 0.2), drain_seconds=changes.get("drain", 60.0))


def begin(workdir: Path, uri: str | None = None, **changes: float) -> RunSink:
    sink = start(header(), settings(uri, **changes), workdir=workdir, files={"config.yaml": "seed: 0\n"})
    assert isinstance(sink, RunSink)
    return sink


def rows(database: Path, query: str, *values: object) -> list[tuple[object, ...]]:
    with contextlib.closing(sqlite3.connect(database, timeout=30)) as connection:
        return connection.execute(query, values).fetchall()


def metrics(database: Path, run_id: str, key: str = "train/loss") -> list[tuple[object, ...]]:
    """(step, value) of every row, so that a point stored twice shows twice."""
    return rows(database, "SELECT step, value FROM metrics WHERE run_uuid = ? AND key = ? ORDER BY step", run_id, key)


def tags(database: Path, run_id: str) -> dict[object, object]:
    return dict(rows(database, "SELECT key, value FROM tags WHERE run_uuid = ?", run_id))


def status(database: Path, run_id: str) -> object:
    return rows(database, "SELECT status FROM runs WHERE run_uuid = ?", run_id)[0][0]


def runs(database: Path) -> list[object]:
    return [row[0] for row in rows(database, "SELECT run_uuid FROM runs")]


def expected(count: int) -> list[tuple[int, float]]:
    return [(serial, 1 / (serial + 1)) for serial in range(count)]


def any_floats(count: int = 300) -> list[float]:
    """The edges of what a float can be, and bit patterns drawn at random; all finite."""
    edges = [
        0.0,
        5e-324,
        sys.float_info.min,
        sys.float_info.max,
        -sys.float_info.max,
        sys.float_info.epsilon,
        0.1,
        1e16,
    ]
    draw = random.Random(0)
    drawn = (struct.unpack("<d", draw.randbytes(8))[0] for _ in range(count))
    return edges + [value for value in drawn if math.isfinite(value)]


def eventually(condition: Callable[[], bool], *, within: float = 60.0) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "did not come true in time"
        time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A real `mlflow server` on a loopback port, with a SQLite store of its own in `home`, or the one at `backend`."""

    def __init__(self, home: Path, *, backend: str = "") -> None:
        self.home = home
        self.backend = backend
        self.port = free_port()
        self._process: subprocess.Popen[str] | None = None

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def database(self) -> Path:
        return self.home / "mlflow.db"

    def start(self) -> None:
        address = ["--host", "127.0.0.1", "--port", str(self.port)]
        command = [sys.executable, "-m", "mlflow", "server", *address, "--workers", "1"]
        command += ["--backend-store-uri", self.backend] if self.backend else []
        with (self.home / "server.log").open("ab") as log:
            self._process = Forked(
                command, cwd=self.home, env={**os.environ, **QUIET}, stdout=log, stderr=log, start_new_session=True
            )
        eventually(self._healthy, within=90)

    def _healthy(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.home / "server.log").read_text()
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False

    def kill(self) -> None:
        """End the server and its workers, which share its session, at once."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(20)
            self._process = None


class Gate:
    """A port in front of a server that opens and shuts: the same address, dead or alive, as a network shows it.

    Each request waits `delay` seconds on its way.
    """

    def __init__(self, target: int, *, delay: float = 0.0) -> None:
        self.port = free_port()
        self.delay = delay
        self._target = target
        self._listener: socket.socket | None = None
        self._pipes: list[socket.socket] = []

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def open(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                inner, _ = listener.accept()
            except OSError:
                return
            outer = socket.create_connection(("127.0.0.1", self._target))
            self._pipes += [inner, outer]
            for source, sink, asks in ((inner, outer, True), (outer, inner, False)):
                threading.Thread(target=self._pump, args=(source, sink, asks), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, asks: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if asks and data.startswith((b"GET ", b"POST ", b"PUT ", b"PATCH ", b"DELETE ", b"HEAD ")):
                    time.sleep(self.delay)
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def shut(self) -> None:
        if self._listener is not None:
            # wakes the thread that waits in accept
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        for pipe in self._pipes:
            with contextlib.suppress(OSError):
                pipe.shutdown(socket.SHUT_RDWR)
            pipe.close()
        self._pipes = []
