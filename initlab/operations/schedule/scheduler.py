"""Scheduler loop: at each tick, decides on due firings, starts them, watches them and ends them.

A tick receives the time and never reads a clock, so that tests can simulate a year in seconds.
"""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from initlab.operations.schedule.child import Child, alive, stop_orphan
from initlab.operations.schedule.files import Schedule
from initlab.operations.schedule.firing import Firing, State
from initlab.operations.schedule.ledger import Ledger
from initlab.operations.schedule.policy import Decision

#: interval of a scheduler's heartbeat, and of its search for firings that dead schedulers left
BEAT = timedelta(seconds=10)
#: seconds without a heartbeat after which a scheduler of another machine counts as dead
SILENCE = 90.0
#: seconds that a process has for ending after a request, before it is killed
GRACE = 60.0

StopReason = Literal["", "cancelled", "timed_out", "interrupted"]
_WHY: dict[StopReason, str] = {
    "cancelled": "a later one came due",
    "timed_out": "ran into its time limit",
    "interrupted": "the scheduler stopped",
}


def identity() -> str:
    """Identity of a scheduler: machine, process id, and a token that no later process with that id has."""
    return f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"


def is_dead(firing: Firing, now: datetime) -> bool:
    """Whether the scheduler that ran `firing` is gone."""
    host, _, rest = firing.owner.partition(":")
    pid = rest.partition(":")[0]
    if host == socket.gethostname() and pid.isdecimal():
        import psutil

        if not psutil.pid_exists(int(pid)):
            return True
    return now.timestamp() - firing.beat > SILENCE


@dataclass
class _Job:
    schedule: Schedule
    firing: Firing
    child: Child
    asked: StopReason = ""
    asked_at: float = 0.0


