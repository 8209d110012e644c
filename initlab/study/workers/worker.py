"""Worker interface of an engine: the function that starts a worker, and the worker as its leader sees it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Worker(Protocol):
    """A worker as its leader sees it."""

    @property
    def known_as(self) -> tuple[int, str] | None:
        """Process id and machine, as in the trials that it takes; None where it has not started."""
        ...

    @property
    def log(self) -> str:
        """Path of its log."""
        ...

    def ended(self) -> str | None:
        """Why it ended ("" without an error); None while it runs."""
        ...

    def ask(self) -> None:
        """Ask it to end after the current update."""
        ...

    def kill(self) -> None: ...


#: starts the worker with a number
StartWorker = Callable[[int], Worker]
