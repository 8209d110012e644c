"""A firing of a schedule: when it was due, its state, its process and its result."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

State = Literal["waiting", "running", "interrupted", "finished", "failed", "timed_out", "cancelled", "skipped"]
#: states of a firing that has no end yet
OPEN: tuple[State, ...] = ("waiting", "running", "interrupted")


@dataclass(frozen=True, kw_only=True)
class Firing:
    """A time at which a schedule was due.

    Attributes:
        due: Unix time, seconds.
        study: name of the study that it is, the same at each attempt.
        reason: why it was passed over, or ended as it did.
        owner: the scheduler that began it last, ``HOST:PID:...``.
        pid: of the study's process on the owner's machine, 0 for none.
        beat: when the owner last said that it lives.
        spent: seconds of all attempts that have ended.
        wish: what another scheduler wants of the owner: ``cancel``.
        judged: whether it was compared with the one before and told of.
        told: why nobody could be told of it.
        regressions: arms that became worse, a sentence each.
    """

    schedule: str
    due: int
    study: str
    state: State
    reason: str
    owner: str
    pid: int
    beat: float
    begun: float
    ended: float
    spent: float
    attempts: int
    code: int
    wish: str
    judged: int
    told: str
    regressions: tuple[str, ...]

    @property
    def when(self) -> datetime:
        return datetime.fromtimestamp(self.due, UTC)


def study_of(schedule: str, due: datetime) -> str:
    """Name of the study of a firing: the same whoever begins it, and however often."""
    # cron knows no seconds: what has them was begun by hand
    return f"{schedule}-{due.astimezone(UTC):{'%Y%m%dT%H%M%SZ' if due.second else '%Y%m%dT%H%MZ'}}"
