"""Runs that have ended while their records are still being delivered; the process goes on to the next run meanwhile."""

from __future__ import annotations

import time
from collections import deque

from initlab.spec import RunStatus
from initlab.tracking.record.null import NullSink
from initlab.tracking.record.sink import RunSink

#: number of closing runs at a time; beyond it the process waits, since the store is slower than the training
MAX_CLOSING = 64


class ClosingRuns:
    """Closes sinks without waiting. Call `wait_closed` before the process ends; `sync` sends what is left then."""

    def __init__(self) -> None:
        self._sinks: deque[RunSink] = deque()

    def close(self, sink: RunSink | NullSink, status: RunStatus) -> None:
        """End the run of `sink` as `status`; its records are delivered in the background."""
        if isinstance(sink, NullSink):
            return
        sink.begin_close(status)
        self._sinks.append(sink)
        while self._sinks and (self._sinks[0].is_closed or len(self._sinks) > MAX_CLOSING):
            first = self._sinks.popleft()
            first.wait_closed(first.drain_seconds)

    def wait_closed(self, seconds: float) -> tuple[str, ...]:
        """Wait for all runs, at most `seconds` together; returns one sentence for each run with undelivered records."""
        deadline = time.monotonic() + seconds
        told: list[str] = []
        while self._sinks:
            told.append(self._sinks.popleft().wait_closed(max(0.0, deadline - time.monotonic())))
        return tuple(t for t in told if t)
