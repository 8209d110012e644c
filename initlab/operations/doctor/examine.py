"""Runs all checks of `initlab doctor` in order. An unexpected exception becomes a problem line, too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from initlab.operations.doctor import installation, machine, records
from initlab.operations.doctor.line import Line, problem
from initlab.spec import TrackingSettings

Check = Callable[[], Iterator[Line]]


def examine(settings: TrackingSettings, workdir: Path, *, schedules: Path) -> Iterator[Line]:
    """Run every check. Writes nothing that stays, and waits only some seconds for a server.

    Args:
        settings: of the tracking store.
        workdir: directory in which runs would be started.
        schedules: folder of schedules; it need not exist.
    """
    checks: list[tuple[str, Check]] = [
        ("versions", installation.versions),
        ("torch", installation.torch_imports),
        ("device", machine.device),
        ("disk", lambda: machine.disk(workdir)),
        ("data", machine.data),
        ("store", lambda: records.store(settings, workdir)),
        ("clock", lambda: records.clock(settings, workdir)),
        ("spool", lambda: records.spool(workdir)),
        ("runs", lambda: records.unfinished_runs(settings, workdir)),
        ("schedules", lambda: records.schedules(schedules, workdir)),
    ]
    for subject, check in checks:
        try:
            yield from check()
        except Exception as error:
            text = " ".join(str(error).split())[:300] or type(error).__name__
            yield problem(subject, f"could not be checked: {text}", "fix that first, then run doctor again")
