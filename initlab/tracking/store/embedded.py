"""Maintenance of an embedded SQLite store: creation, artifact locations after a move, stale connections."""

from __future__ import annotations

import contextlib
import sqlite3
import uuid
from pathlib import Path
from typing import Any

from initlab.core import durable
from initlab.tracking.store.quiet import silence_mlflow


def has_tables(file: Path) -> bool:
    if not file.exists():
        return False
    with contextlib.closing(sqlite3.connect(file, timeout=20)) as database:
        return bool(database.execute("SELECT 1 FROM sqlite_master WHERE name = 'runs'").fetchone())


def create(file: Path) -> None:
    """Create a new store at `file`, completely or not at all.

    MLflow builds its tables by dozens of migrations; a full disk or a kill among them leaves a database that no later
    run could use. So it is built beside its place and moved there once it is complete.
    """
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    for left in file.parent.glob(f".{file.name}.*.new*"):  # of a killed process; the lock is ours now
        left.unlink(missing_ok=True)
    # a new name for every attempt: MLflow would reuse its connection to a deleted file
    scratch = file.with_name(f".{file.name}.{uuid.uuid4().hex[:8]}.new")
    try:
        with silence_mlflow():
            store = SqlAlchemyStore(f"sqlite:///{scratch}", str(file.parent / "mlruns"))
        store.engine.dispose()
        durable.replace(scratch, file)
    finally:
        _remove(scratch)


def _remove(file: Path) -> None:
    for suffix in ("", "-journal", "-wal", "-shm"):
        file.with_name(file.name + suffix).unlink(missing_ok=True)


def forget_connections(client: Any) -> None:
    """Drop MLflow's cached connections: they outlive a file that was deleted and created again."""
    client._tracking_client.store.engine.dispose()


def set_artifact_uri(file: Path, run_id: str, location: str) -> None:
    with contextlib.closing(sqlite3.connect(file, timeout=20)) as database, database:
        database.execute("UPDATE runs SET artifact_uri = ? WHERE run_uuid = ?", (location, run_id))


def relocate_artifacts(file: Path) -> None:
    """Point artifact locations at the `mlruns` beside the database `file`, where that directory was moved or copied.

    MLflow keeps absolute paths. A location that ends in `mlruns/...`, lies elsewhere, and exists beside `file` (or
    no longer exists where it was) is corrected; any other location was chosen on purpose and stays.
    """
    root = file.parent / "mlruns"
    with contextlib.closing(sqlite3.connect(file, timeout=20)) as database, database:
        for table, column, key in (
            ("experiments", "artifact_location", "experiment_id"),
            ("runs", "artifact_uri", "run_uuid"),
            ("logged_models", "artifact_location", "model_id"),
        ):
            if not database.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone():
                continue  # a store of an older MLflow
            rows: list[tuple[Any, str]] = database.execute(
                f"SELECT {key}, {column} FROM {table} WHERE {column} LIKE '%/mlruns/%' AND {column} NOT LIKE ? || '/%'",
                (str(root),),
            ).fetchall()
            for row_id, location in rows:
                before, _, tail = location.rpartition("/mlruns/")
                if "://" in before or not before.startswith("/"):
                    continue
                if (root / tail).exists() or not (Path(before) / "mlruns").exists():
                    database.execute(f"UPDATE {table} SET {column} = ? WHERE {key} = ?", (f"{root}/{tail}", row_id))


def link_datasets(file: Path, study: str, parent: str) -> bool:
    """Give the run `parent` the data sets of the training runs of `study`, as inputs; what it has is left.

    Returns:
        False where the tables are not those that are known: of another version of MLflow.
    """
    # of each data set one input, with its tags
    asked = """
        SELECT min(i.input_uuid), i.source_id FROM inputs i
        JOIN tags s ON s.run_uuid = i.destination_id AND s.key = 'initlab.study' AND s.value = ?
        JOIN tags k ON k.run_uuid = i.destination_id AND k.key = 'initlab.kind' AND k.value = 'train'
        WHERE i.source_type = 'DATASET' AND i.destination_type = 'RUN' AND NOT EXISTS (
            SELECT 1 FROM inputs o WHERE o.source_type = 'DATASET' AND o.source_id = i.source_id
            AND o.destination_type = 'RUN' AND o.destination_id = ?)
        GROUP BY i.source_id"""
    try:
        with contextlib.closing(sqlite3.connect(file, timeout=20)) as database, database:
            for like, source in database.execute(asked, (study, parent)).fetchall():
                own = uuid.uuid4().hex
                database.execute(
                    "INSERT INTO inputs (input_uuid, source_type, source_id, destination_type, destination_id)"
                    " VALUES (?, 'DATASET', ?, 'RUN', ?)",
                    (own, source, parent),
                )
                database.execute(
                    "INSERT INTO input_tags (input_uuid, name, value) SELECT ?, name, value FROM input_tags"
                    " WHERE input_uuid = ?",
                    (own, like),
                )
    except sqlite3.OperationalError as error:
        if "no such" not in str(error):
            raise
        return False
    return True
