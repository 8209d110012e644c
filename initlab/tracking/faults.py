"""What a failed call of the store means: try again later, never again, or look elsewhere; and in a person's words."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from pathlib import Path
from typing import Literal

from initlab.errors import StoreError
from initlab.tracking.location import describe_location, is_server
from initlab.tracking.quiet import quietly

Fault = Literal["away", "refused", "gone"]
# exception names and words in messages, and what they mean to a person; the first that fits
_KNOWN: tuple[tuple[frozenset[str], str], ...] = (
    (frozenset({"disk is full", "No space left"}), "has no space left on its disk"),
    (frozenset({"database is locked"}), "is locked by another program"),
    (frozenset({"Invalid Host header"}), "does not answer to this name: start it with --allowed-hosts NAME"),
    (frozenset({"readonly database", "Read-only file system"}), "cannot be written to"),
    (frozenset({"Timeout", "ReadTimeout", "ConnectTimeout"}), "did not answer in time"),
    (
        frozenset({"ConnectionError", "ConnectionRefusedError", "NameResolutionError", "NewConnectionError"}),
        "did not answer",
    ),
)
_REFUSED = frozenset({"INVALID_PARAMETER_VALUE", "MALFORMED_REQUEST"})
_GONE = frozenset({"RESOURCE_DOES_NOT_EXIST", "NOT_FOUND"})


class StoreFaultError(StoreError):
    """A call that the store did not carry out.

    `kind` is `away` (no contact, busy, full: try again later), `refused` (this very content can never be stored) or
    `gone` (the run does not exist there).
    """

    def __init__(self, kind: Fault, reason: str) -> None:
        super().__init__(reason)
        self.kind: Fault = kind
        self.reason = reason


@contextlib.contextmanager
def translated(uri: str, *, needs: Path | None = None) -> Generator[None]:
    with quietly():
        try:
            if needs is not None and not needs.exists():
                # an open connection would go on writing into the deleted file
                raise StoreFaultError("away", f"{describe_location(uri)} was deleted")
            yield
        except StoreFaultError:
            raise
        except Exception as error:
            raise fault_of(error, uri) from error


def fault_of(error: Exception, uri: str) -> StoreFaultError:
    """What went wrong, in a sentence that begins with the store's place."""
    place = describe_location(uri)
    chain = [error]
    while (below := chain[-1].__cause__ or chain[-1].__context__) is not None and isinstance(below, Exception):
        chain.append(below)
    kinds = {type(link).__name__ for link in chain}
    text = " ".join(str(link) for link in chain)
    code = str(getattr(error, "error_code", ""))
    for signs, sentence in _KNOWN:
        if kinds & signs or any(sign in text for sign in signs):
            return StoreFaultError("away", f"{place} {sentence}")
    first_line = next(iter(str(error).splitlines()), "")[:300]
    if code in _REFUSED or (code == "BAD_REQUEST" and is_server(uri)):
        return StoreFaultError("refused", f"{place} refused it: {first_line}")
    if code in _GONE:
        return StoreFaultError("gone", f"{place}: {first_line}")
    return StoreFaultError("away", f"{place}: {first_line or type(error).__name__}")
