"""Telling somebody: a JSON object posted to an address, in bounded time, whose failure stops nothing.

The address is a secret (whoever knows it can write there): it is shown by its host alone, and nowhere kept.
"""

from __future__ import annotations

import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from initlab.errors import ConfigError

#: seconds for an attempt, and pauses between them
ATTEMPT, PAUSES = 5.0, (0.5, 2.0)


def check(url: str) -> None:
    """Raises ConfigError, without the address, where `url` is none that can be posted to."""
    try:
        parts = urlsplit(url)
        able = (
            parts.scheme in ("http", "https")
            and bool(parts.hostname)
            and "@" not in parts.netloc
            and (parts.port or 1) > 0
        )
    except ValueError:
        able = False
    if not able or any(ord(c) <= 32 or ord(c) == 127 for c in url):
        raise ConfigError("webhook", "***", "must be an address, https://HOST/PATH, without user name and password")


def shown(url: str) -> str:
    """The address without what makes it a secret."""
    parts = urlsplit(url)
    port = "" if parts.port is None else f":{parts.port}"
    return f"{parts.scheme}://{parts.hostname}{port}/***"


def address(webhook: str | None, variable: str | None) -> str | None:
    """As it is written, or as the environment has it; None where nobody is to be told.

    Raises:
        ConfigError: the variable is not set, or holds no address.
    """
    if variable is None:
        return webhook
    url = os.environ.get(variable)
    if not url:
        raise ConfigError("webhook_env", variable, "is not set in the environment")
    check(url)
    return url


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry what is told to an address that nobody wrote down."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def post(url: str, content: Mapping[str, Any]) -> str:
    """Post `content`; why that failed, "" where it did not. Takes 18 seconds at most, in three attempts."""
    request = urllib.request.Request(
        url, data=json.dumps(content).encode(), method="POST",
        headers={"Content-Type": "application/json", "User-Agent": "initlab"},
    )  # fmt: skip
    opener = urllib.request.build_opener(_NoRedirect)
    reason = ""
    for pause in (*PAUSES, None):
        try:
            with opener.open(request, timeout=ATTEMPT):
                return ""
        except urllib.error.HTTPError as error:
            error.close()
            reason = f"{shown(url)} answered {error.code}"
            if error.code < 500 and error.code != 429:
                return reason  # it will say the same again
        except (OSError, http.client.HTTPException, ValueError) as error:
            cause = getattr(error, "reason", None) or error
            # the text of an exception may repeat the address
            reason = f"{shown(url)} cannot be reached ({type(cause).__name__})"
        if pause is not None:
            time.sleep(pause)
    return reason
