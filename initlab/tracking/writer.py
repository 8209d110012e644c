"""The live end of a run: a sink that appends to the spool, and the thread that drains it into the store."""

from __future__ import annotations

import json
import logging
import threading
import time
from pathlib import Path

from filelock import FileLock

from initlab.tracking import spool
from initlab.tracking.deliver import Delivery
from initlab.tracking.faults import StoreFaultError
from initlab.tracking.spool import SpoolHeader
from initlab.tracking.store import connect

LONGEST_PAUSE = 60.0
# a server that refuses so many times in a row while a run closes is down, not busy
PATIENCE_AT_CLOSE = 4
# freed when the disk is full, so that the end of the run can still be noted
RESERVE = 16_384
_log = logging.getLogger("initlab.tracking")
_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


class Writer:
    """Drains a spool in a background thread. Survives every failure of the store; gives the lock back at its end."""

    def __init__(
        self, folder: Path, header: SpoolHeader, *, lock: FileLock, uri: str, workdir: Path, flush_seconds: float
    ) -> None:
        self._lock = lock
        self._flush_seconds = flush_seconds
        self._wake = threading.Event()
        self._closing = False
        self._abandon = False
        self.known = threading.Event()
        self.experiment_id = ""
        self.fault = ""
        self.done = False
        self.delivery = Delivery(
            folder,
            header,
            uri=uri,
            connect=lambda: connect(uri, workdir=workdir),
            stop=lambda: self._abandon,
            found=self._found,
        )
        self._thread = threading.Thread(target=self._run, name=f"initlab-tracking-{header.uid[:8]}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        self._wake.set()

    def discard(self) -> None:
        """Delete the spool of a run whose thread never started."""
        spool.remove(self.delivery.folder, self._lock)

    def close(self, seconds: float) -> None:
        """Let the thread drain the rest, at most `seconds`; afterwards it stops as soon as its last call returns."""
        self._closing = True
        self._wake.set()
        self._thread.join(seconds)
        self._abandon = True
        self._wake.set()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def _found(self, _run_id: str, experiment_id: str) -> None:
        self.experiment_id = experiment_id
        self.known.set()

    def _run(self) -> None:
        failures = 0
        while not self._abandon:
            closing = self._closing
            self._wake.clear()
            fault = self._attempt()
            failures = 0 if fault is None else failures + 1
            self._report(fault)
            if closing and (self.done or fault is None or failures >= PATIENCE_AT_CLOSE):
                break
            if fault is None:
                pause = self._flush_seconds
            elif self._closing:
                pause = min(0.25 * 2**failures, 4.0)
            else:
                pause = min(self._flush_seconds * 2**failures, LONGEST_PAUSE)
            self._pause(pause, failing=fault is not None)
        if self.done:
            try:
                spool.remove(self.delivery.folder, self._lock)
            except OSError as error:
                self.done = False
                self.fault = f"everything arrived, but the spool could not be removed ({error.strerror or error})"
        self._lock.release()
        self.known.set()

    def _attempt(self) -> str | None:
        try:
            self.delivery.round()
            self.done = self._closing and self.delivery.complete
        except StoreFaultError as fault:
            return fault.reason
        except Exception as error:  # whatever it is, training goes on and the spool keeps everything
            _log.debug("delivery failed", exc_info=True)
            return f"{type(error).__name__}: {error}"
        return None

    def _pause(self, seconds: float, *, failing: bool) -> None:
        deadline = time.monotonic() + seconds
        while not self._abandon and (left := deadline - time.monotonic()) > 0:
            if self._wake.wait(left):
                if self._closing or not failing:
                    # while closing, a wake-up is `close` itself and shortens the pause once
                    return
                # more records are no reason to ask a dead server again
                self._wake.clear()

    def _report(self, fault: str | None) -> None:
        if fault is not None and not self.fault:
            _log.warning("%s; training goes on, records wait in the spool", fault)
        elif fault is None and self.fault:
            _log.warning("contact is back; the spool drains")
        self.fault = fault or ""
