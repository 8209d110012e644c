"""Time limits of calls to a store that is reached over a network."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from initlab.core.exchange import Deadline, exchange
from initlab.tracking.store.answers import judged
from initlab.tracking.store.location import describe_location
from initlab.tracking.store.quiet import silence_mlflow

#: seconds of a call, where MLFLOW_HTTP_REQUEST_TIMEOUT does not say otherwise
CALL = 30.0
#: seconds of the download of artifacts, whose size is not known before
_DOWNLOAD = 600.0
#: bytes a second of the slowest network that is waited for
_SLOWEST = 100_000


def call_seconds() -> float:
    """The limit of one call as a whole, in seconds."""
    given = os.environ.get("MLFLOW_HTTP_REQUEST_TIMEOUT", "")
    return float(given) if given.isdecimal() and int(given) > 0 else CALL


class LimitedClient:
    """MLflow's client, each of whose calls has a limit as a whole and is judged (`answers.py`).

    Raises LateError where a call takes too long: MLflow may have got it all the same, so that it has to be harmless
    when it is repeated.
    """

    def __init__(self, client: Any, uri: str) -> None:
        self._client = client
        self._uri = uri

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        if name.startswith("_") or not callable(found):
            return found
        return lambda *args, **kwargs: self.limited(lambda: found(*args, **kwargs), seconds=_seconds(name, args))

    def limited(self, call: Callable[[], Any], *, seconds: float = 0.0) -> Any:
        """What `call` returns, within `seconds` or else the limit of a call."""

        def work(_deadline: Deadline) -> Any:
            with silence_mlflow(), judged():
                return call()

        return exchange(work, peer=describe_location(self._uri), seconds=seconds or call_seconds())


def _seconds(name: str, args: tuple[Any, ...]) -> float:
    if name == "download_artifacts":
        return max(_DOWNLOAD, call_seconds())
    if name == "log_artifact" and len(args) > 1:
        try:
            return call_seconds() + Path(args[1]).stat().st_size / _SLOWEST
        except OSError:
            return call_seconds()
    return call_seconds()
