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
    """Metadata of a run that is known before its first record.

    Attributes:
        inputs: examples of each part of the data.
        layers: names of the parameters whose statistics are metrics.
    """

    name: str
    experiment: str
    params: Mapping[str, Scalar]
    tags: Mapping[str, str]
    dataset: Provenance | None
    start_ms: int
    inputs: Mapping[str, int] = field(default_factory=dict)
    layers: tuple[str, ...] = ()


class Sink(Protocol):
    """Receives the records of a run. Every call returns at once; no server failure stops or slows training."""

    @property
    def run_id(self) -> str: ...

    def write(self, record: Record) -> None: ...

    def tag(self, tags: Mapping[str, str]) -> None: ...

    def artifact(self, path: Path, folder: str = "") -> None:
        """Stores the file `path` under `folder` of the run's artifacts; the file is copied or moved into the spool."""
        ...

    def close(self, status: RunStatus) -> str:
        """Ends the run in the tracker; returns a sentence for the user where something stayed in the spool."""
        ...


RecordStream = Iterator[Record]
