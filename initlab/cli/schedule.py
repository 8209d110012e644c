"""`python -m initlab schedule`: studies at given times, in the foreground until it is stopped."""

from __future__ import annotations

import os
import queue
import shutil
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from initlab.errors import ConfigError, InitlabError, UnknownNameError, one_of
from initlab.operations.schedule.files import FOLDER, Schedule, find_schedule, read_schedules
from initlab.operations.schedule.ledger import OPEN, Firing, Ledger, State, opened

HELP = """\
initlab schedule begins studies at given times, compares each with the one before, and tells of what became worse.

Usage: python -m initlab schedule [COMMAND] [KEY=VALUE ...]

Commands:
  (none)            run the schedules until SIGTERM or Ctrl-C; what runs then goes on at the next start
  list              the schedules, when each is due, and how its last firing ended
  next [N]          the next N times, 10 by default
  run NAME          begin a firing now, and wait for its end
  history [NAME]    what was due, and what became of it

Keys:
  schedule.folder=DIR    of YAML files, a schedule each; the keys are in nightly.yaml (conf/schedule of this directory)
  schedule.storage=URL   database of what was due, postgresql://... for several machines (.initlab/schedule.db; or
                         INITLAB_SCHEDULE_STORAGE)
  schedule.rows=N        lines of the history (20)

Exit codes: 0 fine, 1 the firing of `run` failed, 2 bad input: of all schedules, before anything is begun.
"""
_COMMANDS = ("list", "next", "run", "history")
_KEYS = ("schedule.folder", "schedule.storage", "schedule.rows")
#: seconds that processes have to end when the scheduler is stopped
_DRAIN = 120.0
#: seconds between two looks
_PAUSE = 0.5


@dataclass(frozen=True, kw_only=True)
class _Asked:
    command: str
    words: tuple[str, ...]
    folder: Path
    storage: str | None
    rows: int


def schedule_command(arguments: Sequence[str]) -> int:
    """Do what is typed behind `schedule`.

    Raises:
        InitlabError: with exit code 2 for bad input, of which nothing is begun.
    """
    if any(a in ("--help", "-h") for a in arguments):
        print(HELP, end="")
        return 0
    asked = _asked(arguments)
    if asked.command == "history":
        return _history(asked)
    schedules = read_schedules(asked.folder)
    if asked.command == "list":
        return _list(asked, schedules)
    if asked.command == "next":
        return _next(asked, schedules)
    if asked.command == "run":
        return _run(asked, find_schedule(schedules, asked.words[0]))
    return _serve(asked, schedules)


def _asked(arguments: Sequence[str]) -> _Asked:
    words = [a for a in arguments if "=" not in a]
    given: dict[str, str] = {}
    for key, _, value in (a.partition("=") for a in arguments if "=" in a):
        if key not in _KEYS:
            raise ConfigError(key, value, f"unknown key; {one_of(_KEYS, key)}")
        given[key] = value
    command = words.pop(0) if words else ""
    if command and command not in _COMMANDS:
        raise UnknownNameError(f"schedule {command}: no such command; {one_of(_COMMANDS, command)}")
    most = {"next": 1, "run": 1, "history": 1}.get(command, 0)
    if len(words) > most:
        raise UnknownNameError(f"schedule {command} {' '.join(words)}: {words[most]} is one word too many")
    if command == "run" and not words:
        raise UnknownNameError("schedule run: which one? schedule run NAME; schedule list names them")
    folder = given.get("schedule.folder")
    if folder is None and not FOLDER.is_dir() and command != "history":
        raise _no_folder()
    return _Asked(
        command=command, words=tuple(words), folder=FOLDER if folder is None else Path(folder),
        storage=given.get("schedule.storage") or os.environ.get("INITLAB_SCHEDULE_STORAGE") or None,
        rows=_count("schedule.rows", given.get("schedule.rows", "20")),
    )  # fmt: skip


def _no_folder() -> ConfigError:
    from initlab.config import conf_dir

    example = conf_dir() / "schedule" / "nightly.yaml"
    return ConfigError(
        "schedule.folder",
        FOLDER,
        f"no such folder here; begin with an example: mkdir -p {FOLDER} && cp {example} {FOLDER}",
    )


