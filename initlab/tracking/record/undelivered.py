"""What is said at the end of a run about records that have not arrived in its store."""

from __future__ import annotations

from pathlib import Path

from initlab.tracking.record.writer import Writer
from initlab.tracking.spool import spool
from initlab.tracking.store.location import describe_location


def undelivered(folder: Path, writer: Writer, *, uri: str, offline: bool, lost: str, unnoted: str) -> str:
    """A sentence about what waits, was refused or is lost; empty where all of it has arrived.

    Args:
        folder: the run's spool.
        writer: its connection to the helper, at its end.
        uri: the store.
        offline: whether the run was to be kept here.
        lost: why records cannot be kept any more; empty where they can.
        unnoted: why the end of the run could not be noted; empty where it was.
    """
    place = describe_location(uri)
    if writer.done:
        refused = writer.rejected
        if not refused:
            return ""
        return f"tracking: {place} refused {count(refused, 'value')}; they are in {shown(spool.rejected_file(folder))}"
    if lost or not (folder / spool.HEADER).exists():
        reason = lost or f"{shown(folder)} was deleted while the run was recorded"
        return f"tracking: {reason}; what had not arrived in {place} is lost"
    records, artifacts = writer.waiting()
    reason = unnoted or writer.fault or ("offline" if offline else f"{place} took too long")
    what = f"{count(records, 'record')} and {count(artifacts, 'artifact')} wait"
    if not records and not artifacts:
        what = "the end of the run waits"
    return f"tracking: {reason}; {what} in {shown(folder)}; python -m initlab sync sends them"


def shown(path: Path) -> str:
    """`path` as it is typed here."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def count(number: int, noun: str) -> str:
    """``1 record``, ``2 records``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
