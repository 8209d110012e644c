"""Sink of somebody else's run: sends records to the MLflow run that is active, and leaves its end to its owner.

Sending happens in a thread of its own; a server that is away costs the training nothing, and what could not be sent is
counted and said at the end.
"""

from __future__ import annotations

import queue
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from initlab.spec import Record, RunStatus
from initlab.tracking.spool.metric_keys import digits_of, stored_key

_BATCH = 500


def active_sink() -> ActiveRunSink | None:
    """A sink for the MLflow run that is active in this process, None where there is none (or no MLflow in use)."""
    if "mlflow" not in sys.modules:  # who has an active run has imported it
        return None
    import mlflow

    active = mlflow.active_run()
    return None if active is None else ActiveRunSink(active.info.run_id, mlflow.get_tracking_uri())


class ActiveRunSink:
    """Records into a run that somebody else opened.

    Attributes:
        layers: names of the parameters whose statistics are metrics.
    """

    folder: Path | None = None
    checkpoint_dir: Path | None = None

    def __init__(self, run_id: str, uri: str) -> None:
        from mlflow.tracking import MlflowClient

        self.run_id = self.uid = run_id
        self.uri = uri
        self.layers: frozenset[str] = frozenset()
        self._client = MlflowClient(uri)
        self._waiting: queue.Queue[Callable[[], Any] | None] = queue.Queue()
        self._failed = ""
        self._lost = 0
        self._scratch = Path(tempfile.mkdtemp(prefix="initlab-watch-"))
        self._thread = threading.Thread(target=self._send_all, name="initlab-watch", daemon=True)
        self._thread.start()

    def wait_id(self, timeout: float) -> str:
        del timeout
        return self.run_id

    def location(self) -> str:
        return self.uri

    def write(self, record: Record) -> None:
        """Send the metrics of `record`."""
        from mlflow.entities import Metric

        digits = digits_of(self.layers)
        found = [
            Metric(stored_key(k, self.layers, digits), float(v), record.time_ms, record.step)
            for k, v in record.metrics.items()
        ]
        for begin in range(0, len(found), _BATCH):
            part = found[begin : begin + _BATCH]
            self._waiting.put(lambda part=part: self._client.log_batch(self.run_id, metrics=part))

    def tag(self, tags: Mapping[str, str]) -> None:
        """Set tags of the run."""
        for key, value in tags.items():
            self._waiting.put(lambda key=key, value=value: self._client.set_tag(self.run_id, key, value))

    def artifact(self, path: Path, folder: str = "", *, move: bool = False) -> None:
        """Store a copy of the file `path`."""
        target = self._scratch / f"{time.time_ns()}" / path.name
        target.parent.mkdir()
        shutil.copyfile(path, target)
        if move:
            path.unlink()
        self._waiting.put(lambda: self._client.log_artifact(self.run_id, str(target), folder or None))

    def text(self, name: str, text: str, folder: str = "") -> None:
        """Store `text` as the file `name`."""
        self.made(name, lambda target: target.write_text(text, encoding="utf-8"), folder)

    def made(self, name: str, make: Callable[[Path], object], folder: str = "") -> None:
        """Store the file that `make` writes."""
        target = self._scratch / f"{time.time_ns()}" / name
        target.parent.mkdir()
        make(target)
        self._waiting.put(lambda: self._client.log_artifact(self.run_id, str(target), folder or None))

    def close(self, status: RunStatus, *, checkpoints: bool | None = None) -> str:
        """Wait until everything is sent; the run itself stays open. Returns what could not be sent, in a sentence."""
        del checkpoints
        self.tag({"initlab.status": str(status)})
        self._waiting.put(None)
        self._thread.join(timeout=60)
        shutil.rmtree(self._scratch, ignore_errors=True)
        if self._thread.is_alive():
            return f"run {self.run_id}: the store does not answer; some records of initlab.watch were not sent"
        return (
            f"run {self.run_id}: {self._lost} records of initlab.watch were not sent: {self._failed}"
            if self._lost
            else ""
        )

    def _send_all(self) -> None:
        while (send := self._waiting.get()) is not None:
            try:
                send()
            except Exception as error:  # whatever the store says, training goes on
                self._lost += 1
                self._failed = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
