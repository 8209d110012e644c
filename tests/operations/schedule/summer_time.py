"""Two schedulers as processes over a change of the clock, and whether each time that was due was begun once."""

from __future__ import annotations

import contextlib
import json
import random
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from initlab.operations.schedule.firing import OPEN
from initlab.operations.schedule.ledger import open_ledger
from tests.cli.driver import environment
from tests.cli.forkserver import Forked
from tests.operations.schedule.clocks import oracle
from tests.study.study_cases import TINY

ROOT = Path(__file__).resolve().parents[3]
#: simulated seconds a second
FACTOR = 600.0


@dataclass(frozen=True)
class Change:
    """A place, the moment at which its clock changes, and a rule that fires around it."""

    zone: str
    moment: datetime
    cron: str

    @property
    def begin(self) -> datetime:
        """Two hours before it."""
        return self.moment - timedelta(hours=2)

    @property
    def end(self) -> datetime:
        """Three hours after it."""
        return self.moment + timedelta(hours=3)


CHANGES = (
    Change("Europe/Berlin", datetime(2026, 3, 29, 1, tzinfo=UTC), "30 1,2,3 * * *"),
    Change("Europe/Berlin", datetime(2026, 10, 25, 1, tzinfo=UTC), "30 1,2,3 * * *"),
    Change("America/New_York", datetime(2026, 3, 8, 7, tzinfo=UTC), "15 1-4 * * *"),
    Change("Australia/Lord_Howe", datetime(2026, 4, 4, 15, tzinfo=UTC), "45 0-4 * * *"),
)


def strike(
    change: Change, workdir: Path, draw: random.Random, *, storage: str | None = None, kill: bool, kind: str = "short"
) -> list[str]:
    """Go from two hours before the change to three hours after it; what does not hold then.

    Args:
        change: of the clock.
        workdir: of the schedulers.
        draw: when one of them is killed, and replaced.
        storage: of the firings; None for a file.
        kill: whether that happens.
        kind: "short" processes, or a "study" for each firing.
    """
    folder = workdir / "schedules"
    folder.mkdir(parents=True)
    (folder / "shift.yaml").write_text(
        f"cron: '{change.cron}'\ntimezone: {change.zone}\ncatch_up: all\noverlap: queue\n"
        f"run: {json.dumps([*TINY, 'init=he,xavier'])}\n"
    )
    start, end = change.begin, change.end
    file = workdir / "offset"
    live = [
        _scheduler(workdir, [folder, start.isoformat(), FACTOR, file, kind, *([storage] if storage else [])])
        for _ in range(2)
    ]
    try:
        # both have to be there before anything is due: a schedule that nobody has looked at begins at the first look
        deadline = time.monotonic() + 60
        while sum("ready" in p.read_text() for p in workdir.glob("scheduler-*.log")) < 2:
            assert time.monotonic() < deadline, "the schedulers do not start"
            time.sleep(0.05)
        offset = time.time()
        (workdir / "offset.part").write_text(str(offset))
        (workdir / "offset.part").replace(file)
        span = (end - start).total_seconds() / FACTOR
        if kill:
            time.sleep(max(0.0, offset - time.time()) + draw.uniform(0.2, 0.8) * span)
            live[0].kill()
            live[0].wait(20)
            live.append(
                _scheduler(workdir, [folder, start.isoformat(), FACTOR, file, kind, *([storage] if storage else [])])
            )
        time.sleep(max(0.0, offset + span - time.time()) + 1.0)
        deadline = time.monotonic() + 60
        while _open(workdir, storage) and time.monotonic() < deadline:
            time.sleep(0.5)
    finally:
        for one in live:
            one.terminate()
        for one in live:
            with contextlib.suppress(subprocess.TimeoutExpired):
                one.wait(60)
            if one.poll() is None:
                one.kill()
                one.wait(20)
    return _doubts(change, workdir, storage, short=kind == "short")


def _scheduler(workdir: Path, words: list[object]) -> subprocess.Popen[bytes]:
    env = environment(PYTHONPATH=str(ROOT))
    with (workdir / f"scheduler-{time.monotonic_ns()}.log").open("wb") as log:
        return Forked(
            [sys.executable, "-m", "tests.operations.schedule.turned_clock", *map(str, words)], cwd=workdir, env=env,
            stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip


def _open(workdir: Path, storage: str | None) -> bool:
    with contextlib.closing(open_ledger(storage, workdir)) as ledger:
        return any(f.state in OPEN for f in ledger.firings())


def _doubts(change: Change, workdir: Path, storage: str | None, *, short: bool) -> list[str]:
    start, end = change.begin, change.end
    with contextlib.closing(open_ledger(storage, workdir)) as ledger:
        found = ledger.firings()
    wanted = oracle(change.cron, change.zone, start, end - timedelta(minutes=10))
    counted = Counter(f.due for f in found)
    wrong = [f"{datetime.fromtimestamp(due, UTC)} is there {n} times" for due, n in counted.items() if n > 1]
    missing = [t.isoformat() for t in wanted if int(t.timestamp()) not in counted]
    known = {int(t.timestamp()) for t in oracle(change.cron, change.zone, start, end + timedelta(hours=8))}
    extra = [f"{datetime.fromtimestamp(d, UTC)}" for d in counted if d not in known]
    wrong += [f"{t} was never begun" for t in missing] + [f"{t} is no time of the rule" for t in extra]
    wrong += [f"{f.study} is {f.state}: {f.reason}" for f in found if f.state != "finished"]
    log = workdir / ".initlab" / "schedule"
    for firing in found if short else ():
        begun = (log / f"{firing.study}.log").read_text().count("begun")
        if begun != firing.attempts:
            wrong.append(f"{firing.study} was begun {begun} times, {firing.attempts} are noted")
    return wrong
