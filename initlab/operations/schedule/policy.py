"""What becomes of the times that are due: which are begun, which wait, which are passed over, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from initlab.operations.schedule.reading import CatchUp, Overlap

#: a time that is looked at no later than this was not missed: schedulers look every second, and may be busy
ON_TIME = timedelta(seconds=90)
#: firings that wait in a queue, at most: a schedule that takes longer than its time would wait for ever
QUEUE = 24


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What becomes of a time: it waits, or is passed over for a `reason`; `cancels`: what runs is to end for it."""

    due: datetime
    verdict: Literal["waiting", "skipped"]
    reason: str = ""
    cancels: bool = False


def decide(
    due: Sequence[datetime], *, now: datetime, open_before: int, catch_up: CatchUp, overlap: Overlap
) -> tuple[Decision, ...]:
    """Decide on the times `due`, in order.

    Args:
        now: when they are looked at. What came due more than `ON_TIME` before was missed.
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
    why = "missed: no scheduler was there" if catch_up == "none" else "missed: a later one stands for it"
    decided = [Decision(due=t, verdict="skipped", reason=why) for t in missed if t not in caught]
    for time in [*caught, *current]:
        # of those that are caught up each waits for the one before: that is what `all` asks for
        if not open_before or time in caught or (overlap == "queue" and open_before <= QUEUE):
            decided.append(Decision(due=time, verdict="waiting"))
        elif overlap == "skip":
            decided.append(Decision(due=time, verdict="skipped", reason="overlap: the one before has no end yet"))
        elif overlap == "queue":
            decided.append(Decision(due=time, verdict="skipped", reason=f"overlap: {QUEUE} wait already"))
        else:
            decided.append(Decision(due=time, verdict="waiting", cancels=True))
        open_before += decided[-1].verdict == "waiting"
    return tuple(sorted(decided, key=lambda d: d.due))
