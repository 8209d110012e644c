"""Cron expressions in a time zone: computes the instants at which a schedule is due.

The expression is that of cron(5): minute, hour, day of the month, month, day of the week, where 0 and 7 are Sunday and
a day fits where either of two restricted day fields does. It is matched on the wall clock of the time zone. A time that
the clock skips in spring is read with the offset from before the change, one that comes twice in autumn is its first
occurrence (RFC 5545, 3.3.5), and what then falls on one instant is due once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from initlab.errors import ConfigError

FORM = "five fields, MINUTE HOUR DAY MONTH WEEKDAY, such as '30 2 * * mon-fri' (half past two on working days)"
_NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
#: no clock change is larger, except where a country moved across the date line
_CHANGE = timedelta(hours=3)
#: a longer text can only be a mistake
_LONGEST = 200


@dataclass(frozen=True)
class Rule:
    """A cron expression in a time zone. Created by `parse_rule`."""

    expression: str
    timezone: str

    @cached_property
    def _zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    @cached_property
    def _fields(self) -> str:
        return _fields(self.expression)

    def between(self, after: datetime, until: datetime) -> list[datetime]:
        """Instants (UTC) later than `after` and no later than `until`, in order."""
        first, last = self._wall(after) - _CHANGE, self._wall(until) + _CHANGE
        found: set[datetime] = set()
        for wall in self._walls(first):
            if wall > last:
                break
            instant = self._instant(wall)
            if after < instant <= until:
                found.add(instant)
        return sorted(found)

    def upcoming(self, after: datetime) -> datetime | None:
        """The first instant later than `after`; None where there is no further one."""
        best: datetime | None = None
        limit: datetime | None = None
        for wall in self._walls(self._wall(after) - _CHANGE):
            if limit is not None and wall > limit:
                break
            instant = self._instant(wall)
            if instant > after and (best is None or instant < best):
                best = instant
                # a skipped hour is read as a later one, and the next wall times may come before that
                limit = limit or wall + _CHANGE
        return best

    def local(self, instant: datetime) -> datetime:
        """`instant` in the time zone of the schedule."""
        return instant.astimezone(self._zone)

    def _wall(self, instant: datetime) -> datetime:
        return instant.astimezone(self._zone).replace(tzinfo=None)

    def _instant(self, wall: datetime) -> datetime:
        # fold=0 is RFC 5545's reading of both the skipped and the repeated hour
        return wall.replace(tzinfo=self._zone, fold=0).astimezone(UTC)

    def _walls(self, first: datetime) -> Iterator[datetime]:
        """Wall times of the matches from `first` on: times without a zone, of a clock without changes."""
        from cronsim import CronSim

        return CronSim(self._fields, first.replace(second=0, microsecond=0) - timedelta(minutes=1))


def parse_rule(expression: str, timezone: str) -> Rule:
    """Parse a cron expression.

    Raises:
        ConfigError: naming `cron` or `timezone`.
    """
    try:
        # the name is untrusted and names a file of the time zone database: zoneinfo refuses paths
        ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ConfigError("timezone", timezone, f"no such time zone{_suggestion(timezone)}") from error
    made = Rule(" ".join(expression.split()), timezone)
    from cronsim import CronSimError

    try:
        if len(expression) > _LONGEST:
            raise ValueError(f"longer than {_LONGEST} characters")
        if made.upcoming(datetime.now(UTC)) is None:
            raise ConfigError("cron", expression, "this date never comes")
    except (ValueError, OverflowError, CronSimError) as error:
        if isinstance(error, CronSimError) and _is_good_but_for_its_month(made):
            raise ConfigError("cron", expression, "this date never comes") from error
        raise ConfigError("cron", expression[:_LONGEST], f"must be {FORM} ({error})") from error
    return made


def _is_good_but_for_its_month(rule: Rule) -> bool:
    """Whether the day of the month exists in other months."""
    from cronsim import CronSim, CronSimError

    minute, hour, day, _, weekday = rule.expression.split()
    try:
        CronSim(f"{minute} {hour} {day} * {weekday}", datetime(2000, 1, 1))
    except CronSimError:
        return False
    return True


def _suggestion(timezone: str) -> str:
    import difflib
    from zoneinfo import available_timezones

    near = difflib.get_close_matches(timezone, available_timezones(), n=1)
    return f" (did you mean {near[0]}?)" if near else "; use a name such as Europe/Berlin or UTC"


# ------------------------------------------------------------------ the expression
def _fields(expression: str) -> str:
    """The five fields, nicknames replaced and weekdays as single names."""
    fields = _NICKNAMES.get(expression.lower(), expression).lower().split()
    if len(fields) != 5:
        raise ValueError(f"{len(fields)} fields")
    if any(c in field for field in fields[:4] for c in "lw#?"):
        raise ValueError("L, W, # and ? are of other crons")
    *others, weekday = fields
    # a field that begins with a star does not restrict, also where it has a step
    return " ".join([*others, weekday if weekday == "*" else _weekdays(weekday)])


def _weekdays(field: str) -> str:
    """Weekdays as single names, so that ranges over the end of the week work."""
    found: list[str] = []
    for part in field.split(","):
        span, slash, step = part.partition("/")
        if not slash:
            step = "1"
        if not step.isdecimal() or int(step) < 1:
            raise ValueError(f"{part} as the day of the week")
        if span == "*":
            first, last = 0, 6
        else:
            low, dash, high = span.partition("-")
            first = _weekday(low)
            last = _weekday(high) if dash else (6 if slash else first)
            if last < first:
                last += 7  # fri-mon
        found += [_DAYS[d % 7] for d in range(first, last + 1, int(step))]
    return ",".join(dict.fromkeys(found))


def _weekday(text: str) -> int:
    if text in _DAYS:
        return _DAYS.index(text)
    if text.isdecimal() and len(text) == 1 and int(text) <= 7:
        return int(text)
    raise ValueError(f"{text or 'nothing'} as a day of the week")
