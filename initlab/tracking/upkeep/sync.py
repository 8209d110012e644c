"""Sends the spooled records of runs that ended without delivery: after a dead server, full disk, crash or kill."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from filelock import FileLock

from initlab.errors import ConfigError, StoreError
from initlab.spec import TrackingSettings
from initlab.tracking.deliver.deliver import PARENT, Delivery
from initlab.tracking.spool import spool
from initlab.tracking.spool.spool import SpoolHeader
from initlab.tracking.store.client import Store, connect
from initlab.tracking.store.faults import StoreFaultError
from initlab.tracking.store.location import describe_location, resolve_uri

# a folder that a starting process has not completed yet is younger than this
HALF_MADE_SECONDS = 60
TRIES = 3

Outcome = Literal["sent", "waits", "live"]


@dataclass(frozen=True, kw_only=True)
class SpoolInfo:
    """A run in the spool: how much of it waits, for which store, and whether its process is alive."""

    uid: str
    name: str
    run_id: str
    uri: str
    folder: Path
    live: bool
    records: int
    artifacts: int


@dataclass(frozen=True, kw_only=True)
class SyncResult:
    """Result for one spool. `records` and `artifacts` were sent if `outcome` is sent, else they still wait."""

    uid: str
    name: str
    run_id: str
    outcome: Outcome
    status: str
    records: int
    artifacts: int
    reason: str = ""

    def line(self) -> str:
        """Format the outcome as one line."""
        who = f"{self.name} ({self.run_id or self.uid})"
        what = f"{self.records} records, {self.artifacts} artifacts"
        if self.outcome == "live":
            return f"{who}: still running, left alone"
        if self.outcome == "waits":
            return f"{who}: {what} still wait: {self.reason}"
        return f"{who}: {what} sent, ended as {self.status}"


@dataclass(frozen=True, kw_only=True)
class SyncReport:
    """Result of `sync`, run by run. `waiting` is the number of runs that could not be sent."""

    runs: tuple[SyncResult, ...]

    @property
    def waiting(self) -> int:
        return sum(run.outcome == "waits" for run in self.runs)

    def lines(self) -> list[str]:
        return [run.line() for run in self.runs] or ["nothing waits"]


def folders(workdir: Path) -> list[Path]:
    root = spool.spool_root(workdir)
    found = [folder for folder in root.iterdir() if folder.is_dir()] if root.is_dir() else []
    return sorted(found, key=lambda folder: folder.name)


def spools(workdir: Path) -> tuple[SpoolInfo, ...]:
    """Read the spool of `workdir`, live runs included. Damaged folders are left out; `sync` names them."""
    return tuple(info for folder in folders(workdir) if (info := _read_info(folder, workdir)) is not None)


def _read_info(folder: Path, workdir: Path) -> SpoolInfo | None:
    lock = spool.take_lock(folder)
    try:
        header = spool.load_header(folder)
        uri = spool.intended_uri(header, workdir)
        progress = spool.load_progress(folder, uri)
        records, artifacts = spool.waiting(folder, progress)
    except StoreError:
        return None
    finally:
        if lock is not None:
            lock.release()
    return SpoolInfo(
        uid=header.uid,
        name=header.run.name,
        run_id=progress.run_id,
        uri=uri,
        folder=folder,
        live=lock is None,
        records=records,
        artifacts=artifacts,
    )


def wait_for_senders(workdir: Path, *, study: str, seconds: float) -> None:
    """Wait at most `seconds` while other processes send ended runs of `study`, which `sync` leaves alone."""
    deadline = time.monotonic() + seconds
    while any(_is_sent(f, study) for f in folders(workdir)) and time.monotonic() < deadline:
        time.sleep(0.2)


def _is_sent(folder: Path, study: str) -> bool:
    """Whether a live process is sending this spool, which holds a complete run of `study`."""
    try:
        if spool.load_header(folder).run.tags.get("initlab.study") != study:
            return False
    except StoreError:
        return False
    lock = spool.take_lock(folder)
    if lock is not None:
        lock.release()
        return False
    return spool.end_event(spool.read_events(folder)) >= 0


def sync(workdir: Path, settings: TrackingSettings) -> SyncReport:
    """Deliver every spool in `workdir` whose process is gone, and end its run (as killed, where nobody ended it).

    Each goes to the store it was meant for, or to `settings.uri` where that is set. Runs that are alive are left
    alone and named; the failure of one does not stop the others; repeating it, also at the same time, does no harm.
    Raises ConfigError for a `settings.uri` that cannot be used, and offline.
    """
    if settings.offline:
        raise ConfigError("tracking.offline", True, "sync has to contact the store; leave that out")
    override = resolve_uri(settings, workdir) if settings.uri is not None else None
    stores: dict[str, Store | str] = {}
    # a child needs the id that its parent gets in the store
    ordered = sorted(folders(workdir), key=_is_child)
    done = [_sync_one(folder, workdir=workdir, override=override, stores=stores) for folder in ordered]
    return SyncReport(runs=tuple(one for one in done if one is not None))


def _is_child(folder: Path) -> bool:
    try:
        return PARENT in spool.load_header(folder).run.tags
    except StoreError:
        return False


def _sync_one(
    folder: Path, *, workdir: Path, override: str | None, stores: dict[str, Store | str]
) -> SyncResult | None:
    lock = spool.take_lock(folder)
    try:
        header = spool.load_header(folder)
    except StoreError as error:
        return _damaged(folder, lock, error)
    if lock is None:
        return _sync_result(header, outcome="live")
    meant = spool.intended_uri(header, workdir)
    if header.adopted and override not in {None, meant}:
        lock.release()
        reason = f"only its later part is here; the run is in {describe_location(meant)}"
        return _sync_result(header, outcome="waits", reason=reason)
    # the helper of a killed process may still be sending its last batch
    delivering = spool.take_delivery_lock(folder)
    try:
        if delivering is None:
            return _sync_result(header, outcome="waits", reason="another process is sending it")
        return _send(folder, header, lock=lock, uri=override or meant, stores=stores)
    except (StoreError, OSError) as error:
        return _sync_result(header, outcome="waits", reason=str(error))
    finally:
        if delivering is not None:
            delivering.release()
        lock.release()


def _damaged(folder: Path, lock: FileLock | None, error: StoreError) -> SyncResult | None:
    if lock is None:
        return None
    try:
        unfinished = not (folder / spool.HEADER).exists()
        if unfinished and not (folder / spool.RECORDS).exists():
            # a process died between creating the folder and writing the header, or between deleting the two
            if folder.exists() and time.time() - folder.stat().st_mtime > HALF_MADE_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)
            return None
    finally:
        lock.release()
    return SyncResult(
        uid=folder.name, name="?", run_id="", outcome="waits", status="", records=0, artifacts=0, reason=str(error)
    )


def _send(folder: Path, header: SpoolHeader, *, lock: FileLock, uri: str, stores: dict[str, Store | str]) -> SyncResult:
    def client() -> Store:
        known = stores.get(uri)
        if isinstance(known, str):
            # wait only once for a dead server, however many runs wait for it
            raise StoreFaultError("away", known)
        if known is None:
            known = stores[uri] = connect(uri, workdir=folder.parent.parent.parent)
        return known

    events = spool.read_events(folder)
    if spool.end_event(events) < 0:
        _end_as_killed(folder, header)
    events = spool.read_events(folder)
    delivery = Delivery(folder, header, uri=uri, connect=client)
    before = spool.waiting(folder, delivery.progress)
    fault = _deliver_with_retries(delivery)
    if "did not answer" in fault:
        stores[uri] = fault
    elif fault:
        stores.pop(uri, None)
    after = spool.waiting(folder, delivery.progress)
    sent = not fault and delivery.complete
    result = _sync_result(
        header,
        outcome="sent" if sent else "waits",
        run_id=delivery.progress.run_id,
        status=str(events[spool.end_event(events)]["status"]),
        counts=before if sent else after,
        reason=fault or ("" if sent else f"{describe_location(uri)} does not have all of it"),
    )
    if sent:
        spool.remove(folder, lock)
    return result


def _deliver_with_retries(delivery: Delivery) -> str:
    """Deliver; returns "" or the reason of the failure. Retries a busy database, not a dead server."""
    reason = ""
    for pause in range(TRIES):
        try:
            delivery.round()
        except StoreFaultError as fault:
            reason = fault.reason
            if "locked" not in reason:
                return reason
            time.sleep(pause)
        else:
            return ""
    return reason


def _end_as_killed(folder: Path, header: SpoolHeader) -> None:
    time_ms = spool.last_time_ms(folder)
    events = spool.Appender(folder / spool.EVENTS)
    end = {"kind": "status", "status": "killed", "time_ms": time_ms, "checkpoints": header.keep_checkpoints}
    try:
        events.append(json.dumps(end).encode() + b"\n")
    finally:
        events.close()


def _sync_result(
    header: SpoolHeader,
    *,
    outcome: Outcome,
    run_id: str = "",
    status: str = "",
    counts: tuple[int, int] = (0, 0),
    reason: str = "",
) -> SyncResult:
    return SyncResult(
        uid=header.uid,
        name=header.run.name,
        run_id=run_id,
        outcome=outcome,
        status=status,
        records=counts[0],
        artifacts=counts[1],
        reason=reason,
    )
