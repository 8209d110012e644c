"""What the record keeps that nobody needs any more: artifacts of deleted runs, spools of which everything arrived."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from initlab.tracking.spool import spool
from initlab.tracking.upkeep.sync import folders, spools


def deleted_runs(file: Path, before: float) -> list[Path]:
    """Folders of the artifacts of runs that were deleted in a SQLite store before a Unix time."""
    with contextlib.closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=30)) as database:
        try:
            rows = database.execute(
                "SELECT artifact_uri FROM runs WHERE lifecycle_stage = 'deleted' AND COALESCE(deleted_time, 0) < ?",
                (int(before * 1000),),
            ).fetchall()
        except sqlite3.OperationalError:
            return []  # no tables yet
    places = (Path(str(uri).removeprefix("file://")) for (uri,) in rows if uri and "://" not in str(uri)[5:])
    return [p.parent if p.name == "artifacts" else p for p in places]


def delivered(workdir: Path, before: float) -> list[Path]:
    """Folders of the spool that nobody uses, of which nothing waits, and that nobody wrote to since a Unix time."""
    idle = {s.folder for s in spools(workdir) if not s.live and not s.records and not s.artifacts}
    # a run that nobody ended is for sync, which ends it as killed
    return [
        f for f in folders(workdir) if f in idle and spool.end_event(spool.read_events(f)) >= 0 and _last(f) < before
    ]


def remove_delivered(folder: Path) -> bool:
    """Remove a folder of the spool, unless somebody holds it."""
    lock = spool.take_lock(folder)
    if lock is None:
        return False
    spool.remove(folder, lock)
    return True


def _last(folder: Path) -> float:
    return max((f.stat().st_mtime for f in folder.rglob("*") if f.is_file()), default=folder.stat().st_mtime)
