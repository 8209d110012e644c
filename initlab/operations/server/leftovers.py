"""Ends processes that a killed server left running, before the next one starts."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from pathlib import Path

import psutil

from initlab.errors import ConfigError

#: state of the running server, for scripts and for the next start: address, account, processes
STATE = "state.json"
#: seconds to wait for the port of a killed process
_SECONDS = 5.0


def end_leftovers(home: Path) -> None:
    """End the MLflow processes listed in the last `state.json`. The caller holds the lock of `home`."""
    try:
        state = json.loads((home / STATE).read_text(encoding="utf-8"))
        session, since = int(state["mlflow"]), float(state["since"])
    except (OSError, ValueError, KeyError, TypeError):
        return
    for process in psutil.process_iter():
        with contextlib.suppress(OSError, psutil.Error):
            # a process id may be reused; a session with this id and start time is ours
            if os.getsid(process.pid) == session and process.create_time() >= since - 1:
                process.kill()
    (home / STATE).unlink(missing_ok=True)


def check_free(key: str, port: int) -> None:
    """Raises ConfigError where another process keeps listening on `port` of loopback."""
    deadline = time.monotonic() + _SECONDS
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return
        if time.monotonic() > deadline:
            raise ConfigError(key, port, "something listens there already; choose another port")
        time.sleep(0.1)
