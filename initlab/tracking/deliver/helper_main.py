"""Main program of the helper process, started by `deliver.helper`: python -m initlab.tracking.deliver.helper_main"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path

from initlab.core.redact import redact_passwords
from initlab.errors import StoreError
from initlab.tracking.deliver.drain import SpoolDrain, StoreConnection, log_traceback
from initlab.tracking.spool import spool
from initlab.tracking.spool.spool import Json
from initlab.tracking.store.connection import load_library

# for the batches in flight when the training process has ended; shorter than the time that `sync` waits for them
LAST_SECONDS = 8.0


def main() -> None:
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        # a batch system may signal every process of a job: this one has to end after the training, not before it
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    incoming, outgoing = _private_pipes()
    dispatcher = Dispatcher(outgoing)
    logger = logging.getLogger("initlab.tracking")
    logger.addHandler(ForwardHandler(dispatcher))
    logger.propagate = False
    with os.fdopen(incoming, "rb") as lines:
        for line in lines:
            dispatcher.handle(json.loads(line))
    dispatcher.finish()
    sys.stdout.flush()
    # exit at once: threads may still wait for a server, and the spool is consistent at any moment
    os._exit(0)


def _private_pipes() -> tuple[int, int]:
    """Move the two pipes to other descriptors: what a library prints or reads must not mix with the messages."""
    incoming, outgoing = os.dup(0), os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    return incoming, outgoing


class ForwardHandler(logging.Handler):
    """Forwards log records to the training process, which has the terminal and the user's handlers."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        super().__init__(logging.WARNING)
        self._dispatcher = dispatcher

    def emit(self, record: logging.LogRecord) -> None:
        self._dispatcher.say(0, {"say": "log", "level": record.levelno, "text": redact_passwords(record.getMessage())})


class Dispatcher:
    """Handles messages of the training process; holds one `SpoolDrain` for each open run."""

    def __init__(self, outgoing: int) -> None:
        self._outgoing = outgoing
        self._lock = threading.Lock()
        self._drains: dict[int, SpoolDrain] = {}
        self._connections: dict[str, StoreConnection] = {}

    def say(self, run: int, message: Json) -> None:
        line = json.dumps({"run": run, **message}).encode() + b"\n"
        # without a parent process nobody reads this; the end of the input reports that too
        with self._lock, contextlib.suppress(OSError):
            while line:
                line = line[os.write(self._outgoing, line) :]

    def handle(self, message: Json) -> None:
        run, do = int(message["run"]), message["do"]
        if do == "load":
            # what is wrong with MLflow is said when a run needs it
            with contextlib.suppress(Exception):
                load_library(message["uri"])
            return
        if do == "open":
            try:
                self._open(run, message)
            except (StoreError, OSError) as error:
                log_traceback(Path(message["workdir"]))
                self.say(run, {"say": "closed", "fault": str(error)})
            return
        drain = self._drains.get(run)
        if drain is None:
            return
        if do == "wake":
            drain.wake()
        elif do == "close":
            drain.close(float(message["seconds"]))
        elif do == "abandon":
            drain.abandon()

    def _open(self, run: int, message: Json) -> None:
        self._drains = {number: drain for number, drain in self._drains.items() if drain.alive}
        # messages name files relative to the current directory of the training process
        with contextlib.suppress(OSError):
            os.chdir(message["cwd"])
        for key, value in message["environ"].items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value
        folder = Path(message["folder"])
        drain = SpoolDrain(
            folder,
            spool.load_header(folder),
            uri=message["uri"],
            workdir=Path(message["workdir"]),
            flush_seconds=float(message["flush_seconds"]),
            fresh=bool(message["fresh"]),
            say=lambda answer: self.say(run, answer),
            connection=self._connections.setdefault(message["uri"], StoreConnection()),
        )
        self._drains[run] = drain
        drain.start()

    def finish(self) -> None:
        """After the end of the training process: start nothing new, wait for the batches in flight."""
        for drain in self._drains.values():
            drain.abandon()
        deadline = time.monotonic() + LAST_SECONDS
        for drain in self._drains.values():
            drain.wait_idle(deadline)


if __name__ == "__main__":
    main()
