"""Stores of runs that nobody trained, written with plain SQL: what a comparison reads, and nothing else."""

from __future__ import annotations

import contextlib
import sqlite3
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from initlab.tracking.store.client import connect


@dataclass(kw_only=True)
class Made:
    """A run to be written. `curve` is of val/accuracy, and its end the last value of it."""

    seed: int
    params: Mapping[str, str]
    metrics: Mapping[str, float] = field(default_factory=dict[str, float])
    curve: Sequence[float] = ()
    status: str = "finished"
    tags: Mapping[str, str] = field(default_factory=dict[str, str])
    start_ms: int = 1_700_000_000_000


_MLFLOW = {"finished": "FINISHED", "diverged": "FINISHED", "stopped": "FINISHED", "killed": "KILLED"}
_MLFLOW |= {"failed": "FAILED", "running": "RUNNING"}
_COLUMNS = {
    "runs": "(run_uuid, name, status, experiment_id, start_time, end_time, lifecycle_stage, artifact_uri,"
    " user_id, source_type)",
    "metrics": "(key, value, timestamp, run_uuid, step, is_nan)",
    "latest_metrics": "(key, value, timestamp, step, is_nan, run_uuid)",
}
#: updates between two points of a curve
EVERY = 10


def empty(folder: Path) -> Path:
    """A store without runs, with the experiment `initlab`; its file."""
    connect(f"sqlite:///{folder}/mlflow.db", workdir=folder).experiment("initlab")
    return folder / "mlflow.db"


def write(
    file: Path, runs: Sequence[Made], *, study: str = "", metric: str = "val/accuracy", space: str = "init"
) -> None:
    """Add the runs, as the children of a study where one is named."""
    parent = uuid.uuid4().hex
    tables: dict[str, list[tuple[object, ...]]] = {
        k: [] for k in ("runs", "params", "tags", "latest_metrics", "metrics")
    }
    with contextlib.closing(sqlite3.connect(file)) as database, database:
        (number,) = database.execute("SELECT experiment_id FROM experiments WHERE name = 'initlab'").fetchone()
        if study:
            _run(tables, parent, study, "FINISHED", number, start=1_699_999_999_000)
            keys = {"study": study, "metric": metric, "tune_lr": "false"}
            keys |= {f"space.{k}": "{}" for k in space.split()}
            tables["params"] += [(k, v, parent) for k, v in keys.items()]
            tables["tags"] += [("initlab.kind", "study", parent), ("initlab.study", study, parent)]
        for made in runs:
            run_id = uuid.uuid4().hex
            _run(tables, run_id, f"run-{made.seed}", _MLFLOW[made.status], number, start=made.start_ms)
            arm = "-".join(f"{v}" for _, v in sorted(made.params.items()))
            tags = {"initlab.kind": "train", "initlab.arm": arm, "seed": str(made.seed), "initlab.status": made.status}
            tags |= {"initlab.study": study, "mlflow.parentRunId": parent} if study else {}
            tables["tags"] += [(k, v, run_id) for k, v in {**tags, **made.tags}.items()]
            tables["params"] += [(k, v, run_id) for k, v in {"task": "image", "data": "digits", **made.params}.items()]
            last = {"val/accuracy": made.curve[-1], **made.metrics} if made.curve else dict(made.metrics)
            tables["latest_metrics"] += [(k, v, 0, 0, 0, run_id) for k, v in last.items()]
            tables["metrics"] += [
                ("val/accuracy", v, EVERY * i, run_id, EVERY * i, 0) for i, v in enumerate(made.curve)
            ]
        for table, rows in tables.items():
            if rows:
                marks = ",".join("?" * len(rows[0]))
                names = _COLUMNS.get(table, "(key, value, run_uuid)")
                database.executemany(f"INSERT INTO {table} {names} VALUES ({marks})", rows)


def _run(tables: dict[str, list[tuple[object, ...]]], run_id: str, *told: object, start: int) -> None:
    """`told` are name, status and experiment."""
    tables["tags"].append(("mlflow.runName", told[0], run_id))
    tables["runs"].append((run_id, *told, start, start + 1000, "active", "", "me", "LOCAL"))


def grid(
    values: Mapping[tuple[str, str], Sequence[float]], *, start: float = 0.1, status: str = "finished"
) -> list[Made]:
    """A run for each value of (init, activation) → values by seed, its curve a straight line from `start`."""
    return [
        Made(
            seed=seed, params={"init": init, "activation": activation}, curve=(start, (start + value) / 2, value),
            metrics={"val/loss": 1 - value}, status=status,
        )
        for (init, activation), own in values.items()
        for seed, value in enumerate(own)
    ]  # fmt: skip
