"""Prints an error or a notice as one line on stderr; with INITLAB_DEBUG=1 raises it with its traceback."""

from __future__ import annotations

import os
import sys

from initlab.core.memory import explain_memory
from initlab.core.redact import redact_passwords
from initlab.errors import InitlabError

_DEBUG = "INITLAB_DEBUG"
#: longest message in characters: it repeats what was typed, which may have any length
_MAX_CHARACTERS = 4000


def print_error(error: BaseException, code: int, *, cause: BaseException | None = None) -> int:
    """Prints `error` as one line on stderr and returns `code`; with INITLAB_DEBUG=1 raises `cause` or the error."""
    if os.environ.get(_DEBUG) == "1":
        raise cause or error
    if int(os.environ.get("RANK", "0") or 0) > 0 and "WORLD_SIZE" in os.environ:
        return code  # rank 0 of the same run prints the same error
    text = explain_memory(error) or " ".join(str(error).split()) or type(error).__name__
    if not isinstance(error, InitlabError) and not explain_memory(error):
        text = f"{type(error).__name__}: {text} (INITLAB_DEBUG=1 shows where)"
    text = text if len(text) <= _MAX_CHARACTERS else f"{text[:_MAX_CHARACTERS]} …"
    print(escape_control_characters(f"initlab: {redact_passwords(text)}"), file=sys.stderr)
    return code


def print_notice(text: str) -> None:
    """Prints one line on stderr that is no error: the command goes on. What was typed may hold a password."""
    text = redact_passwords(" ".join(text.split()))
    print(escape_control_characters(f"initlab: {text}"), file=sys.stderr, flush=True)


def escape_control_characters(text: str) -> str:
    """Escapes non-printable characters, so that text from foreign files cannot control the terminal."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
