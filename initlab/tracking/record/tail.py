"""Runs that ended and whose records are still under way: a process that goes from run to run waits for none of them."""

from __future__ import annotations

import time
from collections import deque

from initlab.spec import RunStatus
from initlab.tracking.record.null import NullSink
from initlab.tracking.record.sink import RunSink

#: runs that may be under way at a time; a store that is slower than the training is waited for then
MOST = 64


class Tail:
    """Closes sinks without waiting. Whoever makes one settles it before the process ends; `sync` sends what is left."""

    def __init__(self) -> None:
        self._sinks: deque[RunSink] = deque()

    def close(self, sink: RunSink | NullSink, status: RunStatus) -> None:
        """End the run of `sink` as `status`; its records arrive while the caller goes on."""
        if isinstance(sink, NullSink):
            return
        sink.part(status)
        self._sinks.append(sink)
        while self._sinks and (self._sinks[0].ended or len(self._sinks) > MOST):
            first = self._sinks.popleft()
            first.settle(first.drain_seconds)

    def settle(self, seconds: float) -> tuple[str, ...]:
        """Wait for all, at most `seconds` together; what waits still, a sentence a run."""
        deadline = time.monotonic() + seconds
        told: list[str] = []
        while self._sinks:
            told.append(self._sinks.popleft().settle(max(0.0, deadline - time.monotonic())))
        return tuple(t for t in told if t)
