"""Starts a run: checks that the working directory can hold it, opens its spool, starts its delivery."""

from __future__ import annotations

import dataclasses
import errno
import shutil
import time
import uuid
from collections.abc import Mapping
from pathlib import Path

from initlab.errors import ConfigError, StoreError, WorkdirError
from initlab.spec import RunHeader, TrackingSettings
from initlab.tracking.deliver import helper
from initlab.tracking.record.git import source_tags
from initlab.tracking.record.null import NullSink
from initlab.tracking.record.sink import RunSink
from initlab.tracking.spool import spool
from initlab.tracking.spool.spool import SpoolHeader
from initlab.tracking.store.location import resolve_uri, sqlite_file

# a new SQLite store alone takes one MiB
SMALLEST_DISK = 2 * 1024 * 1024

#: seconds for which another process may hold the lock of a new spool
_LOOKED_AT = 3.0


def start(
    header: RunHeader,
    settings: TrackingSettings,
    *,
    workdir: Path,
    files: Mapping[str, str] | None = None,
    checkpoints: bool = True,
    uid: str = "",
) -> RunSink | NullSink:
    """Open a run and return its sink at once; a helper process imports MLflow and creates the run.

    `files` (name to text: `config.yaml`, `environment.json`) are artifacts known at the start. `checkpoints` says
    whether the checkpoints are uploaded at the end, also by `sync` after a crash. `uid` (32 hex digits) is its name
    until MLflow has given it one, where it was chosen before. Raises ConfigError for a
    `tracking.uri` that cannot be used and WorkdirError where `workdir` cannot hold a run.
    """
    if not settings.enabled:
        return NullSink()
    uri = resolve_uri(settings, workdir)
    if not header.experiment.strip():
        raise ConfigError("tracking.experiment", header.experiment, "give the MLflow experiment a name")
    uid = uid or uuid.uuid4().hex
    tags = {**source_tags(workdir), **header.tags, **settings.tags}
    full = SpoolHeader(
        uid=uid,
        uri=uri,
        run=dataclasses.replace(header, tags=tags, params=dict(header.params), inputs=dict(header.inputs)),
        local_db=local_db(uri, workdir),
        keep_checkpoints=checkpoints,
    )
    try:
        sink = _open(full, settings, uri=uri, workdir=workdir)
    except OSError as error:
        raise workdir_error(workdir, error) from error
    try:
        for name, text in (files or {}).items():
            if name == spool.CONFIG:
                sink.replace_config(text)
            else:
                sink.text(name, text)
    except (OSError, StoreError) as error:
        sink.discard()
        raise workdir_error(workdir, error.__cause__ if isinstance(error.__cause__, OSError) else error) from error
    sink.begin(fresh=True)
    return sink


def preload(settings: TrackingSettings, workdir: Path) -> None:
    """Start the delivering process, which imports MLflow, for a run that will begin in some seconds.

    Raises:
        ConfigError: `tracking.uri` cannot be used.
    """
    if settings.enabled and not settings.offline:
        helper.preload(resolve_uri(settings, workdir))


def _open(full: SpoolHeader, settings: TrackingSettings, *, uri: str, workdir: Path) -> RunSink:
    workdir.mkdir(parents=True, exist_ok=True)
    if (free := shutil.disk_usage(workdir).free) < SMALLEST_DISK:
        raise OSError(errno.ENOSPC, f"only {free // 1024} KiB are left on its disk")
    folder = spool.spool_root(workdir) / full.uid
    folder.mkdir(parents=True)
    deadline = time.monotonic() + _LOOKED_AT
    while (lock := spool.take_lock(folder)) is None:  # `sync` or `gc` looks at the new folder, which takes a moment
        if time.monotonic() > deadline:
            raise OSError(errno.ENOLCK, "its file system cannot lock files")
        time.sleep(0.02)
    try:
        spool.save_header(folder, full)
        return RunSink(folder, full, lock=lock, uri=uri, settings=settings, workdir=workdir)
    except OSError:
        spool.remove(folder, lock)
        raise


def local_db(uri: str, workdir: Path) -> str:
    """The SQLite file of `uri` relative to `workdir`, empty where it lies elsewhere."""
    file, root = sqlite_file(uri), workdir.absolute()
    return file.relative_to(root).as_posix() if file is not None and file.is_relative_to(root) else ""


def workdir_error(workdir: Path, error: BaseException) -> WorkdirError:
    """The error for `workdir`, in one line: which directory, what is wrong with it, what to do."""
    why = {
        errno.EROFS: "it is on a read-only file system",
        errno.EACCES: "you may not write there",
        errno.EPERM: "you may not write there",
        errno.EDQUOT: "your disk quota is used up",
        errno.ENOTDIR: "a part of its path is a file",
        errno.EEXIST: "a file is where a folder has to be",
    }.get(getattr(error, "errno", None) or 0, "")
    if getattr(error, "errno", None) == errno.ENOSPC:
        why = "its disk is full"
    text = getattr(error, "strerror", None) or str(error)
    return WorkdirError(
        f"{workdir.absolute()} cannot hold a run: {why or text}; run in another directory, or with tracking=none"
    )
