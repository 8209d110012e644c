"""When a schedule is due, against a reading of the clock minute by minute."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from initlab.errors import ConfigError
from initlab.operations.schedule.cron import parse_rule
from tests.operations.schedule.clocks import oracle

CHANGES = [
    ("Europe/Berlin", datetime(2026, 3, 28, tzinfo=UTC)),
    ("Europe/Berlin", datetime(2026, 10, 24, tzinfo=UTC)),
    ("America/New_York", datetime(2026, 3, 7, tzinfo=UTC)),
    ("America/New_York", datetime(2026, 10, 31, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2026, 4, 4, tzinfo=UTC)),  # by half an hour
    ("Australia/Lord_Howe", datetime(2026, 10, 3, tzinfo=UTC)),
    ("Asia/Kolkata", datetime(2026, 2, 27, tzinfo=UTC)),  # never, and by half an hour from UTC
]
EXPRESSIONS = [
    "30 2 * * *", "0 3 * * *", "15 1 * * *", "*/20 * * * *", "5-50/15 1-3 * * *", "0 0 28 * *", "30 2 * * sun",
    "0 12 1,15 * 7", "10 4 * * 1-5", "0 2 */2 * *", "0 1 * * */2", "59 23 28-31 * 6",
]  # fmt: skip


@pytest.mark.parametrize(("zone", "start"), CHANGES, ids=[f"{z}-{s:%b}" for z, s in CHANGES])
def test_what_is_due_is_what_the_clock_shows(zone: str, start: datetime) -> None:
    end = start + timedelta(days=3)
    for expression in EXPRESSIONS:
        due = parse_rule(expression, zone).between(start, end)
        assert due == oracle(expression, zone, start, end), expression
        # one by one it is the same, so that nobody who asks often or seldom sees another
        at, one_by_one = start, list[datetime]()
        while (at := parse_rule(expression, zone).upcoming(at) or end) < end:
            one_by_one.append(at)
        assert one_by_one == [t for t in due if t < end], expression


def test_a_time_that_is_skipped_or_comes_twice_is_due_once() -> None:
    spring, autumn = datetime(2026, 3, 29, tzinfo=UTC), datetime(2026, 10, 25, tzinfo=UTC)
    at_half_past_two = parse_rule("30 2 * * *", "Europe/Berlin")
    (skipped,) = at_half_past_two.between(spring, spring + timedelta(hours=12))
    assert at_half_past_two.local(skipped).isoformat() == "2026-03-29T03:30:00+02:00"
    (twice,) = at_half_past_two.between(autumn - timedelta(hours=2), autumn + timedelta(hours=12))
    assert at_half_past_two.local(twice).isoformat() == "2026-10-25T02:30:00+02:00"


@pytest.mark.parametrize(
    ("cron", "zone", "key", "part"),
    [
        ("* * * *", "UTC", "cron", "4 fields"),
        ("60 * * * *", "UTC", "cron", "60"),
        ("* * * * 8", "UTC", "cron", "8 as a day of the week"),
        ("*/0 * * * *", "UTC", "cron", "five fields"),
        ("0 0 30 2 *", "UTC", "cron", "never comes"),
        ("a b c d e", "UTC", "cron", "five fields"),
        ("0 0 * * " + "1," * 500 + "1", "UTC", "cron", "longer"),
        ("0 0 * * *", "Europe/Berlim", "timezone", "did you mean Europe/Berlin?"),
        ("0 0 * * *", "../../../etc/passwd", "timezone", "no such time zone"),
        ("0 0 * * *", "", "timezone", "no such time zone"),
    ],
)
def test_a_mistake_is_told(cron: str, zone: str, key: str, part: str) -> None:
    with pytest.raises(ConfigError, match=part.replace("?", r"\?")) as told:
        parse_rule(cron, zone)
    assert told.value.key == key
