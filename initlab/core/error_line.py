"""Prints an error as one line on stderr; with INITLAB_DEBUG=1 raises it with its traceback."""

from __future__ import annotations

import os
import sys

from initlab.errors import InitlabError

_DEBUG = "INITLAB_DEBUG"
#: characters of a message; what was typed is repeated in it, and may be of any length
_MAX_CHARACTERS = 4000


def print_error(error: BaseException, code: int, *, cause: BaseException | None = None) -> int:
    """Print `error` as one line and return `code`; with INITLAB_DEBUG=1 raise `cause`, or the error itself."""
    if os.environ.get(_DEBUG) == "1":
        raise cause or error
    if int(os.environ.get("RANK", "0") or 0) > 0 and "WORLD_SIZE" in os.environ:
        return code  # rank 0 of the same run says the same
    text = " ".join(str(error).split()) or type(error).__name__
    if not isinstance(error, InitlabError):
        text = f"{type(error).__name__}: {text} (INITLAB_DEBUG=1 shows where)"
    text = text if len(text) <= _MAX_CHARACTERS else f"{text[:_MAX_CHARACTERS]} …"
    print(escape_control_characters(f"initlab: {text}"), file=sys.stderr)
    return code


def escape_control_characters(text: str) -> str:
    """`text` without what a terminal would obey: names and values come from files that others wrote."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