def _count(key: str, text: str) -> int:
    if not text.isdecimal() or not 0 < int(text[:9]) <= 100_000 or len(text) > 6:
        raise ConfigError(key, text, "must be a whole number from 1 to 100000")
    return int(text)


# ------------------------------------------------------------------ looking
def _list(asked: _Asked, schedules: Sequence[Schedule]) -> int:
    now = datetime.now(UTC)
    rows = [("NAME", "CRON", "TIME ZONE", "NEXT", "CATCH UP", "OVERLAP", "LAST")]
    with opened(asked.storage, Path.cwd()) as ledger:
        for s in schedules:
            last = next((f for f in ledger.firings(s.name, last=50) if f.state != "skipped"), None)
            upcoming = s.rule.upcoming(now) if s.enabled else None
            rows.append(
                (
                    s.name, s.cron, s.timezone, "disabled" if upcoming is None else _local(s, upcoming), s.catch_up,
                    s.overlap, "never" if last is None else f"{last.when:%Y-%m-%d %H:%M}Z {_state(last)}",
                )
            )  # fmt: skip
    _table(rows)
    return 0


def _next(asked: _Asked, schedules: Sequence[Schedule]) -> int:
    count = _count("schedule next", asked.words[0]) if asked.words else 10
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


def _history(asked: _Asked) -> int:
    with opened(asked.storage, Path.cwd()) as ledger:
        firings = ledger.firings(asked.words[0] if asked.words else None, last=asked.rows)
    if not firings:
        of = f" of {asked.words[0]}" if asked.words else ""
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


# ------------------------------------------------------------------ running
def _run(asked: _Asked, schedule: Schedule) -> int:
    from initlab.operations.schedule import validate
    from initlab.operations.schedule.child import Process
    from initlab.operations.schedule.follow_up import follow_up
    from initlab.operations.schedule.scheduler import GRACE, identity

    stop = _stopping()
    validate.check(schedule)
    with opened(asked.storage, Path.cwd()) as ledger:
        firing = ledger.by_hand(schedule.name, datetime.now(UTC), owner := identity())
        if firing is None:
            raise ConfigError("schedule run", schedule.name, "a firing of it has no end yet: see schedule history")
        child = Process(schedule.run, firing.study, Path.cwd(), shown=True)
        ledger.started(firing, child.pid)
        asked_at = 0.0
        asked_as: State = "failed"
        while (code := child.code()) is None:
            cancelled = any(f.wish == "cancel" for f in ledger.beat(owner, datetime.now(UTC)))
            over = schedule.time_limit is not None and time.time() - firing.begun > schedule.time_limit
            if (stop.is_set() or over or cancelled) and not asked_at:
                asked_at, asked_as = time.time(), "timed_out" if over else "cancelled" if cancelled else "interrupted"
                child.ask()
            if asked_at and time.time() - asked_at > GRACE:
                child.kill()
            stop.wait(_PAUSE) if not asked_at else time.sleep(_PAUSE)
        state: State = "finished" if code == 0 else asked_as
        own_end = state in ("finished", "failed", "timed_out")
        ledger.end(firing, datetime.now(UTC), state=state, code=code, judged=not own_end)
        if own_end:
            for line in follow_up(schedule, replace(firing, state=state), ledger, Path.cwd()):
                _say(line)
    return 0 if code == 0 else 1


