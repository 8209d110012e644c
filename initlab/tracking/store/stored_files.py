"""Brings the files of runs in a store on this machine onto the disk: MLflow copies them, and syncs nothing."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from initlab.core.durable import sync_file, sync_folder


class StoredFiles:
    """The files of the runs in the SQLite store `database`, whose folders are below `root`."""

    def __init__(self, database: Path, root: Path) -> None:
        self._database, self._root = database, root
        #: where the files of the latest run are
        self._run: tuple[str, Path | None] = ("", None)
        #: folders that lead to runs, and whose names are on the disk
        self._synced: set[Path] = set()

    def sync(self, run_id: str, name: Path) -> None:
        """Wait until the file `name` of a run is on the disk, where it is on this machine."""
        if self._run[0] != run_id:
            self._run = run_id, _artifact_folder(self._database, run_id)
        root = self._run[1]
        place = None if root is None else root / name
        if place is None or not place.is_file():
            return  # somewhere else: that is up to who keeps it
        sync_file(place)
        for parent in place.parents:
            with contextlib.suppress(PermissionError):
                sync_folder(parent)
            if parent in self._synced or parent == self._root.parent:
                break
            if parent not in (place.parent, root):
                self._synced.add(parent)  # files are added to the others


def _artifact_folder(file: Path, run_id: str) -> Path | None:
    """The folder of a run's files, where that is on this machine."""
    with contextlib.closing(sqlite3.connect(file, timeout=20)) as database:
        found = database.execute("SELECT artifact_uri FROM runs WHERE run_uuid = ?", (run_id,)).fetchone()
    uri = str(found[0] if found else "").removeprefix("file://")
    return Path(uri) if uri.startswith("/") else None
