"""Types of tracking: the header of a run, and the `Sink` that records are written to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from initlab.spec.data import Provenance
from initlab.spec.profile import Record
from initlab.spec.ranges import Scalar
from initlab.spec.results import RunStatus


@dataclass(frozen=True, kw_only=True)
class RunHeader:
    """What is known of a run before its first record."""

    name: str
    experiment: str
    params: Mapping[str, Scalar]
    tags: Mapping[str, str]
    dataset: Provenance | None
    start_ms: int
    inputs: Mapping[str, int] = field(default_factory=dict)


class Sink(Protocol):
    """Where records go. Every call returns at once; nothing that a server does stops or slows training."""

    @property
    def run_id(self) -> str: ...

    def write(self, record: Record) -> None: ...

    def tag(self, tags: Mapping[str, str]) -> None: ...

    def artifact(self, path: Path, folder: str = "") -> None:
        """Keep the file `path` under `folder` of the run's artifacts. The file is copied or moved into the spool."""
        ...

    def close(self, status: RunStatus) -> str:
        """End the run in the tracker; returns a sentence for the user where something stayed in the spool."""
        ...


RecordStream = Iterator[Record]
