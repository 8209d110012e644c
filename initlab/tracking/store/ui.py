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

from initlab.core.signals import interruptible
from initlab.errors import ConfigError
from initlab.spec import TrackingSettings
from initlab.tracking.store.client import Store, connect
from initlab.tracking.store.faults import StoreFaultError
from initlab.tracking.store.links import VIEW_TAG, forget_ui, note_ui, run_page, runs_page, served_at, view_tag
from initlab.tracking.store.location import is_server, mask_password, resolve_uri, sqlite_file
from initlab.tracking.store.revision import require_current

#: MLflow sends nothing to its makers and starts no job workers
_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
}
#: latest runs among which one of initlab's is looked for
_RECENT = 200


def ui(workdir: Path, settings: TrackingSettings, *, port: int, run_id: str = "") -> int:
    """Run `mlflow ui` on loopback until Ctrl-C, SIGTERM or SIGHUP; its exit code.

    Where the store is a server, or the UI runs already, say where it is instead. The address is that of the runs of the
    latest experiment, or of `run_id`.

    Raises:
        ConfigError: there is no store yet, or something listens on the port already.
    """
    uri = resolve_uri(settings, workdir)
    if is_server(uri):
        print(f"The runs are on a server: open {_page(uri, uri, workdir, run_id)}")
        return 0
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).exists():
        raise ConfigError("tracking.uri", uri, "there is no store here yet; train a run first: python -m initlab")
    if (file := sqlite_file(uri)) is not None:
        require_current(file)
    if served := served_at(uri, workdir):
        print(f"The UI of this directory runs already: open {_page(served, uri, workdir, run_id)}")
        return 0
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise ConfigError("tracking.ui_port", port, "something listens there already; choose another port")
    address = ["--host", "127.0.0.1", "--port", str(port)]
    command = [sys.executable, "-m", "mlflow", "ui", *address]
    page = _page(f"http://127.0.0.1:{port}", uri, workdir, run_id)
    what = "the run" if run_id else "the runs of this directory"
    print(f"MLflow UI, {what}: {page}   (Ctrl-C ends it)", flush=True)
    # the URI may have a password, and everybody can read a command line
    environ = {**os.environ, **_QUIET, "MLFLOW_BACKEND_STORE_URI": uri}
    # a session of its own, so that the whole tree of processes ends with this one
    try:
        with interruptible():
            process = subprocess.Popen(command, cwd=workdir, env=environ, start_new_session=True)
            try:
                note_ui(uri, workdir, port)
                return process.wait()
            finally:
                forget_ui(workdir)
                _end(process)
    except KeyboardInterrupt:
        return 0


def _page(base: str, uri: str, workdir: Path, run_id: str) -> str:
    """Address of `run_id`, or of the runs of the experiment that was trained in last."""
    try:
        store = connect(uri, workdir=workdir)
        if run_id:
            return run_page(base, store.run_tags(run_id)[0], run_id)
        trained = next((i for i, tags in store.latest_runs(_RECENT) if "initlab.kind" in tags), None)
        if trained is None:
            return mask_password(base)
        experiment = store.run_tags(trained)[0]
        return runs_page(base, experiment, _viewed(store, experiment))
    except StoreFaultError:
        return mask_password(base)


def _viewed(store: Store, experiment_id: str) -> dict[str, str]:
    """Tags of an experiment, which gets initlab's view of its runs where it has none."""
    with store.client() as client:
        tags = dict(client.get_experiment(experiment_id).tags)
        fresh = view_tag() if VIEW_TAG not in tags else {}
        for key, value in fresh.items():
            client.set_experiment_tag(experiment_id, key, value)
    return tags | fresh


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
