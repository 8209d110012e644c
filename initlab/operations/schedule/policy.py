"""Policy of due times: which firings start, which wait and which are skipped, by `catch_up` and `overlap`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from initlab.operations.schedule.files import CatchUp, Overlap

#: a time that is processed within this delay was not missed: schedulers tick every second, and may be busy
ON_TIME = timedelta(seconds=90)
#: maximum number of queued firings: a schedule whose runs take longer than its period would queue for ever
QUEUE = 24


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Decision about a due time: waiting, or skipped for a `reason`. `cancels`: the running firing has to end."""

    due: datetime
    verdict: Literal["waiting", "skipped"]
    reason: str = ""
    cancels: bool = False


def decide(
    due: Sequence[datetime], *, now: datetime, open_before: int, catch_up: CatchUp, overlap: Overlap
) -> tuple[Decision, ...]:
    """Decide on the times `due`, in order.

    Args:
        now: time of the decision. What was due more than `ON_TIME` earlier was missed.
        open_before: earlier firings of the schedule that have no end yet.
    """
    missed = [t for t in due if now - t > ON_TIME]
    current = [t for t in due if now - t <= ON_TIME]
    if catch_up == "all":
        caught = missed
    elif catch_up == "latest" and missed and not current:
        caught = missed[-1:]
    else:
        caught = []
    why = "missed: no scheduler was running" if catch_up == "none" else "missed: replaced by a later one"
    decided = [Decision(due=t, verdict="skipped", reason=why) for t in missed if t not in caught]
    for time in [*caught, *current]:
        # with `all`, each caught-up firing waits for the one before
        if not open_before or time in caught or (overlap == "queue" and open_before <= QUEUE):
            decided.append(Decision(due=time, verdict="waiting"))
        elif overlap == "skip":
            decided.append(Decision(due=time, verdict="skipped", reason="overlap: the previous one has not ended"))
        elif overlap == "queue":
            decided.append(Decision(due=time, verdict="skipped", reason=f"overlap: {QUEUE} are waiting already"))
        else:
            decided.append(Decision(due=time, verdict="waiting", cancels=True))
        open_before += decided[-1].verdict == "waiting"
    return tuple(sorted(decided, key=lambda d: d.due))
