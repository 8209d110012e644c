"""Narrators: callbacks that report a run's progress to a person. The default prints nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, runtime_checkable

from initlab.run.prepare import Prepared
from initlab.spec import Experiment, Outlook, Record, RunResult


class Narrator(Protocol):
    """Receives the events of a run: its start, each record, its end."""

    def started(self, experiment: Experiment, prepared: Prepared, run_id: str, folder: Path | None) -> None: ...
    def record(self, record: Record, total: int) -> None: ...
    def finished(self, experiment: Experiment, result: RunResult, uri: str) -> None: ...


@runtime_checkable
class Foreseeing(Protocol):
    """A narrator that also receives the prediction made before the first update."""

    def foreseen(self, outlook: Outlook) -> None: ...


class Silent:
    """A narrator that prints nothing."""

    def started(self, experiment: Experiment, prepared: Prepared, run_id: str, folder: Path | None) -> None:
        del experiment, prepared, run_id, folder

    def record(self, record: Record, total: int) -> None:
        del record, total

    def finished(self, experiment: Experiment, result: RunResult, uri: str) -> None:
        del experiment, result, uri
