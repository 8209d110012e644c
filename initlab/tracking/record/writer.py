"""The live end of a run in the training process: has the helper drain the spool, and waits for it at the end."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from filelock import FileLock

from initlab.tracking.deliver.helper import Helper, current, here
from initlab.tracking.spool import spool
from initlab.tracking.spool.spool import Json, SpoolHeader

# the helper stops by itself when the time to drain is over; this is for its answer
GRACE = 0.5


class Writer:
    """One run's side of the helper. Survives its end; gives the spool's lock back in `close`."""

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
        self._number = self._helper.join(self)
        self._helper.send(
            self._number,
            "open",
            folder=str(self._folder.absolute()),
            uri=self._uri,
            workdir=str(self._workdir.absolute()),
            flush_seconds=self._flush_seconds,
            fresh=fresh,
            cwd=here(),
            environ=self._helper.environ_changes(),
        )

    def wake(self) -> None:
        if self._helper is not None:
            self._helper.send(self._number, "wake")

    def discard(self) -> None:
        """Delete the spool of a run that the helper was never told of."""
        spool.remove(self._folder, self._lock)

    def close(self, seconds: float) -> None:
        """Let the helper drain the rest, at most `seconds`; afterwards it stops as soon as its last call returns."""
        self.part(seconds)
        self.settle(seconds)

    def part(self, seconds: float) -> None:
        """Begin to close, without waiting."""
        self._deadline = time.monotonic() + seconds + GRACE
        if self._helper is not None:
            self._helper.send(self._number, "close", seconds=seconds)

    @property
    def ended(self) -> bool:
        """Whether the helper has said its last word on this run."""
        return self._helper is None or self._ended.is_set()

    def settle(self, seconds: float) -> None:
        """Wait for the end of what `part` began, at most `seconds`, and let go of the spool."""
        if self._helper is not None:
            if not self._ended.wait(max(0.0, min(seconds + GRACE, self._deadline - time.monotonic()))):
                self._helper.send(self._number, "abandon")
            self._helper.leave(self._number)
        if self.done:
            try:
                spool.remove(self._folder, self._lock)
            except OSError as error:
                self.done = False
                self.fault = f"everything arrived, but the spool could not be removed ({error.strerror or error})"
        self._lock.release()
        self.known.set()

    def waiting(self) -> tuple[int, int]:
        """How many records and artifacts are not delivered yet."""
        return self._waiting or spool.waiting(self._folder, spool.load_progress(self._folder, self._uri))

    def heard(self, message: Json) -> None:
        """An answer of the helper, in the thread that reads them."""
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

    def lost(self, reason: str) -> None:
        """The helper ended before the run did."""
        self.fault = reason
        self._ended.set()
        self.known.set()
