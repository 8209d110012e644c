"""`python -m initlab schedule`: lists schedules, shows their history, runs them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from initlab.cli.arguments import Arguments
from initlab.errors import ConfigError, UnknownNameError, one_of
from initlab.operations.schedule.files import FOLDER, Schedule, find_schedule, read_schedules
from initlab.operations.schedule.firing import Firing
from initlab.operations.schedule.ledger import opened
from initlab.operations.schedule.serve import run_now, serve

_COMMANDS = ("list", "next", "run", "history")


@dataclass(frozen=True, kw_only=True)
class _Request:
    command: str
    words: tuple[str, ...]
    folder: Path
    storage: str | None
    rows: int


def schedule_command(arguments: Arguments) -> int:
    """List, show or run schedules. Returns the exit code.

    Raises:
        InitlabError: with exit code 2 for bad input, before anything is started.
    """
    request = _parse(arguments)
    if request.command == "history":
        return _history(request)
    schedules = read_schedules(request.folder)
    if request.command == "list":
        return _list(request, schedules)
    if request.command == "next":
        return _next(request, schedules)
    if request.command == "run":
        return run_now(find_schedule(schedules, request.words[0]), request.storage)
    return serve(schedules, request.storage, folder=request.folder)


def _parse(arguments: Arguments) -> _Request:
    words, given = list(arguments.words), arguments.given
    command = words.pop(0) if words else ""
    if command and command not in _COMMANDS:
        raise UnknownNameError(f"schedule {command}: no such command; {one_of(_COMMANDS, command)}")
    if command == "list" and words:
        raise UnknownNameError(f"schedule list {' '.join(words)}: {words[0]} is one word too many")
    if command == "run" and not words:
        raise UnknownNameError("schedule run: which one? schedule run NAME; schedule list names them")
    folder = given.get("folder")
    if folder is None and not FOLDER.is_dir() and command != "history":
        raise _no_folder()
    return _Request(
        command=command,
        words=tuple(words),
        folder=FOLDER if folder is None else Path(folder),
        storage=given.get("storage") or os.environ.get("INITLAB_SCHEDULE_STORAGE") or None,
        rows=_count("rows", given.get("rows", "20")),
    )


def _no_folder() -> ConfigError:
    from initlab.config import conf_dir

    example = conf_dir() / "schedule" / "nightly.yaml"
    return ConfigError(
        "folder",
        FOLDER,
        f"no such folder here; begin with an example: mkdir -p {FOLDER} && cp {example} {FOLDER}",
    )


def _count(key: str, text: str) -> int:
    if not text.isdecimal() or not 0 < int(text[:9]) <= 100_000 or len(text) > 6:
        raise ConfigError(key, text, "must be a whole number from 1 to 100000")
    return int(text)


# ------------------------------------------------------------------ looking
def _list(request: _Request, schedules: Sequence[Schedule]) -> int:
    now = datetime.now(UTC)
    rows = [("NAME", "CRON", "TIME ZONE", "NEXT", "CATCH UP", "OVERLAP", "LAST")]
    with opened(request.storage, Path.cwd()) as ledger:
        for s in schedules:
            last = next((f for f in ledger.firings(s.name, last=50) if f.state != "skipped"), None)
            upcoming = s.rule.upcoming(now) if s.enabled else None
            rows.append(
                (
                    s.name,
                    s.cron,
                    s.timezone,
                    "disabled" if upcoming is None else _local(s, upcoming),
                    s.catch_up,
                    s.overlap,
                    "never" if last is None else f"{last.when:%Y-%m-%d %H:%M}Z {_state(last)}",
                )
            )
    _table(rows)
    return 0


def _next(request: _Request, schedules: Sequence[Schedule]) -> int:
    count = _count("schedule next", request.words[0]) if request.words else 10
    now = datetime.now(UTC)
    found: list[tuple[datetime, Schedule]] = []
    for s in (s for s in schedules if s.enabled):
        at: datetime | None = now
        for _ in range(count):
            at = s.rule.upcoming(at)
            if at is None:
                break
            found.append((at, s))
    found.sort(key=lambda pair: (pair[0], pair[1].name))
    _table([("DUE", "LOCAL", "NAME")] + [(f"{t:%Y-%m-%d %H:%M}Z", _local(s, t), s.name) for t, s in found[:count]])
    return 0


def _history(request: _Request) -> int:
    with opened(request.storage, Path.cwd()) as ledger:
        firings = ledger.firings(request.words[0] if request.words else None, last=request.rows)
    if not firings:
        of = f" of {request.words[0]}" if request.words else ""
        print(f"nothing was due yet{of}")
        return 0
    rows = [("DUE", "NAME", "STATE", "MINUTES", "TRIES", "WHAT")]
    for f in firings:
        what = "; ".join(w for w in (f.reason, *(f"worse: {r}" for r in f.regressions), f.told) if w)
        spent = f"{f.spent / 60:.1f}" if f.attempts else ""
        rows.append((f"{f.when:%Y-%m-%d %H:%M}Z", f.schedule, _state(f), spent, str(f.attempts or ""), what))
    _table(rows)
    return 0


def _state(firing: Firing) -> str:
    return firing.state.replace("_", " ")


def _local(schedule: Schedule, when: datetime) -> str:
    return f"{schedule.rule.local(when):%Y-%m-%d %H:%M %Z}"


def _table(rows: Sequence[tuple[str, ...]]) -> None:
    from initlab.core.error_line import escape_control_characters

    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
    for row in rows:
        cells = [cell.ljust(w) for cell, w in zip(row, widths, strict=False)]
        print(escape_control_characters("  ".join([*cells, row[-1]]).rstrip()))
