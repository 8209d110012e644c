"""Database of the schedulers: every firing that was due, with its state and result.

A firing is a row, its key the schedule and the time, so that none is ever there twice. Whoever decides anything does so
in one transaction that no other scheduler's can overlap: SQLite's write lock, an advisory lock of PostgreSQL's.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from initlab.errors import ConfigError
from initlab.operations.schedule.firing import Firing, State, study_of
from initlab.operations.schedule.policy import Decision, decide
from initlab.study.search.storage import check_answers, choose_url, connect_arguments, redact_passwords

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

    from initlab.operations.schedule.files import Schedule

#: how often a firing is begun, before it is given up: what ends its scheduler each time will do so again
ATTEMPTS = 5
_COLUMNS = (
    "schedule", "due", "study", "state", "reason", "owner", "pid", "beat", "begun", "ended", "spent", "attempts",
    "code", "wish", "judged", "told", "regressions",
)  # fmt: skip
#: the same types in both databases; times are Unix seconds
_TABLES = (
    "CREATE TABLE IF NOT EXISTS initlab_schedules (name VARCHAR(64) PRIMARY KEY, rule VARCHAR(400) NOT NULL,"
    " seen DOUBLE PRECISION NOT NULL)",
    "CREATE TABLE IF NOT EXISTS initlab_firings (schedule VARCHAR(64) NOT NULL, due BIGINT NOT NULL,"
    " study VARCHAR(120) NOT NULL, state VARCHAR(16) NOT NULL, reason TEXT NOT NULL, owner VARCHAR(200) NOT NULL,"
    " pid BIGINT NOT NULL, beat DOUBLE PRECISION NOT NULL, begun DOUBLE PRECISION NOT NULL,"
    " ended DOUBLE PRECISION NOT NULL, spent DOUBLE PRECISION NOT NULL, attempts INTEGER NOT NULL,"
    " code INTEGER NOT NULL, wish VARCHAR(16) NOT NULL, judged INTEGER NOT NULL, told TEXT NOT NULL,"
    " regressions TEXT NOT NULL, PRIMARY KEY (schedule, due))",
)
#: seconds that SQLite's lock is waited for
_PATIENCE = 30.0


def open_ledger(given: str | None, workdir: Path) -> Ledger:
    """The database at the URL `given`, else a SQLite file in `workdir`; its tables are made.

    Raises:
        ConfigError: naming `schedule.storage`, without any password.
    """
    from sqlalchemy.exc import SQLAlchemyError

    default = f"sqlite:///{(workdir / '.initlab' / 'schedule.db').absolute().as_posix()}"
    try:
        url = choose_url(given or default, None, workdir)
    except ConfigError as error:
        raise ConfigError("schedule.storage", error.value, error.expected.replace("study.", "schedule.")) from error
    try:
        if url.startswith("sqlite:///"):
            Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        return Ledger(_engine(url))
    except (SQLAlchemyError, ImportError, OSError) as error:
        cause = getattr(error, "orig", None) or error
        reason = redact_passwords(" ".join(str(cause).split("\n")[0].split())) or type(cause).__name__
        raise ConfigError("schedule.storage", redact_passwords(url), f"cannot be used: {reason}") from error


def _engine(url: str) -> Engine:
    from sqlalchemy import create_engine, event

    if url.startswith("sqlite"):
        made = create_engine(url, connect_args={"timeout": _PATIENCE, "isolation_level": None})
        turn = "BEGIN IMMEDIATE"
    else:
        made = create_engine(url, pool_pre_ping=True, connect_args=connect_arguments())
        check_answers(made, url)
        turn = f"SELECT pg_advisory_xact_lock({zlib.crc32(b'initlab schedule')})"

    @event.listens_for(made, "begin")
    def take_turn(connection: Connection) -> None:  # pyright: ignore[reportUnusedFunction]
        connection.exec_driver_sql(turn)

    return made


class Ledger:
    """The database. Every method is one transaction; all may raise SQLAlchemyError where it is away."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        with engine.begin() as connection:
            for table in _TABLES:
                connection.exec_driver_sql(table)

    def close(self) -> None:
        self._engine.dispose()

    # -------------------------------------------------------------- what is due
    def look(self, schedule: Schedule, now: datetime) -> tuple[Decision, ...]:
        """Decide on all times of `schedule` that came due since anybody looked, and remember that they were looked at.

        A schedule that is new, or was changed, begins now. A clock that was set back makes nothing due again.
        """
        mark = f"{schedule.rule.expression} {schedule.timezone} {'on' if schedule.enabled else 'off'}"
        with self._engine.begin() as c:
            row = _one(c, "SELECT rule, seen FROM initlab_schedules WHERE name = :name", name=schedule.name)
            if row is None:
                _do(c, "INSERT INTO initlab_schedules VALUES (:name, :rule, :seen)", name=schedule.name, rule=mark,
                    seen=now.timestamp())  # fmt: skip
                return ()
            changed, seen = row[0] != mark, datetime.fromtimestamp(row[1], UTC)
            if now <= seen and not changed:
                return ()
            _do(c, "UPDATE initlab_schedules SET rule = :rule, seen = :seen WHERE name = :name", name=schedule.name,
                rule=mark, seen=max(now, seen).timestamp())  # fmt: skip
            due = [] if changed or not schedule.enabled else schedule.rule.between(seen, now)
            if not due:
                return ()
            decided = decide(
                due,
                now=now,
                open_before=len(_open(c, schedule.name)),
                catch_up=schedule.catch_up,
                overlap=schedule.overlap,
            )
            if any(d.cancels for d in decided):
                self._cancel(c, schedule.name, now)
            for decision in decided:
                _insert(c, schedule.name, decision, now)
        return decided

    def _cancel(self, c: Connection, name: str, now: datetime) -> None:
        of = "schedule = :name AND state"
        _do(c, f"UPDATE initlab_firings SET wish = 'cancel' WHERE {of} = 'running'", name=name)
        _do(c, f"UPDATE initlab_firings SET state = 'cancelled', reason = 'a later one came due', ended = :now"
            f" WHERE {of} IN ('waiting', 'interrupted')", name=name, now=now.timestamp())  # fmt: skip

    def by_hand(self, name: str, now: datetime, owner: str) -> Firing | None:
        """A firing that a person asks for, running at once; None where one of the schedule has no end yet."""
        with self._engine.begin() as c:
            if _open(c, name):
                return None
            taken = {f.due for f in _firings(c, "WHERE schedule = :name AND due >= :now", name=name,
                                             now=int(now.timestamp()))}  # fmt: skip
            due = int(now.timestamp())
            while due in taken or due % 60 == 0:
                due += 1
            _insert(c, name, Decision(due=datetime.fromtimestamp(due, UTC), verdict="waiting", reason="by hand"), now)
            return self._take(c, name, due, now, owner)

    # -------------------------------------------------------------- whose turn it is
    def begin(self, name: str, now: datetime, owner: str) -> Firing | None:
        """Take the next firing of a schedule of which none runs; None where there is none to begin."""
        with self._engine.begin() as c:
            waiting = _open(c, name)
            if not waiting or any(f.state == "running" for f in waiting):
                return None
            # what was begun is ended first
            first = min(waiting, key=lambda f: (f.state != "interrupted", f.due))
            if first.attempts >= ATTEMPTS:
                _do(c, "UPDATE initlab_firings SET state = 'failed', reason = :why, ended = :now"
                    " WHERE schedule = :name AND due = :due", name=name, due=first.due, now=now.timestamp(),
                    why=f"given up: interrupted {first.attempts} times")  # fmt: skip
                return None
            return self._take(c, name, first.due, now, owner)

    def _take(self, c: Connection, name: str, due: int, now: datetime, owner: str) -> Firing:
        _do(c, "UPDATE initlab_firings SET state = 'running', owner = :owner, pid = 0, beat = :now, begun = :now,"
            " ended = 0, wish = '', judged = 0, attempts = attempts + 1 WHERE schedule = :name AND due = :due",
            owner=owner, now=now.timestamp(), name=name, due=due)  # fmt: skip
        return _firings(c, "WHERE schedule = :name AND due = :due", name=name, due=due)[0]

    def started(self, firing: Firing, pid: int) -> None:
        with self._engine.begin() as c:
            _do(c, "UPDATE initlab_firings SET pid = :pid WHERE schedule = :name AND due = :due AND owner = :owner",
                pid=pid, name=firing.schedule, due=firing.due, owner=firing.owner)  # fmt: skip

    def beat(self, owner: str, now: datetime) -> list[Firing]:
        """Say that `owner` lives; what it is to run, with wishes of others."""
        with self._engine.begin() as c:
            _do(c, "UPDATE initlab_firings SET beat = :now WHERE owner = :owner AND state = 'running'", owner=owner,
                now=now.timestamp())  # fmt: skip
            return _firings(c, "WHERE owner = :owner AND state = 'running'", owner=owner)

    def end(
        self, firing: Firing, now: datetime, *, state: State, code: int, reason: str = "", judged: bool = False
    ) -> bool:
        """The end of an attempt; False where the firing has gone to another scheduler since."""
        with self._engine.begin() as c:
            done = _do(
                c, "UPDATE initlab_firings SET state = :state, code = :code, reason = :reason, ended = :now, pid = 0,"
                " judged = :judged, spent = spent + (:now - begun) WHERE schedule = :name AND due = :due"
                " AND owner = :owner AND state = 'running'",
                state=state, code=code, reason=reason[:1000], now=now.timestamp(), name=firing.schedule, due=firing.due,
                owner=firing.owner, judged=int(judged),
            )  # fmt: skip
        return done == 1

    def take_over(self, dead: Callable[[Firing], bool]) -> list[Firing]:
        """Free what dead schedulers ran, to be begun again; those firings, as they were."""
        with self._engine.begin() as c:
            lost = [f for f in _firings(c, "WHERE state = 'running'") if dead(f)]
            for f in lost:
                # the process may live on: its number stays
                _do(c, "UPDATE initlab_firings SET state = 'interrupted', reason = 'its scheduler died',"
                    " spent = spent + (beat - begun), ended = beat"
                    " WHERE schedule = :name AND due = :due", name=f.schedule, due=f.due)  # fmt: skip
        return lost

    # -------------------------------------------------------------- what came of it
    def judge(self, firing: Firing, *, regressions: Sequence[str], told: str) -> None:
        with self._engine.begin() as c:
            _do(c, "UPDATE initlab_firings SET judged = 1, told = :told, regressions = :regressions"
                " WHERE schedule = :name AND due = :due", told=told[:500], regressions=json.dumps(list(regressions)),
                name=firing.schedule, due=firing.due)  # fmt: skip

    def firings(self, name: str | None = None, *, last: int | None = None) -> list[Firing]:
        """Of one schedule or of all, latest first."""
        where = "" if name is None else "WHERE schedule = :name"
        limit = "" if last is None else f" LIMIT {int(last)}"
        with self._engine.begin() as c:
            return _firings(
                c, f"{where} ORDER BY due DESC, schedule{limit}", **({} if name is None else {"name": name})
            )

    def without_end(self) -> list[Firing]:
        """What waits, runs, or is to be gone on with."""
        with self._engine.begin() as c:
            return _firings(c, "WHERE state IN ('waiting', 'running', 'interrupted')")

    def before(self, firing: Firing) -> Firing | None:
        """The last firing before `firing` that came to a good end."""
        with self._engine.begin() as c:
            found = _firings(c, "WHERE schedule = :name AND due < :due AND state = 'finished'"
                             " ORDER BY due DESC LIMIT 1", name=firing.schedule, due=firing.due)  # fmt: skip
        return found[0] if found else None

    def unjudged(self) -> list[Firing]:
        """What ended without anybody having compared it or told of it."""
        with self._engine.begin() as c:
            return _firings(c, "WHERE judged = 0 AND state IN ('finished', 'failed', 'timed_out')")


