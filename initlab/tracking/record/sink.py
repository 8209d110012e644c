"""Sink of a run: what the training loop writes records to. Appends to the spool, which a helper process drains."""

from __future__ import annotations

import json
import logging
import math
import os
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from filelock import FileLock

from initlab.core.text import storable
from initlab.errors import StoreError
from initlab.spec import Record, RunStatus, TrackingSettings
from initlab.tracking.deliver.sender import METRICS_PER_BATCH
from initlab.tracking.record.undelivered import count, shown, undelivered
from initlab.tracking.record.writer import Writer
from initlab.tracking.spool import spool
from initlab.tracking.spool.appender import Appender
from initlab.tracking.spool.durable import SpoolSync
from initlab.tracking.spool.spool import Json, SpoolHeader
from initlab.tracking.store.links import run_page, served_at

# released when the disk is full, so that the end of the run can still be recorded
RESERVE = 16_384
_log = logging.getLogger("initlab.tracking")
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
        self._header = header
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
        self._config = ""
        self._lost = ""
        self._durable = SpoolSync(folder)
        self._writer = Writer(folder, header, lock=lock, uri=uri, workdir=workdir, flush_seconds=settings.flush_seconds)

    def begin(self, *, fresh: bool = False) -> None:
        """Start delivering the records; offline they stay in the spool. `fresh`: nothing was sent before."""
        self._durable.begin()
        if not self._offline:
            self._writer.start(fresh=fresh)

    def note_resume(self) -> None:
        """Record that the run is resumed; called before `begin`."""
        self._append_event({"kind": "reopen", "time_ms": int(time.time() * 1000)})

    def leave(self) -> None:
        """Close a reopened run of which nothing was recorded: its spool stays as it was; a fetched one goes."""
        self._sentence = ""
        self._records.close()
        self._events.close()
        self._reserve.unlink(missing_ok=True)
        if self._header.adopted and not self._numbers:
            self._writer.discard()
        self._writer.wait_closed(0)

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
        place.mkdir(parents=True, exist_ok=True)
        return place

    def sync(self) -> None:
        """Wait until all that was recorded so far is on the disk. May be called by another thread."""
        self._durable.sync()

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
        self._append(spool.RECORDS, line)
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
        place = shutil.move if move else shutil.copyfile
        self.made(path.name, lambda target: place(path, target), folder)

    def text(self, name: str, text: str, folder: str = "") -> None:
        """Store `text` as artifact `folder/name`. Raises StoreError as `write` does."""
        self.made(name, lambda target: target.write_text(storable(text), encoding="utf-8"), folder)

    def replace_config(self, text: str) -> None:
        """Make `text` the configuration of the run, in its artifacts and for who resumes it. Raises StoreError."""
        self._config = text
        self.text(spool.CONFIG, text)
        try:
            spool.write_atomic(self.folder / spool.CONFIG, storable(text))
        except OSError as error:
            raise StoreError(f"{shown(self.folder)}: {error.strerror or error}") from error

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
        self._durable.look()
        self._restore_vanished()
        with suppress(OSError):
            self._reserve.unlink(missing_ok=True)
        keep = self._header.keep_checkpoints if checkpoints is None else checkpoints
        try:
            self._append_event(
                {"kind": "status", "status": status, "time_ms": int(time.time() * 1000), "checkpoints": keep}
            )
            unnoted = ""
        except StoreError as error:
            unnoted = str(error)
        self._durable.close()
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
        self._sentence = undelivered(
            self.folder, self._writer, uri=self.uri, offline=self._offline, lost=self._lost, unnoted=self._unnoted
        )
        return self._sentence

    def made(self, name: str, make: Callable[[Path], object], folder: str = "") -> None:
        """Call `make` with a path and store the file that it writes there as artifact `folder/name`.

        Raises StoreError as `write` does.
        """
        self._check_process()
        self._restore_vanished()
        name, folder = storable(name), storable(folder)
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
        self._durable.made(target)
        self._append_event({"kind": "artifact", "path": target.relative_to(self.folder).as_posix(), "folder": folder})

    def _append_event(self, event: Json) -> None:
        self._append(spool.EVENTS, event)
        self._numbers += 1
        if event["kind"] != "tags":
            self._writer.wake()

    def _restore_vanished(self) -> None:
        """Where the spool was deleted in mid-run: say so, and write it again from the files that are still open."""
        if not self._durable.vanished:
            return
        self._durable.restart()
        place = shown(self.folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._writer.lock_again()
            spool.save_header(self.folder, self._header)
            self._records = self._records.moved(self.folder / spool.RECORDS)
            self._events = self._events.moved(self.folder / spool.EVENTS)
            if self._config:
                self.replace_config(self._config)
            self._writer.revive()
        except (OSError, ValueError, StoreError) as error:
            self._lost = f"{place} was deleted while the run was recorded, and cannot be made again ({error})"
            _log.warning("%s; training continues, and what it records from here on is lost", self._lost)
            return
        made = [e for e in spool.read_events(self.folder) if e["kind"] == "artifact"]
        gone = sum(not (self.folder / e["path"]).exists() for e in made)
        _log.warning(
            "%s was deleted while the run is recorded there. Its records were written again; %s that had not arrived,"
            " and the checkpoints so far, are lost. Leave .initlab alone while a run trains",
            place,
            count(gone, "artifact"),
        )

    def _append(self, file: str, value: Json) -> None:
        self._check_process()
        if self._sentence is not None:
            raise StoreError(f"run {self.run_id} is closed")
        self._restore_vanished()
        try:
            (self._records if file == spool.RECORDS else self._events).append(_encode(value).encode() + b"\n")
            self._durable.wrote()
        except OSError as error:
            raise StoreError(
                f"{shown(self.folder)}: {error.strerror or error}; what was written so far is safe there"
            ) from error

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise StoreError("a run is recorded by the process that started it, not by a child of it")
