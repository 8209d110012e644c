"""Runs `mlflow server` as a process: accounts, allowed hosts, proxied artifacts, no telemetry."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping

from initlab.operations.server.secret_files import ADMIN, read_or_create, write
from initlab.operations.server.settings import ServerSettings

_STOP_SECONDS = 15.0
#: every account may add runs to every experiment, and delete only its own; a correct password is cached for a minute,
#: since checking it costs more than most requests
_ACCOUNTS = """[mlflow]
default_permission = EDIT
database_uri = {database}
admin_username = {admin}
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
auth_cache_ttl_seconds = 60
"""


class MlflowProcess:
    """MLflow's server and its workers, in a session of their own: Ctrl-C reaches only the parent process."""

    def __init__(self, settings: ServerSettings, *, records: str, accounts: str, environ: Mapping[str, str]) -> None:
        home = settings.home
        self._port = settings.port
        self._home = home
        self.log = home / "server.log"
        ini = home / "auth.ini"
        write(ini, _ACCOUNTS.format(database=accounts.replace("%", "%%"), admin=ADMIN))
        hosts = [f"{name}{port}" for name in ("localhost", "127.0.0.1") for port in ("", ":*")]
        hosts += [f"{name}{port}" for name in settings.allowed_hosts for port in ("", "" if ":" in name else ":*")]
        self._command = [
            sys.executable,
            "-m",
            "mlflow",
            "server",
            "--host",
            "127.0.0.1",
            "--port",
            str(settings.port),
            "--workers",
            str(settings.workers),
            "--serve-artifacts",
            "--artifacts-destination",
            (home / "artifacts").as_uri(),
            "--app-name",
            "basic-auth",
            "--allowed-hosts",
            ",".join(dict.fromkeys(hosts)),
            # one line per request would fill the disk over time: nothing here rotates logs
            "--uvicorn-opts",
            "--no-access-log",
        ]
        # secrets go into environment variables, not onto the command line
        self._environ = {
            **os.environ,
            **environ,
            "MLFLOW_BACKEND_STORE_URI": records,
            "MLFLOW_AUTH_CONFIG_PATH": str(ini),
            "MLFLOW_AUTH_ADMIN_PASSWORD": read_or_create(home / "password"),
            "MLFLOW_FLASK_SERVER_SECRET_KEY": read_or_create(home / "session_key"),
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "DO_NOT_TRACK": "true",
            "PYTHONWARNINGS": "ignore",
        }
        # a server must not be configured as a client of another one
        for key in ("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
            self._environ.pop(key, None)
        self._process: subprocess.Popen[bytes] | None = None
        #: Unix time of its last start
        self.since = 0.0

    @property
    def pid(self) -> int:
        return 0 if self._process is None else self._process.pid

    @property
    def ended(self) -> int | None:
        """Its exit code once it has ended."""
        return None if self._process is None else self._process.poll()

    def start(self) -> None:
        (self._home / "artifacts").mkdir(exist_ok=True)
        self.since = time.time()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._home,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def healthy(self) -> bool:
        """Whether the server answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=5)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def stop(self) -> None:
        """Let requests in flight complete, then end the server and its workers."""
        if self._process is None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_SECONDS)
                break
        # workers that survived the server
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process = None
