"""Sends the spooled records of runs that ended without delivery: after a dead server, full disk, crash or kill."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from initlab.errors import ConfigError, InitlabError, StoreError
from initlab.spec import TrackingSettings
from initlab.tracking.deliver.deliver import PARENT, Delivery
from initlab.tracking.spool import spool
from initlab.tracking.spool.appender import Appender
from initlab.tracking.spool.spool import SpoolHeader
from initlab.tracking.store.client import Store, connect
from initlab.tracking.store.faults import StoreFaultError
from initlab.tracking.store.location import describe_location, resolve_uri
from initlab.tracking.upkeep.recover import recover_header
from initlab.tracking.upkeep.report import Outcome, SyncReport, SyncResult

# a folder that a starting process has not completed yet is younger than this
HALF_MADE_SECONDS = 60
TRIES = 3
# seconds after which a busy server may ask to be asked again
LONGEST_RETRY_AFTER = 5.0


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
    done = [
        _sync_one(folder, workdir=workdir, override=override, stores=stores, settings=settings) for folder in ordered
    ]
    return SyncReport(runs=tuple(one for one in done if one is not None))


def _is_child(folder: Path) -> bool:
    try:
        return PARENT in spool.load_header(folder).run.tags
    except StoreError:
        return False


def _sync_one(
    folder: Path, *, workdir: Path, override: str | None, stores: dict[str, Store | str], settings: TrackingSettings
) -> SyncResult | None:
    lock = spool.take_lock(folder)
    try:
        header = spool.load_header(folder)
    except StoreError as error:
        recovered = _damaged(folder, lock, error, settings, workdir)
        if not isinstance(recovered, SpoolHeader):
            return recovered
        header = recovered
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


def _damaged(
    folder: Path, lock: FileLock | None, error: StoreError, settings: TrackingSettings, workdir: Path
) -> SpoolHeader | SyncResult | None:
    """A new header for a spool that has none, with the lock still held; else what is to be said of it."""
    if lock is None:
        return None
    if spool.is_delivered(folder):
        spool.remove_delivered(folder)
    elif any((folder / n).is_file() and (folder / n).stat().st_size for n in (spool.RECORDS, spool.EVENTS)):
        try:
            return recover_header(folder, settings, workdir=workdir)
        except (OSError, InitlabError) as failure:
            lock.release()
            reason = f"{error}, and no new one can be made ({failure})"
            return SyncResult(
                uid=folder.name, name="?", run_id="", outcome="waits", status="", records=0, artifacts=0, reason=reason
            )
    elif folder.exists() and time.time() - folder.stat().st_mtime > HALF_MADE_SECONDS:
        # a process died while it made the folder: there is nothing to be sent
        shutil.rmtree(folder, ignore_errors=True)
    lock.release()
    return None


def _send(
    folder: Path, header: SpoolHeader, *, lock: FileLock, uri: str, stores: dict[str, Store | str]
) -> SyncResult | None:
    def client() -> Store:
        known = stores.get(uri)
        if isinstance(known, str):
            raise StoreFaultError("away", known)
        if known is None:
            known = stores[uri] = connect(uri, workdir=folder.parent.parent.parent)
        return known

    events = spool.read_events(folder)
    if header.adopted and not events:
        # fetched by a process that was killed before it resumed the run, whose end is in the store
        spool.remove(folder, lock)
        return None
    if spool.end_event(events) < 0:
        _end_as_killed(folder, header)
    events = spool.read_events(folder)
    delivery = Delivery(folder, header, uri=uri, connect=client)
    before = spool.waiting(folder, delivery.progress)
    fault = _deliver_with_retries(delivery)
    if "did not answer" in fault or "answered 429" in fault:
        # wait only once for it, however many runs wait for it
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
        uri=uri,
    )
    if sent:
        spool.remove(folder, lock)
    return result


def _deliver_with_retries(delivery: Delivery) -> str:
    """Deliver; returns "" or the reason of the failure. Retries a busy store, not a dead one."""
    reason = ""
    for pause in range(TRIES):
        try:
            delivery.round()
        except StoreFaultError as fault:
            reason = fault.reason
            # a server that asks for more patience than this gets the records at the next `sync`
            if ("locked" not in reason and not fault.retry_after) or fault.retry_after > LONGEST_RETRY_AFTER:
                return reason
            time.sleep(max(pause, fault.retry_after))
        else:
            return ""
    return reason


def _end_as_killed(folder: Path, header: SpoolHeader) -> None:
    time_ms = spool.last_time_ms(folder)
    events = Appender(folder / spool.EVENTS)
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
    uri: str = "",
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
        study=header.run.tags.get("initlab.study", ""),
        uri=uri,
        experiment=header.run.experiment,
    )
