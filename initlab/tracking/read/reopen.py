"""Reopens a run to resume it: the same MLflow run, its configuration, its checkpoints, its number of records."""

from __future__ import annotations

import errno
import json
import re
import shutil
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from initlab.core import durable
from initlab.errors import ConfigError, StoreError, UnknownNameError, one_of
from initlab.spec import RunHeader, RunStatus, TrackingSettings
from initlab.tracking.read.references import SHORTEST_ID, resolve
from initlab.tracking.record.sink import RunSink
from initlab.tracking.record.start import local_db, workdir_error
from initlab.tracking.spool import spool
from initlab.tracking.spool.metric_keys import layers_of
from initlab.tracking.spool.spool import SpoolHeader
from initlab.tracking.store.client import Store, connect
from initlab.tracking.store.faults import StoreFaultError
from initlab.tracking.store.location import describe_location, readable_uri, resolve_uri, sqlite_file
from initlab.tracking.upkeep.recover import recover_header
from initlab.tracking.upkeep.sync import folders, spools

#: characters of an id, and number of latest runs that are searched for the beginning of one
_WHOLE_ID, _RECENT_RUNS = 32, 1000


@dataclass(frozen=True, kw_only=True)
class ResumedRun:
    """A run that was opened to be resumed. Call `begin` before the first record, or `leave` to change nothing.

    Attributes:
        sink: writes to the same MLflow run; drops records with a serial below `skip`.
        folder: holds the run's `config.yaml` (where it has one) and its `checkpoints/`.
        skip: number of records that the run has already.
        status: how it ended before (`finished`, `killed`, ...); `killed` where no end was recorded.
        changed: whether it goes on with other settings than those it began with.
        tags: that it gets when it goes on.
    """

    sink: RunSink
    folder: Path
    skip: int
    status: RunStatus
    changed: bool = False
    tags: Mapping[str, str] = field(default_factory=dict[str, str])

    def begin(self) -> None:
        """Record that the run is running again, and start delivering its records."""
        if self.tags:
            self.sink.tag(self.tags)
        self.sink.note_resume()
        self.sink.begin()

    def leave(self) -> None:
        """Leave the run as it was, with the end that it had."""
        self.sink.leave()


def reopen(run_id: str, settings: TrackingSettings, *, workdir: Path) -> ResumedRun:
    """Open the run whose MLflow id or uid is `run_id` to resume it: it is running again once `begin` is called.

    Where its spool is still here, that is used (and drains in the background then); otherwise its configuration and
    checkpoints are fetched from the store. Raises UnknownNameError where there is no such run, ConfigError where it
    is still running or tracking is off, StoreError without contact, WorkdirError where `workdir` cannot hold it.
    """
    if not settings.enabled:
        raise ConfigError("resume", run_id, "an untracked run cannot be resumed; leave out tracking=none")
    resolve_uri(settings, workdir)  # an invalid URI is reported first
    run_id = _known_run(run_id, settings, workdir=workdir)
    try:
        local = _from_spool(run_id, settings, workdir=workdir)
        if local is not None:
            return local
        uri = readable_uri(settings, workdir)
        file = sqlite_file(uri)
        if file is not None and not file.exists():
            raise UnknownNameError(
                f"resume={run_id}: no such run; there is no store here yet ({describe_location(uri)}): cd to the folder"
                " where it was trained, or name its store, tracking.uri=..."
            )
        return _from_store(run_id, settings, uri=uri, workdir=workdir)
    except OSError as error:
        raise workdir_error(workdir, error) from error


def _known_run(asked: str, settings: TrackingSettings, *, workdir: Path) -> str:
    """The id of the run that ``last`` or the beginning of an id names; `asked` where it is whole, or unknown."""
    if len(asked) >= _WHOLE_ID:
        return asked
    waiting = sorted(spools(workdir), key=lambda i: -i.folder.stat().st_mtime)
    # a run whose records wait was killed, or its server is away: it is what one wants to resume
    known = {i.run_id or i.uid: i.name for i in waiting}
    if asked in {*known, *(i.uid for i in waiting)}:
        return asked
    uri = readable_uri(settings, workdir)
    file = sqlite_file(uri)
    if file is None or file.exists():
        try:
            for run_id, tags in connect(uri, workdir=workdir).latest_runs(_RECENT_RUNS):
                if tags.get("initlab.kind") == "train":
                    known.setdefault(run_id, tags.get("mlflow.runName", ""))
        except StoreFaultError as fault:
            raise StoreError(f"resume={asked}: {fault.reason}") from fault
    return resolve(asked, known, key="resume", shortest=SHORTEST_ID)


