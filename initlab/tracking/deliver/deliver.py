"""Delivers a spool to MLflow; the helper process of a live run and `sync` both use it.

Whatever is sent twice is stored once: MLflow ignores a metric that it has (same key, step, time and value), a run is
found again by its uid, tags and artifacts replace themselves. So a delivery may be interrupted anywhere and restarted.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from initlab.errors import StoreError
from initlab.tracking.spool import spool
from initlab.tracking.spool.spool import Json, Progress, SpoolHeader
from initlab.tracking.spool.values import (
    MLFLOW_STATUS,
    PARAM_LENGTH,
    TAG_LENGTH,
    batches,
    clean_key,
    format_param,
    truncate,
)
from initlab.tracking.store.client import MetricRow, Store
from initlab.tracking.store.faults import StoreFaultError
from initlab.tracking.store.location import is_server

METRICS_PER_BATCH = 1000
#: with up to 100 parameters and 100 tags, MLflow takes a thousand of all in a call
METRICS_IN_A_WHOLE = 800
SMALLEST_BATCH = 50
PARENT = "mlflow.parentRunId"
_log = logging.getLogger("initlab.tracking")


class Delivery:
    """Brings one spool into one store, as far as it has grown. The caller holds its delivery lock.

    `connect` is called once, when first needed (it imports MLflow). `stop` is asked between batches. For
    `parent_seconds` a run waits for the id of its parent, which may be on its way at the same time. `fresh` says that
    nobody delivered anything of this spool before.
    """

    def __init__(
        self,
        folder: Path,
        header: SpoolHeader,
        *,
        uri: str,
        connect: Callable[[], Store],
        stop: Callable[[], bool] = lambda: False,
        found: Callable[[str, str], None] = lambda _run, _experiment: None,
        parent_seconds: float = 0.0,
        fresh: bool = False,
    ) -> None:
        self.folder = folder
        self.header = header
        # of a run that has just begun, there is nothing to be found in the store
        self.progress = Progress(uri=uri) if fresh else spool.load_progress(folder, uri)
        if header.adopted and not self.progress.run_id:
            self.progress.run_id, self.progress.described = header.adopted, True
            self.progress.records, self.progress.nonfinite = header.records, header.nonfinite
        self._connect = connect
        self._store: Store | None = None
        self._stop = stop
        self._found = found
        self._parent_seconds = parent_seconds
        self._batch = METRICS_PER_BATCH

    @property
    def complete(self) -> bool:
        """Whether the run is ended and everything of it is in the store."""
        events = spool.read_events(self.folder)
        end = spool.end_event(events)
        return end >= 0 and self.progress.ended == end and spool.waiting(self.folder, self.progress) == (0, 0)

    def prepare(self) -> None:
        """Connect, where that is still to do."""
        self._client()

    def round(self) -> None:
        """Send what is there. Raises StoreFaultError at the first thing that the store cannot take now."""
        try:
            self._round()
        except StoreFaultError as fault:
            # connect anew the next time: a SQLite file may have been replaced, and its tables with it
            self._store = None
            if fault.kind != "gone" or not self.progress.run_id or self._exists():
                raise
            if self.header.adopted:
                raise StoreFaultError("away", f"run {self.header.adopted} is no longer in the store") from fault
            # the store lost the run (a new server, an emptied database) but the spool has all of it: begin anew
            _log.warning("run %s is gone from %s; sending it again", self.progress.run_id, self.header.uri)
            self.progress = Progress(uri=self.progress.uri, creating=True)
            self._round()

    def _exists(self) -> bool:
        try:
            deleted = self._client().is_deleted(self.progress.run_id)
        except StoreFaultError as fault:
            if fault.kind == "gone":
                return False
            raise
        if deleted:
            raise StoreFaultError(
                "away", f"run {self.progress.run_id} was deleted there; restore it, or remove the spool"
            )
        return True

    def _round(self) -> None:
        self._ensure_run()
        # before the records: where the end of the run is among them, all its records are written
        events = spool.read_events(self.folder)
        if self._whole(events):
            return
        self._describe()
        self._records()
        self._events(events)
        end = spool.end_event(events)
        # one artifact that cannot be stored must not keep the run from ending
        fault = self._artifacts(events) or (
            self._checkpoints() if end >= 0 and events[end].get("checkpoints") else None
        )
        if end >= 0 and self.progress.ended != end and not self._stop():
            self._end(events, end)
        if fault is not None:
            raise fault

    def _client(self) -> Store:
        if self._store is None:
            self._store = self._connect()
        return self._store

    def _save(self) -> None:
        # a full disk must not stop what drains it; without the file the next delivery only sends more than it must
        with contextlib.suppress(OSError):
            spool.save_progress(self.folder, self.progress)

    def _ensure_run(self) -> None:
        store, progress, run = self._client(), self.progress, self.header.run
        if not progress.experiment_id:
            adopted = self.header.adopted
            progress.experiment_id = store.run_tags(adopted)[0] if adopted else store.experiment(run.experiment)
        if not progress.run_id:
            found = store.find_run([progress.experiment_id], self.header.uid) if progress.creating else None
            if found is None:
                progress.creating = True
                self._save()
                # no other tag yet: one that the store refuses must not keep the run from being created
                tags = {"initlab.uid": self.header.uid, "initlab.status": "running"}
                if user := run.tags.get("mlflow.user"):
                    tags["mlflow.user"] = user
                try:
                    found = store.create_run(progress.experiment_id, name=run.name, start_ms=run.start_ms, tags=tags)
                except StoreFaultError:
                    progress.experiment_id = ""  # it may be what is wrong
                    raise
            progress.run_id = found
            self._save()
        self._found(progress.run_id, progress.experiment_id)

    def _whole(self, events: list[Json]) -> bool:
        """Send a short run that has ended in as few calls as there can be; False where that is not to be had.

        What is sent is what the pieces would have sent, one after another; they are sent where the store refuses it.
        """
        end, progress = spool.end_event(events), self.progress
        if end < 0 or progress.described or any(event["kind"] == "reopen" for event in events) or self._stop():
            return False
        reading = _Reading(progress)
        for at, line in spool.read_lines(self.folder / spool.RECORDS, progress.offset):
            reading.add(at, line)
            if len(reading.rows) > min(METRICS_IN_A_WHOLE, self._batch):
                return False
        ended = replace(progress, records=reading.records, nonfinite=reading.nonfinite)
        params, tags = self._description()
        tags |= _tags_of(events) | _end_tags(events[end], ended, self.folder)
        # first: the tags tell of an end that all of it has reached
        fault = self._artifacts(events) or (self._checkpoints() if events[end].get("checkpoints") else None)
        if fault is not None or self._stop():
            return False
        try:
            if not self._at_once(params, tags, reading.rows):
                return False
        except StoreFaultError:
            self._smaller()
            raise
        self._dataset()
        reading.into(progress)
        progress.described, progress.events = True, len(events)
        self._save()
        self._terminate(events, end)
        return True

    def _description(self) -> tuple[dict[str, str], dict[str, str]]:
        """Parameters and tags that a run begins with."""
        run = self.header.run
        params = {clean_key(key): truncate(format_param(value), PARAM_LENGTH) for key, value in run.params.items()}
        tags = {clean_key(key): truncate(value, TAG_LENGTH) for key, value in run.tags.items()}
        if PARENT in tags:
            tags[PARENT] = self._parent(tags[PARENT])
        return params, tags

    def _describe(self) -> None:
        if self.progress.described:
            return
        params, tags = self._description()
        if not self._at_once(params, tags):
            for portion in batches(params):
                self._pairs(portion, kind="param")
            for portion in batches(tags):
                self._pairs(portion, kind="tag")
        self._dataset()
        self.progress.described = True
        self._save()

    def _dataset(self) -> None:
        run = self.header.run
        if run.dataset is None:
            return
        try:
            self._client().log_dataset(self.progress.run_id, run.dataset, profile=json.dumps(dict(run.inputs)))
        except StoreFaultError as fault:
            self._set_aside(fault, {"dataset": run.dataset.name})

    def _at_once(self, params: dict[str, str], tags: dict[str, str], metrics: Sequence[MetricRow] = ()) -> bool:
        """Send them in one call, as nearly always is possible; False where they are too many, or one is refused."""
        if len(list(batches(params))) > 1 or len(list(batches(tags))) > 1:
            return False
        try:
            self._client().log(self.progress.run_id, params=params, tags=tags, metrics=metrics)
        except StoreFaultError as fault:
            if fault.kind != "refused":
                raise
            return False
        return True

    def _parent(self, named: str) -> str:
        """MLflow's id of the parent run, which may be named by its uid: a study does not wait until it has an id."""
        folder, deadline = self.folder.parent / named, time.monotonic() + self._parent_seconds
        while folder.is_dir():
            if known := spool.load_progress(folder, self.progress.uri).run_id:
                return known
            if time.monotonic() > deadline or self._stop():
                raise StoreFaultError("away", f"its parent {named} has not arrived there yet")
            time.sleep(0.1)
        return self._client().find_run([self.progress.experiment_id], named) or named

    def _pairs(self, portion: dict[str, str], *, kind: str) -> None:
        def send(part: dict[str, str]) -> None:
            if kind == "param":
                self._client().log(self.progress.run_id, params=part)
            else:
                self._client().log(self.progress.run_id, tags=part)

        try:
            send(portion)
        except StoreFaultError as fault:
            if fault.kind != "refused":
                raise
            for key, value in portion.items():
                try:
                    send({key: value})
                except StoreFaultError as single:
                    self._set_aside(single, {kind: key, "value": value})

    def _set_aside(self, fault: StoreFaultError, what: Json) -> None:
        """Note in `rejected.jsonl` what can never be stored. Any other fault is raised again."""
        if fault.kind != "refused":
            raise fault
        self._exists()  # a deleted run refuses everything: nothing is wrong with the content then
        if not self.progress.rejected:
            _log.warning("%s (set aside in %s)", fault.reason, spool.REJECTED)
        with (self.folder / spool.REJECTED).open("a", encoding="utf-8") as file:
            file.write(json.dumps({**what, "reason": fault.reason}) + "\n")
        self.progress.rejected += 1

    def _records(self) -> None:
        progress = self.progress
        reading = _Reading(progress)

        def flush() -> None:
            if reading.offset == progress.offset:
                return
            for start in range(0, len(reading.rows), self._batch):
                self._metrics(reading.rows[start : start + self._batch])
            reading.into(progress)
            self._save()

        for end, line in spool.read_lines(self.folder / spool.RECORDS, progress.offset):
            if reading.rows and len(reading.rows) + len(line["metrics"]) > self._batch:
                flush()
                if self._stop():
                    return
            reading.add(end, line)
        flush()

    def _metrics(self, rows: Sequence[MetricRow]) -> None:
        """Send one batch; the halves of a refused one, down to the metric that is to blame."""
        try:
            self._client().log(self.progress.run_id, metrics=rows)
        except StoreFaultError as fault:
            if fault.kind != "refused":
                self._smaller()
                raise
            if len(rows) == 1:
                self._set_aside(fault, {"metric": rows[0]})
                return
            self._exists()
            self._metrics(rows[: len(rows) // 2])
            self._metrics(rows[len(rows) // 2 :])
        else:
            self._batch = min(METRICS_PER_BATCH, self._batch * 2)

    def _smaller(self) -> None:
        """Perhaps the batch was too much for the server (time, size): try less the next time."""
        if is_server(self.progress.uri):
            self._batch = max(SMALLEST_BATCH, self._batch // 2)

    def _events(self, events: list[Json]) -> None:
        tags: dict[str, str] = {}
        for event in events[self.progress.events :]:
            tags |= _tags_of([event])
            if event["kind"] == "reopen":
                self._client().resume(self.progress.run_id)
                tags["initlab.status"] = "running"
        for portion in batches(tags):
            self._pairs(portion, kind="tag")
        if self.progress.events != len(events):
            self.progress.events = len(events)
            self._save()

    def _artifacts(self, events: list[Json]) -> StoreFaultError | None:
        first: StoreFaultError | None = None
        for index, event in enumerate(events):
            if event["kind"] != "artifact" or index in self.progress.artifacts or self._stop():
                continue
            fault = self._upload(self.folder / event["path"], str(event["folder"]))
            if fault is None:
                self.progress.artifacts.append(index)
                if is_server(self.progress.uri):  # to copy a file again costs less than to note that it was copied
                    self._save()
            first = first or fault
            if fault is not None and is_server(self.progress.uri):
                break
        return first

    def _checkpoints(self) -> StoreFaultError | None:
        for file in spool.checkpoint_files(self.folder):
            mark = spool.checkpoint_mark(self.folder, file)
            if mark in self.progress.checkpoints or self._stop():
                continue
            fault = self._upload(file, file.parent.relative_to(self.folder).as_posix())
            if fault is not None:
                return fault
            self.progress.checkpoints.append(mark)
            self._save()
        return None

    def _upload(self, file: Path, folder: str) -> StoreFaultError | None:
        if not file.exists():
            _log.warning("artifact %s vanished from the spool", file.name)
            return None
        try:
            self._client().upload(self.progress.run_id, file, folder)
        except StoreFaultError as fault:
            return StoreFaultError("away", fault.reason) if fault.kind == "refused" else fault
        return None

    def _end(self, events: list[Json], end: int) -> None:
        self._client().log(self.progress.run_id, tags=_end_tags(events[end], self.progress, self.folder))
        self._terminate(events, end)

    def _terminate(self, events: list[Json], end: int) -> None:
        status, time_ms = MLFLOW_STATUS[str(events[end]["status"])], int(events[end]["time_ms"])
        self._client().end(self.progress.run_id, status=status, time_ms=time_ms)
        self.progress.ended = end
        self._save()


class _Reading:
    """Records that were read, and are not sent yet.

    Attributes:
        rows: the finite metrics among them.
        offset: of the end of the last one in its file.
        records: how many the run has up to there.
        nonfinite: how many values of them are not finite.
    """

    def __init__(self, progress: Progress) -> None:
        self.rows: list[MetricRow] = []
        self.offset, self.records, self.nonfinite = progress.offset, progress.records, progress.nonfinite

    def add(self, end: int, line: Json) -> None:
        self.rows += [
            (clean_key(key), float(value), int(line["time_ms"]), int(line["step"]))
            for key, value in line["metrics"].items()
            if math.isfinite(value)
        ]
        self.offset, self.records = end, max(self.records, int(line["serial"]) + 1)
        self.nonfinite += len(line.get("nonfinite", ()))

    def into(self, progress: Progress) -> None:
        """They were sent."""
        progress.offset, progress.records, progress.nonfinite = self.offset, self.records, self.nonfinite
        self.rows = []


def _tags_of(events: Sequence[Json]) -> dict[str, str]:
    """What the tags among the events say, the last word of each."""
    tags: dict[str, str] = {}
    for event in events:
        if event["kind"] == "tags":
            tags |= {clean_key(key): truncate(str(value), TAG_LENGTH) for key, value in event["tags"].items()}
    return tags


def _end_tags(event: Json, progress: Progress, folder: Path) -> dict[str, str]:
    """The tags of a run whose records are all sent."""
    word = str(event["status"])
    if word not in MLFLOW_STATUS:
        raise StoreError(f"{folder}: unknown status {word}")
    tags = {"initlab.status": word, "initlab.records": str(progress.records)}
    if progress.nonfinite:
        tags["initlab.nonfinite"] = str(progress.nonfinite)
    return tags
