"""Runs schedules in the foreground: starts firings when they are due, compares their results, stops cleanly."""

from __future__ import annotations

import os
import queue
import shutil
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from initlab.errors import ConfigError, InitlabError
from initlab.operations.schedule.files import Schedule
from initlab.operations.schedule.firing import OPEN, Firing, State
from initlab.operations.schedule.ledger import Ledger, opened

#: seconds that processes have to end when the scheduler is stopped
_DRAIN = 120.0
#: seconds between two ticks
_PAUSE = 0.5


def run_now(schedule: Schedule, storage: str | None) -> int:
    """Start a firing of `schedule` now and wait for its end. Returns the exit code."""
    from initlab.operations.schedule import validate
    from initlab.operations.schedule.child import Process
    from initlab.operations.schedule.follow_up import follow_up
    from initlab.operations.schedule.scheduler import GRACE, identity

    stop = _stopping()
    validate.check(schedule)
    with opened(storage, Path.cwd()) as ledger:
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


def serve(schedules: Sequence[Schedule], storage: str | None, *, folder: Path) -> int:
    """Run the schedules until SIGTERM or Ctrl-C. Returns the exit code.

    Args:
        schedules: of `folder`.
        storage: URL of the database of firings; None is a file in the working directory.
        folder: of the schedules' files, for messages.
    """
    from sqlalchemy.exc import SQLAlchemyError

    from initlab.operations.schedule import validate
    from initlab.operations.schedule.child import Process
    from initlab.operations.schedule.scheduler import Scheduler

    if not any(s.enabled for s in schedules):
        raise ConfigError("enabled", False, f"no schedule in {folder} is enabled: there is nothing to wait for")
    stop = _stopping()
    for schedule in schedules:
        validate.check(schedule)
        _check_secret(schedule)
    workdir = Path.cwd()
    with opened(storage, workdir) as ledger:
        done = _Following(ledger, workdir)
        scheduler = Scheduler(
            schedules, ledger, launch=lambda s, f: Process(s.run, f.study, workdir), ended=done.add, say=_say
        )
        done.pick_up(schedules)
        trouble = ""
        _say(f"{sum(s.enabled for s in schedules)} schedules of {folder}; Ctrl-C or SIGTERM stops")
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