# ------------------------------------------------------------------ rows
@contextmanager
def opened(given: str | None, workdir: Path) -> Generator[Ledger]:
    """`open_ledger`, closed at the end."""
    ledger = open_ledger(given, workdir)
    try:
        yield ledger
    finally:
        ledger.close()


def _do(c: Connection, statement: str, **values: Any) -> int:
    from sqlalchemy import text

    return int(c.execute(text(statement), values).rowcount)


def _one(c: Connection, statement: str, **values: Any) -> Any:
    from sqlalchemy import text

    return c.execute(text(statement), values).first()


def _firings(c: Connection, rest: str, **values: Any) -> list[Firing]:
    from sqlalchemy import text

    rows = c.execute(text(f"SELECT {', '.join(_COLUMNS)} FROM initlab_firings {rest}"), values)
    return [_firing(dict(zip(_COLUMNS, row, strict=True))) for row in rows]


def _firing(row: Mapping[str, Any]) -> Firing:
    plain: dict[str, Any] = {**row, "regressions": tuple(json.loads(row["regressions"]))}
    return Firing(**plain)


def _open(c: Connection, name: str) -> list[Firing]:
    return _firings(c, "WHERE schedule = :name AND state IN ('waiting', 'running', 'interrupted')", name=name)


def _insert(c: Connection, name: str, decision: Decision, now: datetime) -> None:
    due = int(decision.due.timestamp())
    values: dict[str, Any] = {
        "schedule": name, "due": due, "study": study_of(name, decision.due), "state": decision.verdict,
        "reason": decision.reason, "owner": "", "pid": 0, "beat": 0.0, "begun": 0.0,
        "ended": now.timestamp() if decision.verdict == "skipped" else 0.0, "spent": 0.0, "attempts": 0, "code": 0,
        "wish": "", "judged": int(decision.verdict == "skipped"), "told": "", "regressions": "[]",
    }  # fmt: skip
    names = ", ".join(_COLUMNS)
    marks = ", ".join(f":{column}" for column in _COLUMNS)
    _do(c, f"INSERT INTO initlab_firings ({names}) VALUES ({marks})", **values)
