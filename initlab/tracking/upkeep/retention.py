"""Finds stored data that nobody needs any more: artifacts of deleted runs, spools that are delivered completely."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from initlab.tracking.spool import spool
from initlab.tracking.upkeep.sync import folders, spools


def find_deleted_artifacts(file: Path, before: float) -> list[Path]:
    """Artifact folders of runs that were deleted in a SQLite store before a Unix time."""
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


def find_delivered_spools(workdir: Path, before: float) -> list[Path]:
    """Idle spool folders that are delivered completely and were last written to before a Unix time."""
    idle = {s.folder for s in spools(workdir) if not s.live and not s.records and not s.artifacts}
    # a run without an end is left to sync, which ends it as killed
    return [
        f
        for f in folders(workdir)
        if f in idle and spool.end_event(spool.read_events(f)) >= 0 and _last_write(f) < before
    ]


def remove_spool(folder: Path) -> bool:
    """Remove a folder of the spool, unless a process holds its lock."""
    lock = spool.take_lock(folder)
    if lock is None:
        return False
    spool.remove(folder, lock)
    return True


def _last_write(folder: Path) -> float:
    return max((f.stat().st_mtime for f in folder.rglob("*") if f.is_file()), default=folder.stat().st_mtime)
