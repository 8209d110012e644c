"""Thread of the helper process that drains one spool into the store while its run is active."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from initlab.tracking.deliver.deliver import Delivery
from initlab.tracking.spool import spool
from initlab.tracking.spool.spool import Json, SpoolHeader
from initlab.tracking.store.client import Store, connect
from initlab.tracking.store.faults import StoreFaultError

LONGEST_PAUSE = 60.0
# after so many failures in a row while a run closes, the server counts as down, not as busy
MAX_FAILURES_AT_CLOSE = 4
# how long to wait for a parent run that was started just before its first child
PARENT_WAIT_SECONDS = 20.0
# a run that ends sooner is sent in one piece, with a third of the calls
FIRST_SECONDS = 1.0
LOG = "tracking.log"
# interval for checking whether to stop, while another drain is sending
_POLL_SECONDS = 0.5
_log = logging.getLogger("initlab.tracking")


def log_traceback(workdir: Path) -> None:
    """Append the exception at hand to `.initlab/tracking.log`: the helper has no terminal to show it on."""
    with contextlib.suppress(OSError), (workdir / ".initlab" / LOG).open("a", encoding="utf-8") as file:
        file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}\n{traceback.format_exc()}\n")


class StoreConnection:
    """Connection to one store, shared by all drains until a call on it fails; the sending one holds `turn`."""

    def __init__(self) -> None:
        self.turn = threading.Lock()
        self._making = threading.Lock()
        self._store: Store | None = None

    def connector(self, uri: str, workdir: Path) -> Callable[[], Store]:
        """Returns a function for one drain: the shared connection at the first call, a new one at each later call."""
        asked = False

        def connected() -> Store:
            nonlocal asked
            with self._making:
                if asked or self._store is None:
                    self._store = connect(uri, workdir=workdir)
                asked = True
                return self._store

        return connected


class SpoolDrain:
    """Drains one spool; survives every failure of the store. After its last message, `closed`, it leaves the spool.

    The drains of a helper send one after another over one `connection`: in parallel they would only wait for each
    other's locks in the store, and for the interpreter lock.
    """

    def __init__(
        self,
        folder: Path,
        header: SpoolHeader,
        *,
        uri: str,
        workdir: Path,
        flush_seconds: float,
        fresh: bool,
        say: Callable[[Json], None],
        connection: StoreConnection,
    ) -> None:
        self._folder = folder
        self._workdir = workdir
        self._flush_seconds = flush_seconds
        self._say = say
        self._turn = connection.turn
        self._said: tuple[str, str] = ("", "")
        self._wake = threading.Event()
        self._closing = False
        self._begun = time.monotonic()
        self._deadline = 0.0
        self._abandoned = False
        self._busy = False
        self._done = False
        self._fault = ""
        self._denied = False
        self._retry_after = 0.0
        self._delivery = Delivery(
            folder,
            header,
            uri=uri,
            connect=connection.connector(uri, workdir),
            stop=self._stop,
            found=self._announce_run,
            parent_seconds=PARENT_WAIT_SECONDS,
            fresh=fresh,
        )
        self._thread = threading.Thread(target=self._run, name=f"drain-{header.uid[:8]}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def wake(self) -> None:
        self._wake.set()

    def close(self, seconds: float) -> None:
        """Drain the rest for at most `seconds`, then send `closed`."""
        self._deadline = time.monotonic() + seconds
        self._closing = True
        self._wake.set()

    def abandon(self) -> None:
        """Stop as soon as the call in flight returns."""
        self._abandoned = True
        self._wake.set()

    def wait_idle(self, deadline: float) -> None:
        """Wait until an abandoned drain has released its spool."""
        while self._busy and self.alive and (left := deadline - time.monotonic()) > 0:
            self._thread.join(min(left, 0.05))

    def _stop(self) -> bool:
        return self._abandoned or (self._closing and time.monotonic() > self._deadline)

    def _announce_run(self, run_id: str, experiment_id: str) -> None:
        if self._said != (run_id, experiment_id):
            self._said = (run_id, experiment_id)
            self._say({"say": "known", "run_id": run_id, "experiment_id": experiment_id})

    def _run(self) -> None:
        try:
            self._drain()
        finally:
            progress = self._delivery.progress
            answer: Json = {"say": "closed", "done": self._done, "fault": self._fault, "rejected": progress.rejected}
            if not self._done and not self._abandoned:
                with contextlib.suppress(OSError):
                    answer["waiting"] = spool.waiting(self._folder, progress)
            self._say(answer)

    def _drain(self) -> None:
        failures = 0
        while not self._stop():
            closing = self._closing
            self._wake.clear()
            fault = self._attempt()
            failures = 0 if fault is None else failures + 1
            self._report(fault)
            if self._done or (closing and (fault is None or failures >= MAX_FAILURES_AT_CLOSE or self._denied)):
                break
            if fault is None:
                pause = self._flush_seconds
            elif self._closing:
                pause = min(0.25 * 2**failures, 4.0)
            else:
                pause = min(max(self._flush_seconds * 2**failures, self._retry_after), LONGEST_PAUSE)
            self._pause(pause, failing=fault is not None)

    def _attempt(self) -> str | None:
        self._denied, self._retry_after = False, 0.0
        try:
            # takes seconds the first time (the import of MLflow), and touches no spool
            self._delivery.prepare()
            self._wait_before_first_round()
            self._round()
        except StoreFaultError as fault:
            # a wrong password is not corrected within the seconds in which a run ends
            self._denied, self._retry_after = fault.kind == "denied", fault.retry_after
            return fault.reason
        except Exception as error:  # training continues after any error, and the spool holds everything
            reason = f"{type(error).__name__}: {error}"
            if self._fault != reason:
                log_traceback(self._workdir)
            return reason
        return None

    def _wait_before_first_round(self) -> None:
        while not self._closing and not self._stop() and (left := self._begun + FIRST_SECONDS - time.monotonic()) > 0:
            self._wake.wait(left)
            if not self._closing:
                self._wake.clear()

    def _round(self) -> None:
        lock = spool.take_delivery_lock(self._folder, stop=self._stop)
        if lock is None:
            if not self._folder.is_dir():
                raise StoreFaultError("away", f"its spool {self._folder} was deleted")
            if not self._stop():
                raise StoreFaultError("away", "another process is sending it")
            return
        while not self._turn.acquire(timeout=_POLL_SECONDS):
            if self._stop():
                lock.release()
                return
        # set first: if it is unset after `abandon`, no further round will begin
        self._busy = True
        try:
            if not self._abandoned:
                self._delivery.round()
                self._done = self._closing and self._delivery.complete
        finally:
            self._turn.release()
            lock.release()
            self._busy = False

    def _pause(self, seconds: float, *, failing: bool) -> None:
        deadline = time.monotonic() + seconds
        while not self._stop() and (left := deadline - time.monotonic()) > 0:
            if self._closing:
                left = min(left, max(0.0, self._deadline - time.monotonic()) + 0.01)
            if self._wake.wait(left):
                if self._closing or not failing:
                    # while closing, a wake-up is `close` itself and shortens the pause once
                    return
                # new records are no reason to contact a dead server again
                self._wake.clear()

    def _report(self, fault: str | None) -> None:
        if fault is not None and not self._fault:
            _log.warning("%s; training continues, records wait in the spool", fault)
        elif fault is None and self._fault:
            _log.warning("the store answers again; sending the spool")
        if (fault or "") != self._fault:
            self._fault = fault or ""
            self._say({"say": "fault", "fault": self._fault})
