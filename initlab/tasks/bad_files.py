"""What becomes of files that cannot be read: passed over and counted in a note, or refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from initlab.errors import DataError

#: ``skip`` passes over them and says so, ``error`` refuses them
BadFiles = Literal["skip", "error"]
#: name of a file, and why it cannot be used
Bad = tuple[str, str]
NAMED = 3  # files that a note names


def refuse_bad_files(bad: Sequence[Bad], where: str, *, key: str) -> None:
    """Raises DataError with the names of the files `bad` of the folder or archive `where`, if there are any."""
    if not bad:
        return
    name, why = bad[0]
    rest = [other for other, _ in bad[1:]]
    more = f"{', '.join(rest[:NAMED])}{', ...' if len(rest) > NAMED else ''}"
    raise DataError(
        key,
        f"{where}/{name}",
        f"{why}; repair or remove it (and {len(rest)} more: {more}), or data.bad_files=skip"
        if rest
        else f"{why}; repair or remove it, or skip it with data.bad_files=skip",
    )


def describe_bad_files(bad: Sequence[Bad]) -> str:
    """The first of the files and why they cannot be used."""
    return "; ".join(f"{name} {why}" for name, why in bad[:NAMED]) + ("; ..." if len(bad) > NAMED else "")


def note_bad_files(bad: Sequence[Bad], total: int, noun: str) -> tuple[str, ...]:
    """A note on files that were skipped, of `total` files called `noun`; none where there are none."""
    return (f"{len(bad)} of {total} {noun} were skipped: {describe_bad_files(bad)}",) if bad else ()