class Scheduler:
    """A scheduler; any number of them can share one database.

    Attributes:
        jobs: its running firings, by schedule.
    """

    def __init__(
        self,
        schedules: Sequence[Schedule],
        ledger: Ledger,
        *,
        launch: Callable[[Schedule, Firing], Child],
        ended: Callable[[Schedule, Firing], None],
        say: Callable[[str], None] = lambda _: None,
        owner: str | None = None,
        dead: Callable[[Firing, datetime], bool] = is_dead,
    ) -> None:
        """
        Args:
            launch: starts the process of a firing.
            ended: called with each firing that ended by itself; returns at once.
            say: receives lines to print.
            dead: whether the scheduler that runs a firing is gone.
        """
        self._schedules = tuple(schedules)
        self._ledger = ledger
        self._launch = launch
        self._ended = ended
        self._say = say
        self._dead = dead
        self.owner = owner or identity()
        self.jobs: dict[str, _Job] = {}
        self._upcoming: dict[str, datetime | None] = {}
        self._next_beat: datetime | None = None
        self._orphans: dict[str, float] = {}

    def tick(self, now: datetime) -> None:
        """One step at time `now`. Raises SQLAlchemyError where the database is away; the next tick continues."""
        freed = self._poll(now)
        beats = self._next_beat is None or now >= self._next_beat or now < self._next_beat - BEAT
        due = [s for s in self._schedules if self._is_due(s, now)]
        for schedule in due:
            self._report_decisions(schedule, self._ledger.look(schedule, now))
            self._upcoming[schedule.name] = schedule.rule.upcoming(now) if schedule.enabled else None
        if beats or due:
            self._beat(now)
        if freed or beats or due:
            self._begin_all(now)

    def wakes(self) -> datetime | None:
        """Time at which the next schedule is due; None where none is."""
        return min((t for t in self._upcoming.values() if t is not None), default=None)

    def drain(self, now: datetime, *, hard: bool = False) -> bool:
        """Ask all firings to end, to be resumed at the next start. Call it again until it returns True (all ended)."""
        for job in self.jobs.values():
            if hard:
                job.child.kill()
            self._request_stop(job, "interrupted", now)
        self._poll(now)
        return not self.jobs

    # -------------------------------------------------------------- pieces
    def _is_due(self, schedule: Schedule, now: datetime) -> bool:
        if schedule.name not in self._upcoming:
            return True  # first tick
        upcoming = self._upcoming[schedule.name]
        return upcoming is not None and now >= upcoming

    def _report_decisions(self, schedule: Schedule, decided: Sequence[Decision]) -> None:
        for d in decided:
            if d.verdict == "skipped":
                self._say(f"{schedule.name} {schedule.rule.local(d.due):%Y-%m-%d %H:%M %Z}: skipped, {d.reason}")

    def _poll(self, now: datetime) -> bool:
        """Check the running firings; returns whether one ended."""
        freed = False
        for name, job in list(self.jobs.items()):
            code = job.child.code()
            if code is not None:
                self._end(job, code, now)
                del self.jobs[name]
                freed = True
                continue
            limit = job.schedule.time_limit
            if limit is not None and job.firing.spent + now.timestamp() - job.firing.begun > limit:
                self._request_stop(job, "timed_out", now)
            if job.asked and now.timestamp() - job.asked_at > GRACE:
                job.child.kill()
        return freed

    def _request_stop(self, job: _Job, why: StopReason, now: datetime) -> None:
        if not job.asked:
            job.asked, job.asked_at = why, now.timestamp()
            job.child.ask()

    def _end(self, job: _Job, code: int, now: datetime) -> None:
        state: State = "finished" if code == 0 else job.asked or "failed"
        log = f"see .initlab/schedule/{job.firing.study}.log"
        why = f"signal {-code}" if code < 0 else f"exit code {code}"
        reason = "" if state == "finished" else _WHY.get(job.asked, f"{why}; {log}")
        own_end = state in ("finished", "failed", "timed_out")
        mine = self._ledger.end(job.firing, now, state=state, code=code, reason=reason, judged=not own_end)
        self._say(f"{job.firing.study}: {state.replace('_', ' ')}{f' ({reason})' if reason else ''}")
        if own_end and mine:
            self._ended(job.schedule, job.firing)

    def _beat(self, now: datetime) -> None:
        self._next_beat = now + BEAT
        mine = {f.schedule: f for f in self._ledger.beat(self.owner, now)}
        for name, job in self.jobs.items():
            held = mine.get(name)
            if held is None or held.due != job.firing.due:
                # this scheduler was declared dead by mistake: another one runs the firing now, so end this copy
                self._request_stop(job, "interrupted", now)
            elif held.wish == "cancel":
                self._request_stop(job, "cancelled", now)
        for lost in self._ledger.take_over(lambda f: f.owner != self.owner and self._dead(f, now)):
            self._say(f"{lost.study}: its scheduler died")

    def _begin_all(self, now: datetime) -> None:
        without_end: dict[str, list[Firing]] = {}
        for firing in self._ledger.without_end():
            without_end.setdefault(firing.schedule, []).append(firing)
        for schedule in self._schedules:
            found = without_end.get(schedule.name, [])
            if found and not any(f.state == "running" for f in found) and not self._stop_orphans(found, now):
                self._begin(schedule, now)

    def _begin(self, schedule: Schedule, now: datetime) -> None:
        firing = self._ledger.begin(schedule.name, now, self.owner)
        if firing is None:
            return
        try:
            child = self._launch(schedule, firing)
        except OSError as error:
            self._ledger.end(firing, now, state="failed", code=1, reason=f"cannot be started: {error}")
            self._say(f"{firing.study}: cannot be started ({error})")
            return
        self.jobs[schedule.name] = _Job(schedule, firing, child)
        self._ledger.started(firing, child.pid)
        again = f", attempt {firing.attempts}" if firing.attempts > 1 else ""
        self._say(f"{firing.study}: started{again} (process {child.pid})")

    def _stop_orphans(self, found: Sequence[Firing], now: datetime) -> bool:
        """Whether a process of a killed scheduler still works on one of the firings; asks it to end."""
        host = socket.gethostname()
        for f in found:
            if f.owner.startswith(f"{host}:") and alive(f.pid, f.study):
                since = self._orphans.setdefault(f.study, now.timestamp())
                stop_orphan(f.pid, hard=now.timestamp() - since > GRACE)
                return True
        return False
