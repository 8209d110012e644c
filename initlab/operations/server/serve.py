"""Runs the tracking server until Ctrl-C: MLflow and optionally PostgreSQL; restarts each if it dies."""

from __future__ import annotations

import json
import shlex
import signal
import threading
import time
from importlib.util import find_spec
from pathlib import Path

from filelock import FileLock, Timeout

from initlab.errors import ConfigError, InitlabError, WorkdirError
from initlab.operations.server.cluster import Cluster, last_line
from initlab.operations.server.leftovers import STATE, check_free, end_leftovers
from initlab.operations.server.mlflow_process import MlflowProcess
from initlab.operations.server.secret_files import ADMIN, keep_private, write
from initlab.operations.server.settings import ServerSettings

#: seconds to wait for a start; the first one creates MLflow's tables
_START_SECONDS = 180.0
_LOOK_SECONDS = 1.0
#: below the home, while a restore exchanges its files (deploy/server_home.py)
BROKEN_RESTORE = ".before-restore"
#: number of consecutive deaths, each within a minute of the start, after which it gives up
_DEATHS, _SHORT_LIFE = 5, 60.0


def serve(settings: ServerSettings) -> int:
    """Run the server until SIGINT or SIGTERM; the exit code.

    Raises:
        ConfigError: a port is taken, a program or package is not installed, the folder is in use.
        InitlabError: it did not start.
    """
    if find_spec("flask_wtf") is None:
        raise ConfigError("server", None, "MLflow's accounts are not installed: pip install 'initlab[server]'")
    if not (settings.home / STATE).exists():
        check_free("port", settings.port)  # before anything is written
    lock = _lock_home(settings.home)
    if (settings.home / BROKEN_RESTORE).exists():
        lock.release()
        raise ConfigError(
            "home", settings.home, "a restore of it was broken off: give it again (python deploy/backup.py restore)"
        )
    keep_private(settings.home, entered=settings.postgres)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    cluster = mlflow = None
    try:
        end_leftovers(settings.home)
        check_free("port", settings.port)
        if settings.postgres:
            cluster = Cluster(settings.home, settings.postgres_port)
            cluster.start(stop.is_set)
        mlflow = _mlflow(settings, cluster)
        mlflow.start()
        if _wait(mlflow, stop):
            _write_state(settings, mlflow, cluster)
            print("\n".join(greeting(settings, cluster)), flush=True)
            _watch(settings, mlflow, cluster, stop)
        print("initlab: ending the server", flush=True)
    finally:
        if mlflow is not None:
            mlflow.stop()
        if cluster is not None:
            cluster.stop()
        (settings.home / STATE).unlink(missing_ok=True)
        lock.release()
    return 0


def greeting(settings: ServerSettings, cluster: Cluster | None) -> list[str]:
    """Address, account, and the commands for using the server."""
    home = _shown(settings.home)
    uri = f"http://127.0.0.1:{settings.port}"
    lines = [
        f"MLflow server on {uri}; records in {home} ({'SQLite' if cluster is None else 'PostgreSQL'})",
        f"user {ADMIN}, password in {home}/password; further accounts: {uri}/signup",
        "To record there:",
        f"  export MLFLOW_TRACKING_URI={uri} MLFLOW_TRACKING_USERNAME={ADMIN}"
        f' MLFLOW_TRACKING_PASSWORD="$(cat {shlex.quote(f"{home}/password")})"',
    ]
    if cluster is not None:
        lines += [
            "For studies with workers on this machine, Optuna's database:",
            f"  export PGPASSFILE={shlex.quote(str(cluster.passfile))}",
            f"  study.storage={cluster.url('optuna', driver='')}",
        ]
    return [*lines, f"Its log is {home}/server.log; Ctrl-C ends it"]


def _mlflow(settings: ServerSettings, cluster: Cluster | None) -> MlflowProcess:
    if cluster is None:
        records, accounts = (f"sqlite:///{settings.home / name}" for name in ("mlflow.db", "accounts.db"))
        return MlflowProcess(settings, records=records, accounts=accounts, environ={})
    return MlflowProcess(
        settings,
        records=cluster.url("mlflow"),
        accounts=cluster.url("mlflow_auth"),
        environ={"PGPASSFILE": str(cluster.passfile)},
    )


def _wait(mlflow: MlflowProcess, stop: threading.Event) -> bool:
    """Wait until it answers; False where it was stopped first."""
    deadline = time.monotonic() + _START_SECONDS
    while not stop.is_set():
        if mlflow.healthy():
            return True
        if mlflow.ended is not None or time.monotonic() > deadline:
            raise InitlabError(f"mlflow server did not start: {last_line(mlflow.log)} (all of it: {mlflow.log})")
        stop.wait(0.2)
    return False


def _watch(settings: ServerSettings, mlflow: MlflowProcess, cluster: Cluster | None, stop: threading.Event) -> None:
    """Restart processes that die; gives up after `_DEATHS` in a row."""
    deaths, begun = 0, time.monotonic()
    while not stop.wait(_LOOK_SECONDS):
        dead = [mlflow.log] if mlflow.ended is not None else []
        if cluster is not None and cluster.process is not None and cluster.process.poll() is not None:
            dead.append(settings.home / "postgres.log")
        if not dead:
            continue
        deaths = deaths + 1 if time.monotonic() - begun < _SHORT_LIFE else 1
        if deaths > _DEATHS:
            raise InitlabError(f"the server died {deaths} times in a row: {last_line(dead[0])} (see {dead[0]})")
        print(f"initlab: {dead[0].stem} died ({last_line(dead[0])}); starting it again", flush=True)
        begun = time.monotonic()
        if cluster is not None and len(dead) > (mlflow.ended is not None):
            cluster.start(stop.is_set)
        if mlflow.ended is not None:
            mlflow.stop()
            mlflow.start()
        _write_state(settings, mlflow, cluster)


def _write_state(settings: ServerSettings, mlflow: MlflowProcess, cluster: Cluster | None) -> None:
    state: dict[str, str | int | float] = {
        "uri": f"http://127.0.0.1:{settings.port}",
        "user": ADMIN,
        "mlflow": mlflow.pid,
        "since": mlflow.since,
    }
    if cluster is not None and cluster.process is not None:
        state |= {"postgres": cluster.process.pid, "postgres_port": cluster.port}
        state |= {"optuna": cluster.url("optuna", driver="")}
    write(settings.home / STATE, json.dumps(state, indent=1))


def _lock_home(home: Path) -> FileLock:
    """Create the folder where it is missing, and take its lock."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        lock = FileLock(home / "lock")
        lock.acquire(timeout=0)
    except Timeout:
        raise ConfigError("home", home, "another server runs on this folder") from None
    except OSError as error:
        raise WorkdirError(f"home={home}: it cannot be used for a server: {error.strerror or error}") from error
    return lock


def _shown(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
