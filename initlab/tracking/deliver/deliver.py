"""Delivers a spool to MLflow; the helper process of a live run and `sync` both use it.

Whatever is sent twice is stored once: MLflow ignores a metric that it has (same key, step, time and value), a run is
found again by its uid, tags and artifacts replace themselves. So a delivery may be interrupted anywhere and restarted.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from initlab.tracking.deliver.reading import Reading, end_tags, tags_of
from initlab.tracking.deliver.sender import Sender
from initlab.tracking.deliver.uploads import Uploads
from initlab.tracking.spool import spool
from initlab.tracking.spool.durable import sync_beginning
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
from initlab.tracking.store.client import Store
from initlab.tracking.store.faults import StoreFaultError

#: with up to 100 parameters and 100 tags, MLflow takes a thousand of all in a call
METRICS_IN_A_WHOLE = 800
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
        progress = Progress(uri=uri) if fresh else spool.load_progress(folder, uri)
        if header.adopted and not progress.run_id:
            progress.run_id, progress.described = header.adopted, True
            progress.records, progress.nonfinite = header.records, header.nonfinite
        self._sender = Sender(folder, progress, connect=connect)
        self._uploads = Uploads(folder, self._sender, stop=stop)
        self._stop = stop
        self._found = found
        self._parent_seconds = parent_seconds

    @property
    def progress(self) -> Progress:
        """How far the delivery has come."""
        return self._sender.progress

    @property
    def complete(self) -> bool:
        """Whether the run is ended and everything of it is in the store."""
        events = spool.read_events(self.folder)
        end = spool.end_event(events)
        return end >= 0 and self.progress.ended == end and spool.waiting(self.folder, self.progress) == (0, 0)

    def prepare(self) -> None:
        """Connect, where that is still to do."""
        self._sender.client()

    def round(self) -> None:
        """Send what is there. Raises StoreFaultError at the first thing that the store cannot take now."""
        try:
            self._round()
        except StoreFaultError as fault:
            # connect anew the next time: a SQLite file may have been replaced, and its tables with it
            self._sender.disconnect()
            if fault.kind != "gone" or not self.progress.run_id or self._sender.exists():
                raise
            if self.header.adopted:
                raise StoreFaultError("away", f"run {self.header.adopted} is no longer in the store") from fault
            # the store lost the run (a new server, an emptied database) but the spool has all of it: begin anew
            _log.warning("run %s is gone from %s; sending it again", self.progress.run_id, self.header.uri)
            self._sender.progress = Progress(uri=self.progress.uri, creating=True)
            self._round()

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
        fault = self._uploads.send(events, end)
        if end >= 0 and self.progress.ended != end and not self._stop():
            self._end(events, end)
        if fault is not None:
            raise fault

    def _ensure_run(self) -> None:
        store, progress, run = self._sender.client(), self.progress, self.header.run
        if not progress.experiment_id:
            adopted = self.header.adopted
            progress.experiment_id = store.run_tags(adopted)[0] if adopted else store.experiment(run.experiment)
        if not progress.run_id:
            found = store.find_run([progress.experiment_id], self.header.uid) if progress.creating else None
            if found is None:
                progress.creating = True
                self._sender.save()
                with suppress(OSError):
                    sync_beginning(self.folder)
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
            self._sender.save()
        self._found(progress.run_id, progress.experiment_id)

    def _whole(self, events: list[Json]) -> bool:
        """Send a short run that has ended in as few calls as there can be; False where that is not to be had.

        What is sent is what the pieces would have sent, one after another; they are sent where the store refuses it.
        """
        end, progress = spool.end_event(events), self.progress
        if end < 0 or progress.described or any(event["kind"] == "reopen" for event in events) or self._stop():
            return False
        reading = Reading(progress, self.header.run.layers)
        for at, line in spool.read_lines(self.folder / spool.RECORDS, progress.offset):
            reading.add(at, line)
            if len(reading.rows) > min(METRICS_IN_A_WHOLE, self._sender.batch):
                return False
        ended = replace(progress, records=reading.records, nonfinite=reading.nonfinite)
        params, tags = self._description()
        tags |= tags_of(events) | end_tags(events[end], ended, self.folder)
        # first: the tags tell of an end that all of it has reached
        fault = self._uploads.send(events, end)
        if fault is not None or self._stop():
            return False
        try:
            if not self._sender.send_at_once(params, tags, reading.sorted_rows()):
                return False
        except StoreFaultError:
            self._sender.shrink_batches()
            raise
        self._dataset()
        reading.into(progress)
        progress.described, progress.events = True, len(events)
        self._sender.save()
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
        if not self._sender.send_at_once(params, tags):
            for portion in batches(params):
                self._sender.send_pairs(portion, kind="param")
            for portion in batches(tags):
                self._sender.send_pairs(portion, kind="tag")
        self._dataset()
        self.progress.described = True
        self._sender.save()

    def _dataset(self) -> None:
        run = self.header.run
        if run.dataset is None:
            return
        try:
            self._sender.client().log_dataset(self.progress.run_id, run.dataset, profile=json.dumps(dict(run.inputs)))
        except StoreFaultError as fault:
            self._sender.set_aside(fault, {"dataset": run.dataset.name})

    def _parent(self, named: str) -> str:
        """MLflow's id of the parent run, which may be named by its uid: a study does not wait until it has an id."""
        folder, deadline = self.folder.parent / named, time.monotonic() + self._parent_seconds
        while folder.is_dir():
            if known := spool.load_progress(folder, self.progress.uri).run_id:
                return known
            if time.monotonic() > deadline or self._stop():
                raise StoreFaultError("away", f"its parent {named} has not arrived there yet")
            time.sleep(0.1)
        return self._sender.client().find_run([self.progress.experiment_id], named) or named

    def _records(self) -> None:
        progress = self.progress
        reading = Reading(progress, self.header.run.layers)

        def flush() -> None:
            if reading.offset == progress.offset:
                return
            rows = reading.sorted_rows()
            for start in range(0, len(rows), self._sender.batch):
                self._sender.send_metrics(rows[start : start + self._sender.batch])
            reading.into(progress)
            self._sender.save()

        for end, line in spool.read_lines(self.folder / spool.RECORDS, progress.offset):
            if reading.rows and len(reading.rows) + len(line["metrics"]) > self._sender.batch:
                flush()
                if self._stop():
                    return
            reading.add(end, line)
        flush()

    def _events(self, events: list[Json]) -> None:
        tags: dict[str, str] = {}
        for event in events[self.progress.events :]:
            tags |= tags_of([event])
            if event["kind"] == "reopen":
                self._sender.client().resume(self.progress.run_id)
                tags["initlab.status"] = "running"
        for portion in batches(tags):
            self._sender.send_pairs(portion, kind="tag")
        if self.progress.events != len(events):
            self.progress.events = len(events)
            self._sender.save()

    def _end(self, events: list[Json], end: int) -> None:
        self._sender.client().log(self.progress.run_id, tags=end_tags(events[end], self.progress, self.folder))
        self._terminate(events, end)

    def _terminate(self, events: list[Json], end: int) -> None:
        status, time_ms = MLFLOW_STATUS[str(events[end]["status"])], int(events[end]["time_ms"])
        store, header = self._sender.client(), self.header
        # the clock may have been set back meanwhile: a run does not end before it began
        begun = store.start_ms(header.adopted) if header.adopted else header.run.start_ms
        store.end(self.progress.run_id, status=status, time_ms=max(time_ms, begun))
        self._sender.client().sync()
        self.progress.ended = end
        self._sender.save()
