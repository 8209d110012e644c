"""Ninety days on a clock that is turned by hand: changes of the clock, schedulers that die, firings that overlap."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from initlab.operations.schedule.firing import Firing, study_of
from initlab.operations.schedule.ledger import Ledger, open_ledger
from initlab.operations.schedule.policy import ON_TIME
from tests.operations.schedule.clocks import MINUTE, Clock, House, oracle, schedule
from tests.study.postgres_server import Postgres, needed

pytestmark = pytest.mark.process

#: from before the change of the clock in New York (8 March) to after that in Lord Howe (5 April); Berlin's is between
START = datetime(2026, 2, 20, 12, 0, 30, tzinfo=UTC)
#: of the whole on a file; on PostgreSQL, where every look takes longer, the changes of the clock are enough
DAYS = {"sqlite": 90, "postgresql": 50}
SCHEDULES = (
    schedule("nightly", "30 2 * * *", "Europe/Berlin", catch_up="latest", overlap="skip"),
    schedule("often", "10 */4 * * *", "America/New_York", catch_up="none", overlap="queue"),
    schedule("weekdays", "0 22 * * 1-5", "Asia/Kolkata", catch_up="all", overlap="skip"),
    schedule("long", "0 */6 * * *", "Australia/Lord_Howe", catch_up="latest", overlap="skip"),
    schedule("newest", "0 1,2,3 * * *", "Europe/Berlin", catch_up="none", overlap="cancel_previous"),
    schedule("limited", "45 5 * * *", "UTC", catch_up="none", overlap="skip", time_limit=3600.0),
)
LENGTHS = {
    "nightly": timedelta(hours=3), "often": timedelta(hours=3, minutes=50), "weekdays": timedelta(minutes=50),
    "long": timedelta(hours=8), "newest": timedelta(minutes=90), "limited": timedelta(hours=2),
}  # fmt: skip
#: states in which a firing has been begun and has its end
BEGUN = {"finished", "failed", "timed_out", "cancelled"}


def lived(house: House, *, end: datetime, downtimes: list[tuple[datetime, datetime]], seed: int) -> None:
    """Go through the days, minute by minute where something happens, with two schedulers most of the time."""
    rng = random.Random(seed)
    clock = house.clock
    number = 0
    while clock.now < end:
        down = next((span for span in downtimes if span[0] <= clock.now < span[1]), None)
        if down is not None:
            for name in list(house.live):
                (house.kill if rng.random() < 0.5 else house.stop)(name)
            clock.now = max(clock.now, down[1])
        while len(house.live) < 2:
            number += 1
            house.start(f"s{number}")
        if rng.random() < 0.01:  # one dies while the other lives
            house.kill(rng.choice(list(house.live)))
        house.tick()
        wakes = [t for s in house.live.values() if (t := s.wakes()) is not None]
        ends = [w.ends for s in house.live.values() for w in _works(s)]
        limits = [
            datetime.fromtimestamp(j.firing.begun + j.schedule.time_limit - j.firing.spent, UTC) + MINUTE
            for s in house.live.values() for j in s.jobs.values() if j.schedule.time_limit is not None
        ]  # fmt: skip
        following = min([t for t in (*wakes, *ends, *limits) if t > clock.now], default=end)
        # no scheduler is asleep for longer than between two of its beats; here often enough to find what others left
        clock.now = min(following, clock.now + timedelta(minutes=rng.choice((2, 20, 200))))


def _works(scheduler: object) -> list[object]:
    return [job.child for job in scheduler.jobs.values()]  # type: ignore[attr-defined]


def downs(seed: int, end: datetime) -> list[tuple[datetime, datetime]]:
    rng = random.Random(seed)
    at, found = START + timedelta(days=1), list[tuple[datetime, datetime]]()
    while at < end - timedelta(days=6):
        length = timedelta(minutes=rng.choice((3, 40, 400, 3000, 6000)))
        found.append((at, at + length))
        at += length + timedelta(hours=rng.uniform(20, 200))
    return found


@pytest.fixture
def ledgers(database: str, tmp_path: Path) -> Iterator[list[Ledger]]:
    """Two connections to one database, as two schedulers have them."""
    if database == "sqlite":
        found = [open_ledger(None, tmp_path) for _ in range(2)]
        yield found
    else:
        server = Postgres(needed())
        try:
            server.start()
            url = server.create("schedules")
            found = [open_ledger(url, tmp_path) for _ in range(2)]
            yield found
            for ledger in found:
                ledger.close()
        finally:
            server.remove()
        return
    for ledger in found:
        ledger.close()


@pytest.mark.parametrize("database", DAYS)
def test_each_time_is_begun_once_or_passed_over_for_a_reason(database: str, ledgers: list[Ledger]) -> None:
    seed, end = 7, START + timedelta(days=DAYS[database])
    downtimes = downs(seed, end)
    house = House(SCHEDULES, Clock(START), ledgers, LENGTHS)
    lived(house, end=end, downtimes=downtimes, seed=seed)
    begun = Counter((name, due) for name, due, _, _ in house.begun)
    attempts_ended = Counter(house.ended)
    for s in SCHEDULES:
        recorded = {f.due: f for f in ledgers[0].firings(s.name)}
        due = oracle(s.cron, s.timezone, START, house.clock.now)
        # every time is there, and nothing but these
        last = max(recorded)
        assert sorted(recorded) == [int(t.timestamp()) for t in due if t.timestamp() <= last], s.name
        assert all(t.timestamp() <= last for t in due if t < end - timedelta(hours=1)), s.name
        for f in recorded.values():
            _has_its_end(f, begun[s.name, f.due], attempts_ended[f.study], end)
        _follows_its_policy(s.name, recorded, downtimes)
    assert sum(begun.values()) > 5.5 * (end - START).days
    states = Counter(f.state for f in ledgers[0].firings())
    assert {"finished", "skipped", "cancelled", "timed_out"} <= set(states), states


def _has_its_end(f: Firing, begun: int, ended: int, end: datetime) -> None:
    assert f.study == study_of(f.schedule, f.when)
    assert begun == f.attempts, f
    if f.state == "skipped":
        assert begun == 0 and f.reason.startswith(("missed: ", "overlap: ")), f
    elif f.state in ("finished", "failed", "timed_out"):
        assert begun >= 1 and (ended == 1 or f.reason.startswith("given up")), f
    else:
        assert ended == 0, f
        assert f.state == "cancelled" or f.when > end - timedelta(days=3), f


def _follows_its_policy(name: str, recorded: dict[int, Firing], downtimes: list[tuple[datetime, datetime]]) -> None:
    # no one of those that were due while nobody was there, and none but those, was missed
    within = {
        f.due for f in recorded.values()
        for begin, end in downtimes if begin + 2 * MINUTE < f.when < end - ON_TIME - 2 * MINUTE
    }  # fmt: skip
    missed = {f.due for f in recorded.values() if f.reason.startswith("missed: ")}
    near = {f.due for f in recorded.values() if any(b - timedelta(hours=2) <= f.when <= e for b, e in downtimes)}
    assert missed <= near, name
    if name == "weekdays":  # all are caught up
        assert not missed and all(recorded[d].attempts for d in within)
    elif name in ("often", "newest", "limited"):  # none is
        assert within <= missed
    else:  # the latest is
        for begin, end in downtimes:
            inside = sorted(d for d in within if begin.timestamp() < d < end.timestamp())
            assert all(d in missed for d in inside[:-1]), name
