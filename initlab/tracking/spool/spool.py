"""Spool of a run: a local folder that holds all its records until the tracking store has them.

    .initlab/spool/<uid>/
        header.json      everything known before the first record, and the URI of the store
        header.copy.json the same, for the case that the other one is damaged
        delivered        what header.json is renamed to before the spool is removed
        records.jsonl    one record a line, append-only
        events.jsonl     tags, artifacts, the end of the run, a reopening; one a line, append-only
        progress.json    up to where the two files were delivered; replaced atomically
        rejected.jsonl   values that the store refused for good, with the reason
        lock             held by the process that writes; the operating system frees it with the process
        deliver.lock     held by the process that delivers, while it does
        artifacts/       copies of the artifacts; checkpoints/ is written by the trainer directly

A line that ends without a newline was cut by a crash and counts as never written. `durable` says when all this is on
the disk.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from initlab.core.durable import sync_folder
from initlab.errors import StoreError
from initlab.spec import Provenance, RunHeader, Scalar

HEADER, RECORDS, EVENTS, PROGRESS = "header.json", "records.jsonl", "events.jsonl", "progress.json"
HEADER_COPY, DELIVERED = "header.copy.json", "delivered"
REJECTED, LOCK, ARTIFACTS, CHECKPOINTS = "rejected.jsonl", "lock", "artifacts", "checkpoints"
DELIVER = "deliver.lock"
CONFIG = "config.yaml"
# longer than the helper of a killed training process takes to release the lock
DELIVER_SECONDS = 10.0

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class SpoolHeader:
    """A RunHeader and its store. `local_db` is the SQLite file relative to the working directory, where it lies inside.

    `adopted` is the MLflow run that a spool without the beginning of the run continues (after `records` records, with
    `nonfinite` values that were not finite); such a spool cannot create the run in another store.
    """

    uid: str
    uri: str
    run: RunHeader
    local_db: str = ""
    adopted: str = ""
    records: int = 0
    nonfinite: int = 0
    keep_checkpoints: bool = True


@dataclass(kw_only=True)
class Progress:
    """Up to where a spool was delivered to the store at `uri`."""

    uri: str
    run_id: str = ""
    experiment_id: str = ""
    creating: bool = False
    described: bool = False
    offset: int = 0
    records: int = 0
    nonfinite: int = 0
    rejected: int = 0
    events: int = 0
    artifacts: list[int] = field(default_factory=list[int])
    checkpoints: list[str] = field(default_factory=list[str])
    ended: int = -1


def spool_root(workdir: Path) -> Path:
    return workdir / ".initlab" / "spool"


def write_atomic(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Replace `path` by `text` so that a reader sees the old or the new file, never a part of one."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(text)
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise


def take_lock(folder: Path) -> FileLock | None:
    """The lock of a spool, or None where a live process holds it or the spool is gone."""
    if not folder.is_dir():
        return None
    # thread_local=False: taken by the main thread, released by whichever closes the run
    lock = FileLock(folder / LOCK, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except (Timeout, FileNotFoundError):
        return None
    return lock


def take_delivery_lock(folder: Path, *, stop: Callable[[], bool] = lambda: False) -> FileLock | None:
    """Wait for the lock that allows delivery; None where another process keeps delivering, or on `stop`."""
    lock = FileLock(folder / DELIVER, thread_local=False)
    deadline = time.monotonic() + DELIVER_SECONDS
    while folder.is_dir() and not stop():
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if time.monotonic() > deadline:
                return None
            time.sleep(0.05)
        except FileNotFoundError:
            return None
        else:
            return lock
    return None


def save_header(folder: Path, header: SpoolHeader) -> None:
    text = json.dumps(dataclasses.asdict(header), indent=1)
    for name in (HEADER, HEADER_COPY):
        write_atomic(folder / name, text, mode=0o600)  # a URI may carry a password


def load_header(folder: Path) -> SpoolHeader:
    """Read the header, or its copy where it is damaged. Raises StoreError where neither can be read."""
    try:
        return _read_header(folder, HEADER)
    except StoreError:
        if is_delivered(folder) or not (folder / HEADER_COPY).exists():
            raise
        return _read_header(folder, HEADER_COPY)


def is_delivered(folder: Path) -> bool:
    """Whether everything of this spool was delivered, and a process died while it removed the folder."""
    return (folder / DELIVERED).exists()


def _read_header(folder: Path, name: str) -> SpoolHeader:
    try:
        data: Json = json.loads((folder / name).read_text(encoding="utf-8"))
        run: Json = data.pop("run")
        dataset: Json | None = run.pop("dataset")
        params: Mapping[str, Scalar] = run.pop("params")
        layers = tuple(run.pop("layers", ()))
        data_set = None if dataset is None else Provenance(**dataset)
        return SpoolHeader(run=RunHeader(params=params, dataset=data_set, layers=layers, **run), **data)
    except FileNotFoundError:
        raise StoreError(f"{folder}: no {name} there") from None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise StoreError(f"{folder / name} is damaged ({error})") from error


def intended_uri(header: SpoolHeader, workdir: Path) -> str:
    """The store of a spool; a SQLite file inside the working directory moves with that directory."""
    return f"sqlite:///{(workdir.absolute() / header.local_db).as_posix()}" if header.local_db else header.uri


def load_progress(folder: Path, uri: str) -> Progress:
    """Read what was delivered to `uri`; nothing where the file is absent, damaged or of another store.

    Starting from nothing is safe: the run is found again by its uid, and a store ignores what it already has.
    """
    try:
        data: Json = json.loads((folder / PROGRESS).read_text(encoding="utf-8"))
        progress = Progress(**data)
    except (OSError, ValueError, TypeError):
        # an earlier attempt may have created the run
        return Progress(uri=uri, creating=True)
    return progress if progress.uri == uri else Progress(uri=uri, creating=True)


def save_progress(folder: Path, progress: Progress) -> None:
    # a URI may carry a password
    write_atomic(folder / PROGRESS, json.dumps(dataclasses.asdict(progress)), mode=0o600)


def read_lines(path: Path, offset: int = 0) -> Iterator[tuple[int, Json]]:
    """Read the complete lines of `path` from `offset`, each with the offset of its end.

    A line that is no JSON object (a crash in the middle of a line, then a reopening) is skipped.
    """
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                return
            offset += len(line)
            try:
                value = json.loads(line)
            except ValueError:
                continue
            if isinstance(value, dict):
                yield offset, value


def read_events(folder: Path) -> list[Json]:
    return [event for _, event in read_lines(folder / EVENTS)]


def end_event(events: list[Json]) -> int:
    """Index of the event that ended the run, -1 while it is open (never closed, or reopened since)."""
    for index in range(len(events) - 1, -1, -1):
        if events[index]["kind"] == "reopen":
            return -1
        if events[index]["kind"] == "status":
            return index
    return -1


def next_serial(folder: Path, floor: int = 0) -> int:
    """Number of records so far: one more than the highest serial in the spool, at least `floor`."""
    return max((int(line["serial"]) + 1 for _, line in read_lines(folder / RECORDS)), default=floor)


def last_time_ms(folder: Path) -> int:
    """Time of the last write to a spool: the end of a run whose process died."""
    stamps = [(folder / name).stat().st_mtime for name in (RECORDS, EVENTS, HEADER) if (folder / name).exists()]
    return int(max(stamps, default=time.time()) * 1000)


def checkpoint_files(folder: Path) -> list[Path]:
    """Complete checkpoints; half-written files of a crash (`.tmp`, `.part`) are left out."""
    root = folder / CHECKPOINTS
    return sorted(file for file in root.rglob("*") if file.is_file() and file.suffix not in {".tmp", ".part"})


def checkpoint_mark(folder: Path, file: Path) -> str:
    """Name and state of a checkpoint: a checkpoint that changed after its upload is sent again."""
    stat = file.stat()
    return f"{file.relative_to(folder).as_posix()}:{stat.st_size}:{stat.st_mtime_ns}"


def waiting(folder: Path, progress: Progress) -> tuple[int, int]:
    """Numbers of records and artifacts that are not delivered yet."""
    records = sum(1 for _ in read_lines(folder / RECORDS, progress.offset))
    done = set(progress.artifacts)
    events = read_events(folder)
    artifacts = sum(1 for index, event in enumerate(events) if event["kind"] == "artifact" and index not in done)
    end = end_event(events)
    if end >= 0 and events[end].get("checkpoints"):
        sent = set(progress.checkpoints)
        artifacts += sum(1 for file in checkpoint_files(folder) if checkpoint_mark(folder, file) not in sent)
    return records, artifacts


def rejected_file(folder: Path) -> Path:
    """The file that holds the rejected values of a run after its spool is deleted."""
    return folder.parent.parent / "rejected" / f"{folder.name}.jsonl"


def remove(folder: Path, lock: FileLock) -> None:
    """Delete a delivered spool and release its lock; values that the store rejected are moved outside first."""
    if (folder / REJECTED).exists():
        kept = rejected_file(folder)
        kept.parent.mkdir(parents=True, exist_ok=True)
        with kept.open("ab") as file:
            file.write((folder / REJECTED).read_bytes())
    # first of all, and on the disk: what could not be deleted whole is no longer a spool, whatever else is left of it
    with contextlib.suppress(FileNotFoundError):
        (folder / HEADER).replace(folder / DELIVERED)
    (folder / HEADER_COPY).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        sync_folder(folder)
    remove_delivered(folder)
    lock.release()


def remove_delivered(folder: Path) -> None:
    """Delete the folder of a delivered spool, the mark of that last."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name != DELIVERED:
            with contextlib.suppress(OSError):
                path.unlink()
    shutil.rmtree(folder, ignore_errors=True)
