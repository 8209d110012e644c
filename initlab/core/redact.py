"""Removes passwords from URLs in text that a person, a tracker or a file will see."""

from __future__ import annotations

import re

#: greedy up to the last @ of a word: a password may contain an unescaped @
_USER = re.compile(r"(://[^:/@\s\"']*):\S*@")
_OPTION = re.compile(r"(password=)[^&\s\"']*")


def redact_passwords(text: str) -> str:
    """Replaces the password of every URL in `text` by ***."""
    return _OPTION.sub(r"\1***", _USER.sub(r"\1:***@", text))


def has_password(text: str) -> bool:
    """Whether `text` holds a URL with a password."""
    return redact_passwords(text) != text


def has_masked_password(text: str) -> bool:
    """Whether `text` holds a password that was replaced by ***."""
    return ":***@" in text or "password=***" in text
