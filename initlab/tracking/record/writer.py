"""Connects one run of the training process with the helper: starts the delivery, waits for it at the end."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from filelock import FileLock

from initlab.core.exchange import PATIENCE, say_waiting
from initlab.tracking.deliver.helper import Helper, current, current_directory
from initlab.tracking.spool import spool
from initlab.tracking.spool.spool import Json, SpoolHeader
from initlab.tracking.store.location import describe_location, sqlite_file

# the helper stops by itself when the time to drain is over; this is the extra time for its answer
GRACE = 0.5


class Writer:
    """One run's connection to the helper; survives the end of the helper. `close` releases the lock of the spool."""

    def __init__(
        self, folder: Path, header: SpoolHeader, *, lock: FileLock, uri: str, workdir: Path, flush_seconds: float
    ) -> None:
        self._folder = folder
        self._lock = lock
        self._uri = uri
        self._workdir = workdir
        self._flush_seconds = flush_seconds
        self._helper: Helper | None = None
        self._number = 0
        self._ended = threading.Event()
        self._deadline = 0.0
        self._waiting: tuple[int, int] | None = None
        self.known = threading.Event()
        self.run_id = spool.load_progress(folder, uri).run_id or header.adopted
        self.experiment_id = ""
        self.fault = ""
        self.rejected = 0
        self.done = False

    def start(self, *, fresh: bool) -> None:
        self._helper = current()
        self._number = self._helper.register(self)
        self._helper.send(
            self._number,
            "open",
            folder=str(self._folder.absolute()),
            uri=self._uri,
            workdir=str(self._workdir.absolute()),
            flush_seconds=self._flush_seconds,
            fresh=fresh,
            cwd=current_directory(),
            environ=self._helper.environ_changes(),
        )

    def lock_again(self) -> None:
        """Take the lock of a spool whose folder was made again. Raises OSError where another process has it."""
        self._lock.release()
        lock = spool.take_lock(self._folder)
        if lock is None:
            raise OSError("another process took its place")
        self._lock = lock

    def revive(self) -> None:
        """Start the delivery again where the helper gave it up: it was to begin while the spool was not there."""
        if self._helper is not None and self._ended.is_set() and not self._helper.lost_reason:
            self._helper.unregister(self._number)
            self._ended.clear()
            self.start(fresh=False)

    def wake(self) -> None:
        if self._helper is not None:
            self._helper.send(self._number, "wake")

    def discard(self) -> None:
        """Delete the spool of a run that was never sent to the helper."""
        spool.remove(self._folder, self._lock)

    def close(self, seconds: float) -> None:
        """Let the helper drain the rest, at most `seconds`; afterwards it stops as soon as its last call returns."""
        self.begin_close(seconds)
        self.wait_closed(seconds)

    def begin_close(self, seconds: float) -> None:
        """Begin to close, without waiting."""
        self.revive()
        self._deadline = time.monotonic() + seconds + GRACE
        if self._helper is not None:
            self._helper.send(self._number, "close", seconds=seconds)

    @property
    def is_closed(self) -> bool:
        """Whether the helper has sent its last message about this run."""
        return self._helper is None or self._ended.is_set()

    def wait_closed(self, seconds: float) -> None:
        """Wait at most `seconds` for the end of `begin_close`, and release the spool."""
        if self._helper is not None:
            if not self._wait_end(max(0.0, min(seconds + GRACE, self._deadline - time.monotonic()))):
                self._helper.send(self._number, "abandon")
            self._helper.unregister(self._number)
        if self.done:
            try:
                spool.remove(self._folder, self._lock)
            except OSError as error:
                self.done = False
                self.fault = f"everything arrived, but the spool could not be removed ({error.strerror or error})"
        self._lock.release()
        self.known.set()

    def _wait_end(self, seconds: float) -> bool:
        # a file needs no more than the import of MLflow, which is no peer
        if sqlite_file(self._uri) is None and seconds > PATIENCE:
            if self._ended.wait(PATIENCE):
                return True
            say_waiting(describe_location(self._uri), seconds)
            seconds -= PATIENCE
        return self._ended.wait(seconds)

    def waiting(self) -> tuple[int, int]:
        """Numbers of records and artifacts that are not delivered yet."""
        return self._waiting or spool.waiting(self._folder, spool.load_progress(self._folder, self._uri))

    def on_message(self, message: Json) -> None:
        """Handle an answer of the helper; called in the thread that reads them."""
        if message["say"] == "known":
            self.run_id, self.experiment_id = str(message["run_id"]), str(message["experiment_id"])
            self.known.set()
        elif message["say"] == "fault":
            self.fault = str(message["fault"])
        elif message["say"] == "closed":
            self.fault = str(message.get("fault", ""))
            self.rejected = int(message.get("rejected", 0))
            if (waiting := message.get("waiting")) is not None:
                self._waiting = (int(waiting[0]), int(waiting[1]))
            self.done = bool(message.get("done", False))
            self._ended.set()
            self.known.set()

    def on_helper_lost(self, reason: str) -> None:
        """The helper ended before the run did."""
        self.fault = reason
        self._ended.set()
        self.known.set()
