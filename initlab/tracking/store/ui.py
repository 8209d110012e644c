"""Runs the MLflow UI on the store of a working directory, as a separate process."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

from initlab.errors import ConfigError
from initlab.spec import TrackingSettings
from initlab.tracking.store.location import resolve_uri


def ui(workdir: Path, settings: TrackingSettings, *, port: int) -> int:
    """Run `mlflow ui` on loopback until it is interrupted; its exit code. For a server, say where it is instead.

    Raises:
        ConfigError: there is no store yet, or something listens on the port already.
    """
    uri = resolve_uri(settings, workdir)
    if uri.startswith(("http://", "https://")):
        print(f"The runs are on a server: open {uri}")
        return 0
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).exists():
        raise ConfigError("tracking.uri", uri, "there is no store here yet; train a run first: python -m initlab")
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise ConfigError("tracking.ui_port", port, "something listens there already; choose another port")
    address = ["--host", "127.0.0.1", "--port", str(port)]
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri, *address]
    print(f"MLflow UI on http://127.0.0.1:{port} (Ctrl-C ends it); runs are under Model training, top left", flush=True)
    process = subprocess.Popen(command, cwd=workdir)
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.terminate()
        process.wait(10)
        return 0
