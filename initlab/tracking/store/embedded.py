"""What a SQLite store in a directory needs that a server looks after itself."""

from __future__ import annotations

import contextlib
import sqlite3
import uuid
from pathlib import Path
from typing import Any

from initlab.tracking.store.quiet import quietly


def has_tables(file: Path) -> bool:
    if not file.exists():
        return False
    with contextlib.closing(sqlite3.connect(file, timeout=20)) as database:
        return bool(database.execute("SELECT 1 FROM sqlite_master WHERE name = 'runs'").fetchone())


def create(file: Path) -> None:
    """Make a new store at `file`, whole or not at all.

    MLflow builds its tables by dozens of migrations; a full disk or a kill among them leaves a database that no later
    run could use. So it is built beside its place and moved there once it is complete.
    """
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    for left in file.parent.glob(f".{file.name}.*.new*"):  # of a process that was killed here; the lock is ours now
        left.unlink(missing_ok=True)
    # a name of its own for every attempt: MLflow would go on with its connection to a file that is deleted
    scratch = file.with_name(f".{file.name}.{uuid.uuid4().hex[:8]}.new")
    try:
        with quietly():
            store = SqlAlchemyStore(f"sqlite:///{scratch}", str(file.parent / "mlruns"))
        store.engine.dispose()
        scratch.replace(file)
    finally:
        _remove(scratch)


def _remove(file: Path) -> None:
    for suffix in ("", "-journal", "-wal", "-shm"):
        file.with_name(file.name + suffix).unlink(missing_ok=True)


def forget_connections(client: Any) -> None:
    """MLflow keeps its connections for the life of a process, also those to a file that was deleted and made anew."""
    client._tracking_client.store.engine.dispose()


def set_artifact_uri(file: Path, run_id: str, location: str) -> None:
    with contextlib.closing(sqlite3.connect(file, timeout=20)) as database, database:
        database.execute("UPDATE runs SET artifact_uri = ? WHERE run_uuid = ?", (location, run_id))


def rehome(file: Path) -> None:
    """Point artifact locations at the `mlruns` beside the database `file`, where that directory was moved or copied.

    MLflow keeps absolute paths. A location that ends in `mlruns/...`, lies elsewhere, and exists beside `file` (or
    no longer exists where it was) is corrected; any other location is somebody's choice and stays.
    """
    root = file.parent / "mlruns"
    with contextlib.closing(sqlite3.connect(file, timeout=20)) as database, database:
        for table, column, key in (
            ("experiments", "artifact_location", "experiment_id"),
            ("runs", "artifact_uri", "run_uuid"),
        ):
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
