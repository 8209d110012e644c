"""Webhook: posts a JSON object to an address, in bounded time; a failure stops nothing.

The address is a secret (anybody who knows it can post there): only its host is shown, and it is stored nowhere.
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


def check_url(url: str) -> None:
    """Raises ConfigError, without the address, where `url` cannot be posted to."""
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


def mask_address(url: str) -> str:
    """The address with its secret parts removed."""
    parts = urlsplit(url)
    port = "" if parts.port is None else f":{parts.port}"
    return f"{parts.scheme}://{parts.hostname}{port}/***"


def resolve_address(webhook: str | None, variable: str | None) -> str | None:
    """The address from the file or from the environment variable; None where there is no webhook.

    Raises:
        ConfigError: the variable is not set, or holds no address.
    """
    if variable is None:
        return webhook
    url = os.environ.get(variable)
    if not url:
        raise ConfigError("webhook_env", variable, "is not set in the environment")
    check_url(url)
    return url


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Refuses redirects: they would send the message to an address that was not configured."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def post(url: str, content: Mapping[str, Any]) -> str:
    """Post `content`; returns the reason of a failure, else "". Three attempts, at most 18 seconds."""
    request = urllib.request.Request(
        url,
        data=json.dumps(content).encode(),
        method="POST",
        headers={"Content-Type": "application/json", "User-Agent": "initlab"},
    )
    opener = urllib.request.build_opener(_NoRedirect)
    reason = ""
    for pause in (*PAUSES, None):
        try:
            with opener.open(request, timeout=ATTEMPT):
                return ""
        except urllib.error.HTTPError as error:
            error.close()
            reason = f"{mask_address(url)} answered {error.code}"
            if error.code < 500 and error.code != 429:
                return reason  # a retry gets the same answer
        except (OSError, http.client.HTTPException, ValueError) as error:
            cause = getattr(error, "reason", None) or error
            # the text of an exception may contain the address
            reason = f"{mask_address(url)} cannot be reached ({type(cause).__name__})"
        if pause is not None:
            time.sleep(pause)
    return reason