def _from_spool(run_id: str, settings: TrackingSettings, *, workdir: Path) -> ResumedRun | None:
    folder = _find(run_id, workdir)
    if folder is None:
        return None
    lock = spool.take_lock(folder)
    if lock is None:
        raise ConfigError("resume", run_id, "it is still running (or being sent by `python -m initlab sync`)")
    try:
        # a helper may still be sending the last batch of this run
        delivering = spool.take_delivery_lock(folder)
        if delivering is None:
            raise ConfigError("resume", run_id, "another process is still sending it; try again in a minute")
        delivering.release()
        try:
            header = spool.load_header(folder)
        except StoreError:
            header = recover_header(folder, settings, workdir=workdir)
        events = spool.read_events(folder)
        end = spool.end_event(events)
        sink = RunSink(
            folder,
            header,
            lock=lock,
            uri=spool.intended_uri(header, workdir),
            settings=settings,
            workdir=workdir,
            skip=(skip := spool.next_serial(folder, header.records)),
        )
    except BaseException:
        lock.release()
        raise
    status = _parse_status(events[end]["status"] if end >= 0 else None)
    return ResumedRun(sink=sink, folder=folder, skip=skip, status=status)


def _find(run_id: str, workdir: Path) -> Path | None:
    for folder in folders(workdir):
        if spool.is_delivered(folder):
            continue
        if folder.name == run_id:
            return folder
        try:
            progress = json.loads((folder / spool.PROGRESS).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(progress, dict) and progress.get("run_id") == run_id:
            return folder
    return None


def _from_store(run_id: str, settings: TrackingSettings, *, uri: str, workdir: Path) -> ResumedRun:
    try:
        store = connect(uri, workdir=workdir)
        known = _identify(store, run_id)
        if known is None:
            raise UnknownNameError(_unknown_run_message(store, run_id, workdir))
        experiment_id, name, tags = store.run_tags(known)
        experiment = store.experiment_name(experiment_id)
        with store.client() as client:
            layers = layers_of(client.get_run(known).data.metrics)
    except StoreFaultError as fault:
        raise StoreError(f"resume={run_id}: {fault.reason}") from fault
    if tags.get("initlab.status") == "running":
        raise ConfigError(
            "resume", run_id, "it is still running elsewhere, or its spool is: run `python -m initlab sync` there first"
        )
    own = tags.get("initlab.uid", "")
    # the uid becomes the name of a folder, and a store may hold any text
    uid = own if re.fullmatch("[0-9a-f]{32}", own) else uuid.uuid4().hex
    records = int(tags.get("initlab.records", "0"))
    header = SpoolHeader(
        uid=uid,
        uri=uri,
        run=RunHeader(
            name=name,
            experiment=experiment,
            params={},
            tags={},
            dataset=None,
            start_ms=int(time.time() * 1000),
            layers=layers,
        ),
        local_db=local_db(uri, workdir),
        adopted=known,
        records=records,
        nonfinite=int(tags.get("initlab.nonfinite", "0")),
    )
    folder = spool.spool_root(workdir) / header.uid
    (folder / spool.CHECKPOINTS).mkdir(parents=True, exist_ok=True)
    lock = spool.take_lock(folder)
    if lock is None or (folder / spool.HEADER).exists():
        raise ConfigError("resume", run_id, "it is still running: another process has just resumed it")
    try:
        _fetch(store, known, folder)
        spool.save_header(folder, header)
        sink = RunSink(folder, header, lock=lock, uri=uri, settings=settings, workdir=workdir, skip=records)
    except BaseException:
        spool.remove(folder, lock)
        raise
    status = _parse_status(tags.get("initlab.status"))
    fresh = {} if uid == own else {"initlab.uid": uid}
    return ResumedRun(sink=sink, folder=folder, skip=records, status=status, tags=fresh)


def _identify(store: Store, run_id: str) -> str | None:
    try:
        store.run_tags(run_id)
    except StoreFaultError as fault:
        if "deleted" in fault.reason or fault.kind not in {"gone", "refused"}:
            raise
        return store.find_run(store.experiments(), run_id) if run_id.isalnum() else None
    return run_id


def _unknown_run_message(store: Store, run_id: str, workdir: Path) -> str:
    latest = {known: tags.get("mlflow.runName", "") for known, tags in store.latest_runs(5)}
    latest |= {info.run_id or info.uid: info.name for info in spools(workdir)}
    if not latest:
        return f"resume={run_id}: no such run; {describe_location(store.uri)} has none yet"
    return f"resume={run_id}: no such run in {describe_location(store.uri)}; {one_of(latest, run_id)}"


def _fetch(store: Store, run_id: str, folder: Path) -> None:
    """Download the configuration and the checkpoints of a run into `folder`, laid out as in a spool."""
    incoming = folder / "incoming.part"
    incoming.mkdir(exist_ok=True)
    try:
        for name in (spool.CONFIG, spool.CHECKPOINTS):
            if store.download(run_id, name, incoming):
                target = folder / name
                for file in (incoming / name).rglob("*"):
                    if file.is_file():
                        durable.sync_file(file)
                if target.is_dir():
                    target.rmdir()
                (incoming / name).replace(target)
    except StoreFaultError as fault:
        reason = StoreError(f"the checkpoints of run {run_id} cannot be fetched: {fault.reason}")
        if "no space" in fault.reason:
            raise OSError(errno.ENOSPC, str(reason)) from fault
        raise reason from fault
    finally:
        shutil.rmtree(incoming, ignore_errors=True)


def _parse_status(word: object) -> RunStatus:
    """Parse a status; `killed` where no end was recorded or the word is not one of initlab's statuses."""
    return next((known for known in get_args(RunStatus) if known == word), "killed")
