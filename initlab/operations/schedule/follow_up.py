"""After a firing ends: compares it with the one before, posts to the webhook, deletes old files.

No failure here stops a scheduler or a study: it is recorded with the firing.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from initlab import tracking
from initlab.errors import InitlabError
from initlab.operations.schedule import webhook
from initlab.operations.schedule.child import log_of
from initlab.operations.schedule.files import Event, Schedule
from initlab.operations.schedule.firing import OPEN, Firing
from initlab.operations.schedule.ledger import Ledger
from initlab.operations.schedule.regression import Verdict, compare_with, record_verdict
from initlab.operations.schedule.validate import tracking_of
from initlab.study.space.plan import folder_of


def follow_up(schedule: Schedule, firing: Firing, ledger: Ledger, workdir: Path) -> list[str]:
    """Compare, tag, notify and delete old files; returns lines to print. Takes seconds, 20 more without an answer."""
    lines: list[str] = []
    failures: list[str] = []
    verdict = Verdict()
    if firing.state == "finished":
        verdict, why = _compare(schedule, firing, ledger, workdir)
        failures += why
        lines += [f"{firing.study}: {line}" for line in (verdict.said, *verdict.regressions) if line]
    failures += _notify(schedule, firing, verdict)
    ledger.judge(firing, regressions=verdict.regressions, told="; ".join(failures))
    _delete_old(schedule, ledger, workdir)
    return [*lines, *(f"{firing.study}: {failure}" for failure in failures)]


def _compare(schedule: Schedule, firing: Firing, ledger: Ledger, workdir: Path) -> tuple[Verdict, list[str]]:
    try:
        settings = tracking_of(schedule)
        if not settings.enabled:
            return Verdict(said="not compared: nothing is recorded (tracking.enabled=false)"), []
        before = ledger.before(firing)
        verdict = compare_with(firing.study, None if before is None else before.study, settings, workdir)
        tags = {"initlab.schedule": schedule.name, "initlab.due": firing.when.isoformat()}
        why = record_verdict(verdict, tags, workdir)
    except InitlabError as error:
        return Verdict(), [f"not compared: {error}"]
    except Exception as error:  # the scheduler continues after any error
        return Verdict(), [f"not compared: {type(error).__name__}: {error}"[:300]]
    return verdict, [f"not stored with its run: {why}"] if why else []


def _notify(schedule: Schedule, firing: Firing, verdict: Verdict) -> list[str]:
    events: list[Event] = ["finished" if firing.state == "finished" else "failed"]
    if verdict.regressions:
        events.append("regression")
    wanted: list[Event] = [e for e in events if e in schedule.notify]
    try:
        url = webhook.resolve_address(schedule.webhook, schedule.webhook_env)
        if url is None or not wanted:
            return []
        why = webhook.post(url, message(schedule, firing, verdict, wanted))
    except InitlabError as error:
        why = str(error)
    return [f"webhook: {why}"] if why else []


def message(schedule: Schedule, firing: Firing, verdict: Verdict, events: Sequence[Event]) -> dict[str, Any]:
    """The JSON message of the webhook. Chat servers show its `text`."""
    words = [f"initlab schedule {schedule.name}: study {firing.study} {firing.state.replace('_', ' ')}"]
    words += [firing.reason] if firing.reason else []
    words += [verdict.said] if verdict.said else []
    return {
        "text": "\n".join([*words, *verdict.regressions]),
        "events": list(events),
        "schedule": schedule.name,
        "study": firing.study,
        "state": firing.state,
        "reason": firing.reason,
        "due": firing.when.isoformat(),
        "run_id": verdict.run_id,
        "regressions": list(verdict.regressions),
        "sent": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _delete_old(schedule: Schedule, ledger: Ledger, workdir: Path) -> None:
    """Delete logs and study folders of all but the last firings; never of open firings or unsent runs."""
    if schedule.keep is None:
        return
    begun = [f for f in ledger.firings(schedule.name) if f.attempts]
    old = [f for f in begun[schedule.keep :] if f.state not in OPEN]
    if not old or tracking.spools(workdir):
        return
    for firing in old:
        with suppress(OSError):
            log_of(workdir, firing.study).unlink()
        folder = folder_of(workdir, firing.study)
        if folder.is_dir() and not folder.is_symlink():
            shutil.rmtree(folder, ignore_errors=True)