def _serve(asked: _Asked, schedules: Sequence[Schedule]) -> int:
    from sqlalchemy.exc import SQLAlchemyError

    from initlab.operations.schedule import validate
    from initlab.operations.schedule.child import Process
    from initlab.operations.schedule.scheduler import Scheduler

    if not any(s.enabled for s in schedules):
        raise ConfigError("enabled", False, f"no schedule in {asked.folder} is enabled: there is nothing to wait for")
    stop = _stopping()
    for schedule in schedules:
        validate.check(schedule)
        _check_secret(schedule)
    workdir = Path.cwd()
    with opened(asked.storage, workdir) as ledger:
        done = _Following(ledger, workdir)
        scheduler = Scheduler(
            schedules, ledger, launch=lambda s, f: Process(s.run, f.study, workdir), ended=done.add, say=_say
        )
        done.pick_up(schedules)
        trouble = ""
        _say(f"{sum(s.enabled for s in schedules)} schedules of {asked.folder}; Ctrl-C or SIGTERM stops")
        while not stop.is_set():
            try:
                scheduler.tick(datetime.now(UTC))
                trouble = ""
            except SQLAlchemyError as error:
                told = type(getattr(error, "orig", None) or error).__name__
                if told != trouble:
                    _say(f"the schedules' database is away ({told}): what runs goes on, nothing new begins")
                trouble = told
            stop.wait(_PAUSE)
        _drain(scheduler)
        done.close()
    return 0


def _drain(scheduler: object) -> None:
    from sqlalchemy.exc import SQLAlchemyError

    from initlab.operations.schedule.scheduler import Scheduler

    assert isinstance(scheduler, Scheduler)
    if scheduler.jobs:
        names = ", ".join(job.firing.study for job in scheduler.jobs.values())
        _say(f"stopping: {names} end after the update at hand, and go on at the next start")
    deadline = time.monotonic() + _DRAIN
    while True:
        try:
            if scheduler.drain(datetime.now(UTC), hard=time.monotonic() > deadline):
                return
        except SQLAlchemyError:
            if time.monotonic() > deadline + 10:
                return  # found to be dead by whoever comes next
        time.sleep(_PAUSE)


def _check_secret(schedule: Schedule) -> None:
    """Raises ConfigError, naming the file, for a variable that is not there: nobody would ever be told."""
    from initlab.operations.schedule.webhook import resolve_address

    try:
        resolve_address(schedule.webhook, schedule.webhook_env)
    except ConfigError as error:
        raise ConfigError(f"{schedule.file.name}: {error.key}", error.value, error.expected) from error


def _stopping() -> threading.Event:
    """Set by the first SIGTERM or Ctrl-C; a second one interrupts."""
    stop = threading.Event()

    def ask(number: int, _frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask)
    return stop


class _Following:
    """A thread that compares and tells, so that no schedule waits for a slow store or address."""

    def __init__(self, ledger: Ledger, workdir: Path) -> None:
        self._ledger, self._workdir = ledger, workdir
        self._waiting: queue.Queue[tuple[Schedule, Firing] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def add(self, schedule: Schedule, firing: Firing) -> None:
        self._waiting.put((schedule, firing))

    def pick_up(self, schedules: Sequence[Schedule]) -> None:
        """What a scheduler that was killed had no time for."""
        from initlab.operations.schedule.scheduler import is_dead

        by_name = {s.name: s for s in schedules}
        for firing in self._ledger.unjudged():
            if firing.schedule in by_name and is_dead(firing, datetime.now(UTC)):
                self.add(by_name[firing.schedule], firing)

    def close(self) -> None:
        """Wait for what there is, no longer than half a minute: the next start finds the rest."""
        self._waiting.put(None)
        self._thread.join(30)

    def _work(self) -> None:
        while (item := self._waiting.get()) is not None:
            _quietly(lambda item=item: self._follow(*item))

    def _follow(self, schedule: Schedule, firing: Firing) -> None:
        from initlab.operations.schedule.follow_up import follow_up

        current = next((f for f in self._ledger.firings(schedule.name) if f.due == firing.due), firing)
        if current.state in OPEN or current.judged:
            return
        for line in follow_up(schedule, current, self._ledger, self._workdir):
            _say(line)


def _quietly(act: Callable[[], None]) -> None:
    try:
        act()
    except InitlabError as error:
        _say(str(error))
    except Exception as error:
        _say(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")


def _say(line: str) -> None:
    from initlab.core.error_line import escape_control_characters

    width = shutil.get_terminal_size((400, 24)).columns if os.isatty(1) else 2000
    print(escape_control_characters(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}Z {line}")[:width], flush=True)
