"""Finds what `gc` may delete. Live runs, unfinished studies and unsent spools are never candidates."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge

from initlab import tracking
from initlab.errors import InitlabError
from initlab.operations.gc import losing_checkpoints
from initlab.spec import TrackingSettings
from initlab.tracking.store.location import sqlite_file
from initlab.tracking.upkeep.retention import find_deleted_artifacts, find_delivered_spools, remove_spool

Kind = Literal["checkpoints", "deleted runs", "logs", "studies", "spool"]
Days = Annotated[float, Ge(0)] | None
#: seconds in which a study that was begun may have no leader yet
_BEGINNING = 60.0


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Rules of garbage collection; conf/gc/default.yaml explains each key."""

    apply: bool = False
    checkpoints_days: Days = 7
    keep_arms: Annotated[int, Ge(0)] = 1
    deleted_days: Days = 30
    logs_days: Days = 30
    studies_days: Days = 90
    spool_days: Days = 1


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A file or folder that may be deleted.

    Attributes:
        size: bytes.
        why: reason, in a few words.
    """

    kind: Kind
    path: Path
    size: int
    why: str


def find_candidates(rules: Rules, settings: TrackingSettings, workdir: Path) -> list[Candidate]:
    """All candidates, in the order of the rules: the least valuable files come first.

    Raises:
        InitlabError: the store cannot be read.
    """
    now = time.time()
    file = sqlite_file(tracking.resolve_uri(settings, workdir))
    going: list[Candidate] = []
    if file is not None and file.exists():  # artifacts of a server are not touched
        root = (file.parent / "mlruns").resolve()
        if rules.checkpoints_days is not None:
            for folder, why in losing_checkpoints.find_losing_checkpoints(
                settings, workdir, now, rules.checkpoints_days, rules.keep_arms
            ):
                going += _inside(folder, root, "checkpoints", why)
        if rules.deleted_days is not None:
            for folder in find_deleted_artifacts(file, now - rules.deleted_days * 86400):
                going += _inside(folder, root, "deleted runs", "deleted in MLflow")
    if rules.logs_days is not None:
        going += list(_logs(workdir, now - rules.logs_days * 86400))
    if rules.studies_days is not None and (without_end := _open_studies(settings, workdir)) is not None:
        going += list(_studies(workdir, now - rules.studies_days * 86400, without_end))
    if rules.spool_days is not None:
        going += [
            Candidate(kind="spool", path=folder, size=_size(folder), why="everything arrived")
            for folder in find_delivered_spools(workdir, now - rules.spool_days * 86400)
        ]
    return going


def delete(going: Sequence[Candidate], workdir: Path) -> tuple[int, list[str]]:
    """Delete the candidates; returns the bytes that were freed, and what could not be deleted."""
    freed, failed = 0, list[str]()
    for one in going:
        try:
            if one.kind == "spool":
                if not remove_spool(one.path):
                    continue  # a process began to use it
            elif one.path.is_dir():
                shutil.rmtree(one.path)
            else:
                one.path.unlink()
        except OSError as error:
            failed.append(f"{one.path}: {error.strerror or error}")
            continue
        freed += one.size
    return freed, failed


# ------------------------------------------------------------------ pieces
def _inside(folder: Path, root: Path, kind: Kind, why: str) -> Iterator[Candidate]:
    """`folder`, where it lies in `root` and is no link: a path from a database may be anything."""
    if folder.is_dir() and not folder.is_symlink() and folder.resolve().is_relative_to(root):
        yield Candidate(kind=kind, path=folder, size=_size(folder), why=why)


def _size(path: Path) -> int:
    total = 0
    for file in [path] if path.is_file() else path.rglob("*"):
        with suppress(OSError):
            total += 0 if file.is_dir() else file.lstat().st_size
    return total


def _logs(workdir: Path, before: float) -> Iterator[Candidate]:
    own = workdir / ".initlab"
    patterns: Iterable[tuple[Path, str]] = ((own / "schedule", "*.log"), (own / "studies", "*/*.log"))
    for folder, pattern in patterns:
        for file in sorted(folder.glob(pattern)):
            if file.is_file() and not file.is_symlink() and file.stat().st_mtime < before:
                yield Candidate(kind="logs", path=file, size=_size(file), why="old")


def _open_studies(settings: TrackingSettings, workdir: Path) -> set[str] | None:
    """Studies without an end, by their parent runs and the schedulers; None where that is unknown."""
    from initlab.operations.schedule.firing import OPEN
    from initlab.operations.schedule.ledger import opened

    try:
        read = tracking.read_runs(settings, workdir=workdir)
        running = [*read.runs, *read.parents.values()]
        names = {r.tags.get("initlab.study", "") for r in running if r.ended_as in ("RUNNING", "SCHEDULED")}
        if (workdir / ".initlab" / "schedule.db").exists():
            with opened(None, workdir) as ledger:
                names |= {f.study for f in ledger.firings() if f.state in OPEN}
    except InitlabError:
        return None
    return names


def _is_live(folder: Path) -> bool:
    """Whether a process works on the study of `folder`: its run may be recorded nowhere, or not have arrived yet."""
    from initlab.study.search.lead import is_worked_on
    from initlab.study.space.plan import load

    try:
        plan = load(folder)
        if plan is None:
            return False
        file = sqlite_file(plan.storage)
        alive = is_worked_on(plan.storage, plan.name) if file is None or file.exists() else None
        # one that has just been begun has no leader yet
        return time.time() - (folder / "plan.json").stat().st_mtime < _BEGINNING if alive is None else alive
    except (InitlabError, OSError):
        return True  # what cannot be known is kept


def _studies(workdir: Path, before: float, without_end: set[str]) -> Iterator[Candidate]:
    if any(not s.live or s.records for s in tracking.spools(workdir)):
        return  # a waiting run may belong to one of them
    for folder in sorted((workdir / ".initlab" / "studies").glob("*")):
        if not folder.is_dir() or folder.is_symlink() or folder.name in without_end:
            continue
        last = max((f.stat().st_mtime for f in folder.rglob("*") if f.is_file()), default=folder.stat().st_mtime)
        if last < before and not _is_live(folder):
            yield Candidate(kind="studies", path=folder, size=_size(folder), why="ended")
