"""Runs the MLflow UI on the store of a working directory, as a separate process."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

from initlab.errors import ConfigError
from initlab.spec import TrackingSettings
from initlab.tracking.store.client import connect
from initlab.tracking.store.faults import StoreFaultError
from initlab.tracking.store.location import resolve_uri, sqlite_file
from initlab.tracking.store.revision import require_current

#: MLflow sends nothing to its makers and starts no job workers
_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
}
#: latest runs among which one of initlab's is looked for
_RECENT = 200


def ui(workdir: Path, settings: TrackingSettings, *, port: int) -> int:
    """Run `mlflow ui` on loopback until it is interrupted or gets SIGTERM; its exit code.

    Where the store is a server, say where it is instead.

    Raises:
        ConfigError: there is no store yet, or something listens on the port already.
    """
    uri = resolve_uri(settings, workdir)
    if uri.startswith(("http://", "https://")):
        print(f"The runs are on a server: open {uri}")
        return 0
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).exists():
        raise ConfigError("tracking.uri", uri, "there is no store here yet; train a run first: python -m initlab")
    if (file := sqlite_file(uri)) is not None:
        require_current(file)
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise ConfigError("tracking.ui_port", port, "something listens there already; choose another port")
    address = ["--host", "127.0.0.1", "--port", str(port)]
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri, *address]
    page = f"http://127.0.0.1:{port}{_runs_page(uri, workdir)}"
    print(f"MLflow UI, the runs of this directory: {page}   (Ctrl-C ends it)", flush=True)
    # a session of its own, so that the whole tree of processes ends with this one
    process = subprocess.Popen(command, cwd=workdir, env={**os.environ, **_QUIET}, start_new_session=True)
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        return process.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        signal.signal(signal.SIGTERM, before)
        _end(process)


def _runs_page(uri: str, workdir: Path) -> str:
    """Path of the page with the runs of the experiment that was trained in last; empty where none was."""
    try:
        store = connect(uri, workdir=workdir)
        trained = next((i for i, tags in store.latest_runs(_RECENT) if "initlab.kind" in tags), None)
        return f"/#/experiments/{store.run_tags(trained)[0]}/runs" if trained else ""
    except StoreFaultError:
        return ""


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _end(process: subprocess.Popen[bytes]) -> None:
    """End MLflow and its workers: politely, and after ten seconds for good."""
    for sent, seconds in ((signal.SIGTERM, 10), (signal.SIGKILL, 5)):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, sent)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
            if sent == signal.SIGTERM and not _any_left(process.pid):
                return


def _any_left(group: int) -> bool:
    """Whether a process of the group is left half a second after its first one ended."""
    until = time.monotonic() + 0.5
    while time.monotonic() < until:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.05)
    return True
