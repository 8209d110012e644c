"""Removes passwords from text that a person, a tracker or a file will see."""

from __future__ import annotations

import os
import re
from urllib.parse import quote

#: greedy up to the last @ of a word: a password may contain an unescaped @
_USER = re.compile(r"(://[^:/@\s\"']*):\S*@")
_OPTION = re.compile(
    r"((?:password|passwd|passphrase|pwd|token|secret|api_?key)=|[\"'](?:password|passwd|token|secret)[\"']\s*:\s*[\"'])"
    r"[^&\s\"']*",
    re.IGNORECASE,
)
_HEADER = re.compile(r"(\b(?:basic|bearer)\s+)[A-Za-z0-9+/=._~-]{8,}", re.IGNORECASE)
#: variables of the environment whose value is a secret, and those that only name a file with one
_SECRET = re.compile(r"PASSWORD|PASSWD|PASSPHRASE|TOKEN|SECRET|(^|_)KEY$", re.IGNORECASE)
_NO_SECRET = re.compile(r"_(FILE|PATH|DIR|HOME|ID)$|^SSH_AUTH", re.IGNORECASE)
#: a shorter value is a word of every text
_SHORTEST = 8
_MASK = "***"


def redact_passwords(text: str) -> str:
    """Replaces the password of every URL in `text`, and every secret of this process's environment, by ***."""
    text = _HEADER.sub(rf"\1{_MASK}", _OPTION.sub(rf"\1{_MASK}", _USER.sub(rf"\1:{_MASK}@", text)))
    for secret in _secrets():
        text = text.replace(secret, _MASK)
    return text


def has_password(text: str) -> bool:
    """Whether `text` holds a URL with a password, or a secret of the environment."""
    return redact_passwords(text) != text


def has_masked_password(text: str) -> bool:
    """Whether `text` holds a password that was replaced by ***."""
    return ":***@" in text or "password=***" in text


def _secrets() -> list[str]:
    found: set[str] = set()
    for name, value in os.environ.items():
        if len(value) >= _SHORTEST and value[0] != "/" and _SECRET.search(name) and not _NO_SECRET.search(name):
            found |= {value, quote(value, safe="")}
    return sorted(found, key=len, reverse=True)
