"""Checks the records: store and its schema, clock, waiting spools, unfinished runs, schedules."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from initlab import tracking
from initlab.errors import InitlabError
from initlab.operations.doctor.line import Line, ok, problem, warning
from initlab.spec import TrackingSettings
from initlab.tracking.store.health import check_server, read_mlflow_schemas, read_schema_version
from initlab.tracking.store.location import describe_location, is_server, sqlite_file

#: seconds by which two clocks may differ: runs are ordered by their times
_MAX_CLOCK_DIFFERENCE = 30.0


def store(settings: TrackingSettings, workdir: Path) -> Iterator[Line]:
    """Whether the store can be reached, accepts the account, and has the schema of this MLflow."""
    if not settings.enabled:
        yield warning("store", "nothing is recorded (tracking.enabled=false)", "leave out tracking=none")
        return
    uri = tracking.resolve_uri(settings, workdir)
    place = describe_location(uri)
    if is_server(uri):
        yield from _server(settings, uri, workdir)
        return
    file = sqlite_file(uri)
    if file is None:
        yield ok("store", f"{place}: a database server, which is contacted when a run ends")
        return
    if not file.exists():
        yield ok("store", f"{place} does not exist yet: the first run creates it")
        return
    version, why = read_schema_version(file)
    head, known = read_mlflow_schemas()
    back_up = f"copy {file.name} first; then mlflow db upgrade {uri} (docs/housekeeping.md)"
    if why:
        yield problem("store", f"{place} cannot be read ({why})", "restore a copy, or move it away")
    elif version == head or not head:
        yield ok("store", f"{place}, tables of version {version or 'none yet'}")
    elif version in known or not version:
        yield problem("store", f"{place} has tables of an older MLflow ({version or 'none'}, not {head})", back_up)
    else:
        yield problem("store", f"{place} has tables of a newer MLflow ({version})", "install that MLflow")


def _server(settings: TrackingSettings, uri: str, workdir: Path) -> Iterator[Line]:
    from initlab.tracking.store.access import check_access

    why, _ = check_server(uri)
    if why:
        yield problem("store", why, "start it, or correct tracking.uri; runs wait in the spool until then")
        return
    try:
        check_access(settings, workdir=workdir)
    except InitlabError as error:
        yield problem("store", str(error), "correct MLFLOW_TRACKING_USERNAME and _PASSWORD, or the server's settings")
        return
    yield ok("store", f"{describe_location(uri)} answers and accepts the account")


def clock(settings: TrackingSettings, workdir: Path) -> Iterator[Line]:
    """Compares this machine's clock with the server's."""
    uri = tracking.resolve_uri(settings, workdir) if settings.enabled else ""
    if not is_server(uri):
        yield ok("clock", "no server to compare it with")
        return
    _, ahead = check_server(uri)
    if ahead is None:
        yield ok("clock", "the server does not report its time")
    elif abs(ahead) > _MAX_CLOCK_DIFFERENCE:
        yield warning("clock", f"the server's is {ahead:+.0f} s from ours", "set both by NTP: schedules go by ours")
    else:
        yield ok("clock", f"the server's is within {abs(ahead) + 0.5:.0f} s of ours")


def spool(workdir: Path) -> Iterator[Line]:
    """Records that have not arrived in the store."""
    found = tracking.spools(workdir)
    dead = [s for s in found if not s.live and (s.records or s.artifacts)]
    live = sum(s.live for s in found)
    if dead:
        records = sum(s.records for s in dead)
        yield warning("spool", f"{len(dead)} runs with {records} records wait", "python -m initlab sync")
    else:
        yield ok("spool", f"nothing waits{f'; {live} runs are being trained' if live else ''}")


def unfinished_runs(settings: TrackingSettings, workdir: Path) -> Iterator[Line]:
    """Runs with status RUNNING that no process here is training."""
    if not settings.enabled:
        return
    uri = tracking.resolve_uri(settings, workdir)
    file = sqlite_file(uri)
    if file is not None and (not file.exists() or not read_schema_version(file)[0]):
        yield ok("runs", "none yet")
        return
    if is_server(uri) and check_server(uri)[0]:
        return  # reported by `store`
    found = tracking.read_runs(settings, workdir=workdir)
    live = {s.run_id for s in tracking.spools(workdir)}
    open_runs = [r for r in [*found.runs, *found.parents.values()] if r.ended_as == "RUNNING" and r.run_id not in live]
    if open_runs:
        names = ", ".join(r.run_id for r in open_runs[:3])
        whose = "or another machine trains them" if is_server(uri) else "their processes are gone"
        yield warning(
            "runs",
            f"{len(open_runs)} are RUNNING and none of them here ({names}): {whose}",
            "python -m initlab resume=ID resumes one; or end it in MLflow",
        )
    else:
        yield ok("runs", f"{len(found.runs)}, none left open")


def schedules(folder: Path, workdir: Path) -> Iterator[Line]:
    """Whether the schedules are valid, and whether a scheduler has run them."""
    if not folder.is_dir():
        yield ok("schedules", "none")
        return
    from initlab.operations.schedule.files import read_schedules
    from initlab.operations.schedule.validate import check

    try:
        found = read_schedules(folder)
        for schedule in found:
            check(schedule)
    except InitlabError as error:
        yield problem("schedules", str(error), "no schedule runs until it is fixed")
        return
    names = ", ".join(s.name for s in found)
    if not (workdir / ".initlab" / "schedule.db").exists():
        yield ok("schedules", f"{names}: valid; no scheduler has run here (python -m initlab schedule)")
        return
    yield ok("schedules", f"{names}: valid; python -m initlab schedule history lists what was due")
