"""What a SQLite store in a directory needs that a server looks after itself."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Any


def has_tables(file: Path) -> bool:
    with contextlib.closing(sqlite3.connect(file, timeout=20)) as database:
        return bool(database.execute("SELECT 1 FROM sqlite_master WHERE name = 'runs'").fetchone())


def renew(client: Any, uri: str) -> None:
    """Make the tables again. MLflow keeps its connections for the life of a process, also those to a deleted file."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    store = client._tracking_client.store
    store.engine.dispose()
    SqlAlchemyStore(uri, store.artifact_root_uri)


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
