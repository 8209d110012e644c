"""Sink of a run: what the training loop writes records to. Appends to the spool, which a helper process drains."""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from filelock import FileLock

from initlab.errors import StoreError
from initlab.spec import Record, RunStatus, TrackingSettings
from initlab.tracking.deliver.sender import METRICS_PER_BATCH
from initlab.tracking.record.writer import Writer
from initlab.tracking.spool import spool
from initlab.tracking.spool.spool import Appender, Json, SpoolHeader
from initlab.tracking.store.links import run_page, served_at
from initlab.tracking.store.location import describe_location

# released when the disk is full, so that the end of the run can still be recorded
RESERVE = 16_384
_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


class RunSink:
    """Records one run (a `spec.Sink`). Created by `start` or `reopen`; used by one thread of one process.

    Attributes:
        uid: the run's own id, known at once and carried as tag ``initlab.uid``.
        uri: the store, resolved.
        folder: the spool folder.
        drain_seconds: how long the end of the run waits for the store.
    """

    def __init__(
        self,
        folder: Path,
        header: SpoolHeader,
        *,
        lock: FileLock,
        uri: str,
        settings: TrackingSettings,
        workdir: Path,
        skip: int = 0,
    ) -> None:
        self.uid = header.uid
        self.uri = uri
        self.folder = folder
        self._workdir = workdir
        self._offline = settings.offline
        self.drain_seconds = settings.drain_seconds
        self._keep_checkpoints = header.keep_checkpoints
        self._skip = skip
        self._pid = os.getpid()
        self._pending = 0
        self._sentence: str | None = None
        self._unnoted = ""
        self._records = Appender(folder / spool.RECORDS)
        self._events = Appender(folder / spool.EVENTS)
        self._numbers = len(spool.read_events(folder))
        self._reserve = folder / ".reserve.part"
        self._reserve.write_bytes(b"\0" * RESERVE)
        self._writer = Writer(folder, header, lock=lock, uri=uri, workdir=workdir, flush_seconds=settings.flush_seconds)

    def begin(self, *, fresh: bool = False) -> None:
        """Start delivering the records; offline they stay in the spool. `fresh`: nothing was sent before."""
        if not self._offline:
            self._writer.start(fresh=fresh)

    def note_resume(self) -> None:
        """Record that the run is resumed; called before `begin`."""
        self._append_event({"kind": "reopen", "time_ms": int(time.time() * 1000)})

    def discard(self) -> None:
        """Delete everything of a run that could not begin."""
        self._sentence = ""
        self._records.close()
        self._events.close()
        self._writer.discard()

    @property
    def run_id(self) -> str:
        """The MLflow run id once it is known, else the uid."""
        return self._writer.run_id or self.uid

    @property
    def checkpoint_dir(self) -> Path:
        """Where the trainer writes checkpoints (as `NAME.tmp`, then `os.replace`)."""
        place = self.folder / spool.CHECKPOINTS
        place.mkdir(exist_ok=True)
        return place

    def wait_id(self, timeout: float) -> str:
        """Wait at most `timeout` seconds for the run id and return it."""
        self._writer.known.wait(timeout)
        return self.run_id

    def location(self) -> str:
        """Address of this run in MLflow's UI; empty where no server shows the store, or the run has not arrived."""
        base, known = served_at(self.uri, self._workdir), self._writer
        if not base or not known.run_id or not known.experiment_id:
            return ""
        return run_page(base, known.experiment_id, known.run_id)

    def write(self, record: Record) -> None:
        """Append `record` to the spool. Raises StoreError where the disk is full; earlier records stay."""
        if record.serial < self._skip:
            return
        metrics = {key: float(value) for key, value in record.metrics.items() if math.isfinite(value)}
        line: Json = {
            "serial": record.serial,
            "step": record.step,
            "epoch": record.epoch if math.isfinite(record.epoch) else 0.0,
            "time_ms": record.time_ms,
            "metrics": metrics,
        }
        nonfinite = record.nonfinite
        if len(metrics) != len(record.metrics):
            nonfinite = (*nonfinite, *(key for key in record.metrics if key not in metrics and key not in nonfinite))
        if nonfinite:
            line["nonfinite"] = nonfinite
        self._append(self._records, line)
        self._pending += len(metrics)
        if self._pending >= METRICS_PER_BATCH:
            self._pending = 0
            self._writer.wake()

    def tag(self, tags: Mapping[str, str]) -> None:
        """Set tags of the run; `mlflow.note.content` is its readable summary. Raises StoreError as `write` does."""
        self._append_event({"kind": "tags", "tags": dict(tags)})

    def artifact(self, path: Path, folder: str = "", *, move: bool = False) -> None:
        """Store the file `path` under `folder` of the run's artifacts; it is copied into the spool, or moved.

        Raises StoreError where the file cannot be read or the spool cannot hold it.
        """
        self.made(path.name, lambda target: self._place_file(path, target, move=move), folder)

    def text(self, name: str, text: str, folder: str = "") -> None:
        """Store `text` as artifact `folder/name`. Raises StoreError as `write` does."""
        self.made(name, lambda target: target.write_text(text, encoding="utf-8"), folder)

    def close(self, status: RunStatus, *, checkpoints: bool | None = None) -> str:
        """End the run as `status` and drain the spool, for at most `drain_seconds`.

        Uploads the checkpoints as chosen at the start of the run, or as `checkpoints` says. Returns "" where everything
        arrived (the spool is deleted then), else a sentence for the user: what waits, where, why, and how to send it.
        """
        if self._sentence is None:
            self.begin_close(status, checkpoints=checkpoints)
            self.wait_closed(self.drain_seconds)
        return self._sentence or ""

    def begin_close(self, status: RunStatus, *, checkpoints: bool | None = None) -> None:
        """Begin to close, without waiting until everything arrived: call `wait_closed` for that, once, later."""
        self._check_process()
        self._reserve.unlink(missing_ok=True)
        keep = self._keep_checkpoints if checkpoints is None else checkpoints
        try:
            self._append_event(
                {"kind": "status", "status": status, "time_ms": int(time.time() * 1000), "checkpoints": keep}
            )
            unnoted = ""
        except StoreError as error:
            unnoted = str(error)
        self._records.close()
        self._events.close()
        self._unnoted = unnoted
        self._sentence = ""  # closed: no more records are accepted
        self._writer.begin_close(self.drain_seconds)

    @property
    def is_closed(self) -> bool:
        """Whether delivery has ended after `begin_close`, so that `wait_closed` returns at once."""
        return self._writer.is_closed

    def wait_closed(self, seconds: float) -> str:
        """Wait at most `seconds` for the end of `begin_close`; returns the sentence of `close`."""
        self._writer.wait_closed(seconds)
        self._sentence = self._undelivered_message(self._unnoted)
        return self._sentence

    def _undelivered_message(self, unnoted: str) -> str:
        if self._writer.done:
            count = self._writer.rejected
            if not count:
                return ""
            place = self._shown(spool.rejected_file(self.folder))
            return f"tracking: {describe_location(self.uri)} refused {_count(count, 'value')}; they are in {place}"
        records, artifacts = self._writer.waiting()
        late = "offline" if self._offline else f"{describe_location(self.uri)} took too long"
        reason = unnoted or self._writer.fault or late
        what = f"{_count(records, 'record')} and {_count(artifacts, 'artifact')} wait"
        if not records and not artifacts:
            what = "the end of the run waits"
        return f"tracking: {reason}; {what} in {self._shown(self.folder)}; python -m initlab sync sends them"

    def _shown(self, path: Path) -> str:
        here = Path.cwd()
        return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)

    def made(self, name: str, make: Callable[[Path], object], folder: str = "") -> None:
        """Call `make` with a path and store the file that it writes there as artifact `folder/name`.

        Raises StoreError as `write` does.
        """
        self._check_process()
        # one folder for all artifacts with distinct names: creating a folder costs as much as several files
        target = self.folder / spool.ARTIFACTS / "0" / name
        if target.exists():
            target = self.folder / spool.ARTIFACTS / str(self._numbers) / name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            make(target)
        except OSError as error:
            with suppress(OSError):
                target.unlink(missing_ok=True)
            raise StoreError(f"{name}: cannot be stored with the run ({error.strerror or error})") from error
        self._append_event({"kind": "artifact", "path": target.relative_to(self.folder).as_posix(), "folder": folder})

    @staticmethod
    def _place_file(path: Path, target: Path, *, move: bool) -> None:
        if move:
            shutil.move(path, target)
        else:
            shutil.copyfile(path, target)

    def _append_event(self, event: Json) -> None:
        self._append(self._events, event)
        self._numbers += 1
        if event["kind"] != "tags":
            self._writer.wake()

    def _append(self, file: Appender, value: Json) -> None:
        self._check_process()
        if self._sentence is not None:
            raise StoreError(f"run {self.run_id} is closed")
        try:
            file.append(_encode(value).encode() + b"\n")
        except OSError as error:
            raise StoreError(
                f"{self._shown(self.folder)}: {error.strerror or error}; what was written so far is safe there"
            ) from error

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise StoreError("a run is recorded by the process that started it, not by a child of it")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
