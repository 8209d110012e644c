"""Result line of one check, with what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "problem"]


@dataclass(frozen=True, kw_only=True)
class Line:
    """Result of a check.

    Attributes:
        level: a problem prevents something from working, a warning may.
        subject: what was checked, in one word.
        found: the result, in one sentence.
        do: what to do, "" where nothing is needed.
    """

    level: Level
    subject: str
    found: str
    do: str = ""


def ok(subject: str, found: str) -> Line:
    return Line(level="ok", subject=subject, found=found)


def warning(subject: str, found: str, do: str) -> Line:
    return Line(level="warning", subject=subject, found=found, do=do)


def problem(subject: str, found: str, do: str) -> Line:
    return Line(level="problem", subject=subject, found=found, do=do)
