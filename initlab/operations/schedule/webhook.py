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
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from initlab.core.exchange import Deadline, LateError, exchange
from initlab.errors import ConfigError

#: seconds for all attempts together, for one of them, and pauses between them
LIMIT, ATTEMPT, PAUSES = 18.0, 5.0, (0.5, 2.0)


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
    """Post `content`; returns the reason of a failure, else "". Three attempts, at most `LIMIT` seconds together.

    An address that is busy is asked again when it says so, within the limit. Its answer is not read.
    """
    data = json.dumps(content).encode()
    request = urllib.request.Request(
        url, data=data, method="POST", headers={"Content-Type": "application/json", "User-Agent": "initlab"}
    )
    place, end = mask_address(url), time.monotonic() + LIMIT
    reason = ""
    for pause in (*PAUSES, None):
        try:
            seconds = min(ATTEMPT, end - time.monotonic())
            again, reason = exchange(partial(_attempt, request), peer=place, seconds=seconds, said=True)
        except LateError:
            again, reason = 0.0, f"{place} did not answer in time"
        if again is None or pause is None or max(pause, again) > end - time.monotonic() - 1.0:
            break
        time.sleep(max(pause, again))
    return reason


def _attempt(request: urllib.request.Request, deadline: Deadline) -> tuple[float | None, str]:
    """Seconds after which to try again, None where that is of no use, and the reason of a failure."""
    place = mask_address(request.full_url)
    try:
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=max(0.1, 0.8 * deadline.left)):
            return None, ""
    except urllib.error.HTTPError as error:
        error.close()
        reason = f"{place} answered {error.code}"
        given = str(error.headers.get("Retry-After", ""))
        again = error.code >= 500 or error.code == 429  # of others a retry gets the same answer
        return (float(given) if given.isdecimal() else 0.0) if again else None, reason
    except (OSError, http.client.HTTPException, ValueError) as error:
        cause = getattr(error, "reason", None) or error
        if isinstance(cause, TimeoutError):
            return 0.0, f"{place} did not answer in time"
        # the text of an exception may contain the address
        return 0.0, f"{place} cannot be reached ({type(cause).__name__})"
