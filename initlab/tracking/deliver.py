"""From a spool to MLflow: the one path that the helper of a live run and `sync` both take.

Whatever is sent twice is stored once: MLflow ignores a metric that it has (same key, step, time and value), a run is
found again by its uid, tags and artifacts replace themselves. So a delivery may be cut anywhere and begun again.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from initlab.errors import StoreError
from initlab.tracking import spool
from initlab.tracking.faults import StoreFaultError
from initlab.tracking.location import is_server
from initlab.tracking.spool import Json, Progress, SpoolHeader
from initlab.tracking.store import MetricRow, Store
from initlab.tracking.values import MLFLOW_STATUS, PARAM_LENGTH, TAG_LENGTH, as_text, batches, clean_key, cut

METRICS_PER_BATCH = 1000
SMALLEST_BATCH = 50
PARENT = "mlflow.parentRunId"
_log = logging.getLogger("initlab.tracking")


class Delivery:
    """Brings one spool into one store, as far as it has grown. The caller holds its delivery lock.

    `connect` is called once, when first needed (it imports MLflow). `stop` is asked between batches. For
    `parent_seconds` a run waits for the id of its parent, which may be on its way at the same time.
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
    ) -> None:
        self.folder = folder
        self.header = header
        self.progress = spool.load_progress(folder, uri)
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
        self._describe()
        # before the records: where the end of the run is among them, all its records are written
        events = spool.read_events(self.folder)
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
                found = store.create_run(progress.experiment_id, name=run.name, start_ms=run.start_ms, tags=tags)
            progress.run_id = found
            self._save()
        self._found(progress.run_id, progress.experiment_id)

    def _describe(self) -> None:
        if self.progress.described:
            return
        run, run_id = self.header.run, self.progress.run_id
        params = {clean_key(key): cut(as_text(value), PARAM_LENGTH) for key, value in run.params.items()}
        tags = {clean_key(key): cut(value, TAG_LENGTH) for key, value in run.tags.items()}
        if PARENT in tags:
            tags[PARENT] = self._parent(tags[PARENT])
        if not self._at_once(params, tags):
            for portion in batches(params):
                self._pairs(portion, kind="param")
            for portion in batches(tags):
                self._pairs(portion, kind="tag")
        if run.dataset is not None:
            try:
                self._client().log_dataset(run_id, run.dataset, profile=json.dumps(dict(run.inputs)))
            except StoreFaultError as fault:
                self._set_aside(fault, {"dataset": run.dataset.name})
        self.progress.described = True
        self._save()

    def _at_once(self, params: dict[str, str], tags: dict[str, str]) -> bool:
        """Send them in one call, as nearly always is possible; False where they are too many, or one is refused."""
        if len(list(batches(params))) > 1 or len(list(batches(tags))) > 1:
            return False
        try:
            self._client().log(self.progress.run_id, params=params, tags=tags)
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
        rows: list[MetricRow] = []
        progress = self.progress
        offset, records, nonfinite = progress.offset, progress.records, progress.nonfinite

        def flush() -> None:
            nonlocal rows
            if offset == progress.offset:
                return
            for start in range(0, len(rows), self._batch):
                self._metrics(rows[start : start + self._batch])
            progress.offset, progress.records, progress.nonfinite = offset, records, nonfinite
            self._save()
            rows = []

        for end, line in spool.read_lines(self.folder / spool.RECORDS, offset):
            fresh = [
                (clean_key(key), float(value), int(line["time_ms"]), int(line["step"]))
                for key, value in line["metrics"].items()
                if math.isfinite(value)
            ]
            if rows and len(rows) + len(fresh) > self._batch:
                flush()
                if self._stop():
                    return
            rows += fresh
            offset, records = end, max(records, int(line["serial"]) + 1)
            nonfinite += len(line.get("nonfinite", ()))
        flush()

    def _metrics(self, rows: Sequence[MetricRow]) -> None:
        """Send one batch; the halves of a refused one, down to the metric that is to blame."""
        try:
            self._client().log(self.progress.run_id, metrics=rows)
        except StoreFaultError as fault:
            if fault.kind != "refused":
                # perhaps the batch was too much for the server (time, size): try less the next time
                self._batch = max(SMALLEST_BATCH, self._batch // 2) if is_server(self.progress.uri) else self._batch
                raise
            if len(rows) == 1:
                self._set_aside(fault, {"metric": rows[0]})
                return
            self._exists()
            self._metrics(rows[: len(rows) // 2])
            self._metrics(rows[len(rows) // 2 :])
        else:
            self._batch = min(METRICS_PER_BATCH, self._batch * 2)

    def _events(self, events: list[Json]) -> None:
        tags: dict[str, str] = {}
        for event in events[self.progress.events :]:
            if event["kind"] == "tags":
                tags |= {clean_key(key): cut(str(value), TAG_LENGTH) for key, value in event["tags"].items()}
            elif event["kind"] == "reopen":
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
        event, progress = events[end], self.progress
        word = str(event["status"])
        if word not in MLFLOW_STATUS:
            raise StoreError(f"{self.folder}: unknown status {word}")
        tags = {"initlab.status": word, "initlab.records": str(progress.records)}
        if progress.nonfinite:
            tags["initlab.nonfinite"] = str(progress.nonfinite)
        self._client().log(progress.run_id, tags=tags)
        self._client().end(progress.run_id, status=MLFLOW_STATUS[word], time_ms=int(event["time_ms"]))
        progress.ended = end
        self._save()
