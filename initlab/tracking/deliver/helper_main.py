"""The helper process itself: `python -m initlab.tracking.deliver.helper_main`, started and fed by `tracking.helper`."""

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

from initlab.errors import StoreError
from initlab.tracking.deliver.drain import Courier, Line, keep_traceback
from initlab.tracking.spool import spool
from initlab.tracking.spool.spool import Json

# for the batches in flight when the training process has ended; less than `sync` waits for them
LAST_SECONDS = 8.0


def main() -> None:
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        # a batch system may signal every process of a job: this one ends after the training, not before it
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    incoming, outgoing = _private_pipes()
    desk = Desk(outgoing)
    logger = logging.getLogger("initlab.tracking")
    logger.addHandler(Forward(desk))
    logger.propagate = False
    with os.fdopen(incoming, "rb") as lines:
        for line in lines:
            desk.take(json.loads(line))
    desk.leave()
    sys.stdout.flush()
    # no tidy end: threads may still wait for a server, and the spool is safe at any moment
    os._exit(0)


def _private_pipes() -> tuple[int, int]:
    """The two pipes under other numbers: what a library prints or asks must not end up between the messages."""
    incoming, outgoing = os.dup(0), os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    return incoming, outgoing


class Forward(logging.Handler):
    """Hands log lines to the training process, whose terminal and handlers they are meant for."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(logging.WARNING)
        self._desk = desk

    def emit(self, record: logging.LogRecord) -> None:
        self._desk.say(0, {"say": "log", "level": record.levelno, "text": record.getMessage()})


class Desk:
    """Takes messages and has one courier for each open run."""

    def __init__(self, outgoing: int) -> None:
        self._outgoing = outgoing
        self._lock = threading.Lock()
        self._couriers: dict[int, Courier] = {}
        self._lines: dict[str, Line] = {}

    def say(self, run: int, message: Json) -> None:
        line = json.dumps({"run": run, **message}).encode() + b"\n"
        # without a parent there is nobody to tell; the end of the input says so too
        with self._lock, contextlib.suppress(OSError):
            while line:
                line = line[os.write(self._outgoing, line) :]

    def take(self, message: Json) -> None:
        run, do = int(message["run"]), message["do"]
        if do == "open":
            try:
                self._open(run, message)
            except (StoreError, OSError) as error:
                keep_traceback(Path(message["workdir"]))
                self.say(run, {"say": "closed", "fault": str(error)})
            return
        courier = self._couriers.get(run)
        if courier is None:
            return
        if do == "wake":
            courier.wake()
        elif do == "close":
            courier.close(float(message["seconds"]))
        elif do == "abandon":
            courier.abandon()

    def _open(self, run: int, message: Json) -> None:
        self._couriers = {number: courier for number, courier in self._couriers.items() if courier.alive}
        # messages name files relative to where the person is
        with contextlib.suppress(OSError):
            os.chdir(message["cwd"])
        for key, value in message["environ"].items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value
        folder = Path(message["folder"])
        courier = Courier(
            folder,
            spool.load_header(folder),
            uri=message["uri"],
            workdir=Path(message["workdir"]),
            flush_seconds=float(message["flush_seconds"]),
            fresh=bool(message["fresh"]),
            say=lambda answer: self.say(run, answer),
            line=self._lines.setdefault(message["uri"], Line()),
        )
        self._couriers[run] = courier
        courier.start()

    def leave(self) -> None:
        """The training process has ended: finish nothing, but let the batches in flight arrive."""
        for courier in self._couriers.values():
            courier.abandon()
        deadline = time.monotonic() + LAST_SECONDS
        for courier in self._couriers.values():
            courier.settle(deadline)


if __name__ == "__main__":
    main()
