"""Sends params, tags and metrics of one run to the store, and sets aside what it can never take."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from initlab.tracking.spool import spool
from initlab.tracking.spool.spool import Json, Progress
from initlab.tracking.spool.values import (
    batches,
)
from initlab.tracking.store.client import MetricRow, Store
from initlab.tracking.store.faults import StoreFaultError
from initlab.tracking.store.location import is_server

METRICS_PER_BATCH = 1000
SMALLEST_BATCH = 50
_log = logging.getLogger("initlab.tracking")


class Sender:
    """The connection to the store, and how much it takes at once.

    What the store refuses is sent in halves, down to the piece that is to blame, which goes to `rejected.jsonl`.
    """

    def __init__(self, folder: Path, progress: Progress, *, connect: Callable[[], Store]) -> None:
        self.folder = folder
        self.progress = progress
        #: metrics a call; less where the server proved slow
        self.batch = METRICS_PER_BATCH
        self._connect = connect
        self._store: Store | None = None

    def disconnect(self) -> None:
        """Connect anew at the next call."""
        self._store = None

    def exists(self) -> bool:
        """Whether the store still has the run. Raises StoreFaultError where it was deleted there."""
        try:
            deleted = self.client().is_deleted(self.progress.run_id)
        except StoreFaultError as fault:
            if fault.kind == "gone":
                return False
            raise
        if deleted:
            raise StoreFaultError(
                "away", f"run {self.progress.run_id} was deleted there; restore it, or remove the spool"
            )
        return True

    def client(self) -> Store:
        """The store, connected at first use."""
        if self._store is None:
            self._store = self._connect()
        return self._store

    def save(self) -> None:
        """Write the progress beside the spool."""
        # a full disk must not stop what drains it; without the file the next delivery only sends more than it must
        with contextlib.suppress(OSError):
            spool.save_progress(self.folder, self.progress)

    def send_at_once(self, params: dict[str, str], tags: dict[str, str], metrics: Sequence[MetricRow] = ()) -> bool:
        """Send them in one call, as nearly always is possible; False where they are too many, or one is refused."""
        if len(list(batches(params))) > 1 or len(list(batches(tags))) > 1:
            return False
        try:
            self.client().log(self.progress.run_id, params=params, tags=tags, metrics=metrics)
        except StoreFaultError as fault:
            if fault.kind != "refused":
                raise
            return False
        return True

    def send_pairs(self, portion: dict[str, str], *, kind: str) -> None:
        """Send params or tags, one by one where the store refuses them together."""

        def send(part: dict[str, str]) -> None:
            if kind == "param":
                self.client().log(self.progress.run_id, params=part)
            else:
                self.client().log(self.progress.run_id, tags=part)

        try:
            send(portion)
        except StoreFaultError as fault:
            if fault.kind != "refused":
                raise
            for key, value in portion.items():
                try:
                    send({key: value})
                except StoreFaultError as single:
                    self.set_aside(single, {kind: key, "value": value})

    def set_aside(self, fault: StoreFaultError, what: Json) -> None:
        """Note in `rejected.jsonl` what can never be stored. Any other fault is raised again."""
        if fault.kind != "refused":
            raise fault
        self.exists()  # a deleted run refuses everything: nothing is wrong with the content then
        if not self.progress.rejected:
            _log.warning("%s (set aside in %s)", fault.reason, spool.REJECTED)
        with (self.folder / spool.REJECTED).open("a", encoding="utf-8") as file:
            file.write(json.dumps({**what, "reason": fault.reason}) + "\n")
        self.progress.rejected += 1

    def send_metrics(self, rows: Sequence[MetricRow]) -> None:
        """Send one batch; the halves of a refused one, down to the metric that is to blame."""
        try:
            self.client().log(self.progress.run_id, metrics=rows)
        except StoreFaultError as fault:
            if fault.kind != "refused":
                self.shrink_batches()
                raise
            if len(rows) == 1:
                self.set_aside(fault, {"metric": rows[0]})
                return
            self.exists()
            self.send_metrics(rows[: len(rows) // 2])
            self.send_metrics(rows[len(rows) // 2 :])
        else:
            self.batch = min(METRICS_PER_BATCH, self.batch * 2)

    def shrink_batches(self) -> None:
        """Perhaps the batch was too much for the server (time, size): try less the next time."""
        if is_server(self.progress.uri):
            self.batch = max(SMALLEST_BATCH, self.batch // 2)
