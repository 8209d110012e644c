"""All that is looked at, in order. What fails unexpectedly is a line too: a doctor that dies helps nobody."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from initlab.operations.doctor import installation, machine, records
from initlab.operations.doctor.line import Line, problem
from initlab.spec import TrackingSettings

Check = Callable[[], Iterator[Line]]


def examine(settings: TrackingSettings, workdir: Path, *, schedules: Path) -> Iterator[Line]:
    """Look at everything. Writes nothing that stays, and waits for no server longer than some seconds.

    Args:
        settings: where runs are recorded.
        workdir: where they would be started.
        schedules: folder of schedules, which need not exist.
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
        ("runs", lambda: records.left_running(settings, workdir)),
        ("schedules", lambda: records.schedules(schedules, workdir)),
    ]
    for subject, check in checks:
        try:
            yield from check()
        except Exception as error:
            text = " ".join(str(error).split())[:300] or type(error).__name__
            yield problem(subject, f"could not be looked at: {text}", "mend that first, then ask again")
