"""A second reading of cron expressions, minute by minute, and schedulers on a clock that is turned by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from initlab.operations.schedule.files import Schedule
from initlab.operations.schedule.firing import Firing
from initlab.operations.schedule.ledger import Ledger
from initlab.operations.schedule.scheduler import Scheduler

MINUTE = timedelta(minutes=1)
_NAMES = {d: i for i, d in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}


def oracle(expression: str, zone: str, after: datetime, until: datetime) -> list[datetime]:
    """Every minute of the wall clock that fits, also those that the clock skips, as RFC 5545 has them; brute force."""
    place = ZoneInfo(zone)
    wall = (after.astimezone(place) - timedelta(days=1)).replace(tzinfo=None, second=0, microsecond=0)
    last = (until.astimezone(place) + timedelta(days=1)).replace(tzinfo=None)
    found: set[datetime] = set()
    while wall <= last:
        if _fits(expression, wall):
            # before the change: the offset that the place had half a day earlier, unless the time exists as it is
            candidates = [
                c for fold in (0, 1)
                if (c := wall.replace(tzinfo=place, fold=fold).astimezone(UTC)).astimezone(place).replace(tzinfo=None)
                == wall
            ]  # fmt: skip
            earlier = (wall - timedelta(hours=12)).replace(tzinfo=place).utcoffset()
            assert earlier is not None
            found.add(min(candidates) if candidates else (wall - earlier).replace(tzinfo=UTC))
        wall += MINUTE
    return sorted(t for t in found if after < t <= until)


def _fits(expression: str, wall: datetime) -> bool:
    minute, hour, day, month, weekday = expression.split()
    if not (
        _in(minute, wall.minute, 0, 59) and _in(hour, wall.hour, 0, 23) and _in(month, wall.month, 1, 12)
    ):  # fmt: skip
        return False
    by_date = _in(day, wall.day, 1, 31)
    number = wall.isoweekday() % 7
    by_name = _in(weekday, number, 0, 7) or (number == 0 and _in(weekday, 7, 0, 7))
    if day.startswith("*") or weekday.startswith("*"):
        return by_date and by_name
    return by_date or by_name


def _in(field: str, value: int, low: int, high: int) -> bool:
    for part in field.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        begin = low if span == "*" else _NAMES.get(first) if first in _NAMES else int(first)
        end = high if span == "*" else (_NAMES.get(last) if last in _NAMES else int(last)) if last else begin
        if step and span != "*" and not last:
            end = high
        assert begin is not None and end is not None
        if value in range(begin, end + 1, int(step or 1)):
            return True
    return False


class Work:
    """A process of the simulation: it ends after its time, and a minute after it is asked to."""

    pid = 0

    def __init__(self, clock: Clock, length: timedelta, *, code: int = 0) -> None:
        self.clock, self.ends, self.result, self.killed = clock, clock.now + length, code, False

    def code(self) -> int | None:
        if self.killed:
            return -9
        return self.result if self.clock.now >= self.ends else None

    def ask(self) -> None:
        if self.clock.now + MINUTE < self.ends:
            self.ends, self.result = self.clock.now + MINUTE, 1

    def kill(self) -> None:
        self.killed = True


class Clock:
    """A time that stands until it is turned."""

    def __init__(self, now: datetime) -> None:
        self.now = now


class House:
    """Schedulers on one database, what they began, and which of them are alive.

    Attributes:
        begun: schedule, due, when, by whom; of every attempt.
        ended: of every firing that came to an end of its own.
    """

    def __init__(
        self, schedules: tuple[Schedule, ...], clock: Clock, ledgers: list[Ledger], lengths: dict[str, timedelta]
    ):
        self.clock, self.schedules, self.lengths = clock, schedules, lengths
        self.begun: list[tuple[str, int, datetime, str]] = []
        self.ended: list[str] = []
        self.live: dict[str, Scheduler] = {}
        self.works: dict[tuple[str, int], list[tuple[str, Work]]] = {}
        self._ledgers = ledgers

    def start(self, name: str) -> None:
        def launch(schedule: Schedule, firing: Firing) -> Work:
            self.begun.append((schedule.name, firing.due, self.clock.now, name))
            work = Work(self.clock, self.lengths[schedule.name])
            others = self.works.setdefault((schedule.name, 0), [])
            assert all(w.code() is not None or owner not in self.live for owner, w in others), "two at once"
            others.append((name, work))
            return work

        self.live[name] = Scheduler(
            self.schedules, self._ledgers[len(self.live) % len(self._ledgers)], launch=launch,
            ended=lambda _s, f: self.ended.append(f.study), owner=f"elsewhere:0:{name}",
            dead=lambda f, _now: f.owner.rpartition(":")[2] not in self.live,
        )  # fmt: skip

    def kill(self, name: str) -> None:
        """As by `kill -9` of the machine: its processes are gone with it."""
        scheduler = self.live.pop(name)
        for job in scheduler.jobs.values():
            job.child.kill()

    def stop(self, name: str) -> None:
        """As by SIGTERM."""
        scheduler = self.live.pop(name)
        while not scheduler.drain(self.clock.now):
            self.clock.now += MINUTE

    def tick(self) -> None:
        for scheduler in list(self.live.values()):
            scheduler.tick(self.clock.now)


def schedule(name: str, cron: str, zone: str, **more: object) -> Schedule:
    return Schedule(name=name, cron=cron, timezone=zone, run=("init=he,xavier",), file=Path(f"{name}.yaml"), **more)  # type: ignore[arg-type]
