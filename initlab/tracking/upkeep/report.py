"""Results of `sync`: run by run, as sentences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["sent", "waits", "live"]


@dataclass(frozen=True, kw_only=True)
class SyncResult:
    """Result for one spool. `records` and `artifacts` were sent if `outcome` is sent, else they still wait.

    `study` is the name of the study that the run belongs to; `uri` and `experiment` say where it was sent.
    """

    uid: str
    name: str
    run_id: str
    outcome: Outcome
    status: str
    records: int
    artifacts: int
    reason: str = ""
    study: str = ""
    uri: str = ""
    experiment: str = ""

    def line(self) -> str:
        """Format the outcome as one line."""
        who = f"{self.name} ({self.run_id or self.uid})"
        what = f"{self.records} records, {self.artifacts} artifacts"
        if self.outcome == "live":
            return f"{who}: still running, left alone"
        if self.outcome == "waits":
            return f"{who}: {what} still wait: {self.reason}"
        return f"{who}: {what} sent, ended as {self.status}"


@dataclass(frozen=True, kw_only=True)
class SyncReport:
    """Result of `sync`, run by run. `waiting` is the number of runs that could not be sent."""

    runs: tuple[SyncResult, ...]

    @property
    def waiting(self) -> int:
        return sum(run.outcome == "waits" for run in self.runs)

    def lines(self) -> list[str]:
        return [run.line() for run in self.runs] or ["nothing waits"]
