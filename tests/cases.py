"""Small real experiments that several tests start from."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from initlab import config
from initlab.run.prepare import Prepared
from initlab.run.train import run
from initlab.spec import Experiment, Record, RunResult

QUICK = ("data=digits", "model=mlp", "model.width=32", "trainer.epochs=2", "tracking.report=false")


def experiment(*overrides: str) -> Experiment:
    return config.experiment(config.compose(list(overrides)), overrides=overrides)


@dataclass
class Recorder:
    """A narrator that keeps what it is told."""

    records: list[Record] = field(default_factory=list)
    results: list[RunResult] = field(default_factory=list)
    folder: Path | None = None

    def started(self, experiment: Experiment, prepared: Prepared, run_id: str, folder: Path | None) -> None:
        self.prepared = prepared
        self.folder = folder

    def record(self, record: Record, total: int) -> None:
        self.records.append(record)

    def finished(self, experiment: Experiment, result: RunResult, uri: str) -> None:
        self.results.append(result)


def untracked(*overrides: str) -> tuple[RunResult, Recorder]:
    """Train without a tracker; the result, and the recorder with the trained model."""
    recorder = Recorder()
    return run(experiment(*overrides, "tracking=none"), narrator=recorder), recorder
