"""The server of a team as a test has it: `initlab server` in a folder of its own, asked as a script would."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.cli.driver import environment
from tests.cli.forkserver import Forked
from tests.study.postgres_server import needed
from tests.tracking.tracking_cases import free_port

STARTS = 180


class Stack:
    """A running `initlab server`, with PostgreSQL unless told otherwise. `start` after `stop` finds all that it had."""

    def __init__(
        self, *, postgres: bool = True, allowed_hosts: str = "lab.test", workers: int = 1, forked: bool = True
    ) -> None:
        self._start: type[subprocess.Popen[str]] = Forked if forked else subprocess.Popen
        if postgres:
            needed()
        # PostgreSQL does not run as root: its user has to get there
        self.folder = Path(tempfile.mkdtemp(prefix="initlab-stack-"))
        self.folder.chmod(0o755)
        self.home = self.folder / "server"
        self.port = free_port()
        self.postgres = postgres
        self._arguments = [f"home={self.home}", f"port={self.port}", f"allowed_hosts={allowed_hosts}"]
        self._arguments.append(f"workers={workers}")
        if postgres:
            self._arguments += ["postgres=true", f"postgres_port={free_port()}"]
        self._process: subprocess.Popen[str] | None = None

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def user(self) -> str:
        return "admin"

    @property
    def password(self) -> str:
        return (self.home / "password").read_text().strip()

    @property
    def optuna(self) -> str:
        """The URL of Optuna's database, without the password, which is in the file of PGPASSFILE."""
        return str(self.state()["optuna"])

    def environ(self, *, user: str = "", password: str = "", uri: str = "") -> dict[str, str]:
        """What a client's environment needs."""
        return {
            "MLFLOW_TRACKING_URI": uri or self.uri, "MLFLOW_TRACKING_USERNAME": user or self.user,
            "MLFLOW_TRACKING_PASSWORD": password or self.password, "PGPASSFILE": str(self.home / "pgpass"),
        }  # fmt: skip

    def state(self) -> dict[str, Any]:
        return dict(json.loads((self.home / "state.json").read_text()))

    def start(self) -> str:
        """Start it; what it printed until it was ready."""
        log = self.folder / "printed.log"
        with log.open("w") as out:
            self._process = self._start(
                [sys.executable, "-m", "initlab", "server", *self._arguments], cwd=self.folder, env=environment(),
                stdout=out, stderr=out, text=True,
            )  # fmt: skip
        deadline = time.monotonic() + STARTS
        while "Ctrl-C ends it" not in log.read_text():
            assert self._process.poll() is None and time.monotonic() < deadline, log.read_text() + self.log()
            time.sleep(0.1)
        return log.read_text()

    def log(self) -> str:
        return "".join(p.read_text(errors="replace")[-3000:] for p in self.home.glob("*.log"))

    def printed(self) -> str:
        return (self.folder / "printed.log").read_text()

    def stop(self, number: int = signal.SIGINT) -> int:
        """As Ctrl-C does; the exit code."""
        assert self._process is not None
        self._process.send_signal(number)
        code = self._process.wait(90)
        self._process = None
        return code

    def kill(self) -> None:
        """What starts and leads, without a word to what was started: that is left for the next start to find."""
        state = self.state()
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)
            self._process = None
        for name in ("mlflow", "postgres"):
            if name in state:
                os.kill(int(state[name]), signal.SIGKILL)

    def remove(self) -> None:
        if self._process is not None:
            self.stop()
        shutil.rmtree(self.folder)

    # ------------------------------------------------------------------ asking it
    def ask(
        self, path: str, body: object = None, *, user: str = "", password: str = "", host: str = "", method: str = ""
    ) -> tuple[int, Any]:
        """Status and answer (JSON where it is some) of a request, by hand: no client of MLflow's in between."""
        word = base64.b64encode(f"{user or self.user}:{password or self.password}".encode()).decode()
        request = urllib.request.Request(
            f"{self.uri}{path}", data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Basic {word}", "Content-Type": "application/json"},
            method=method or None,
        )  # fmt: skip
        if host:
            request.add_header("Host", host)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, _content(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, _content(error.read())

    def runs(self, words: str = "") -> list[dict[str, Any]]:
        """All runs of all experiments that the filter `words` lets pass, through the REST API."""
        code, found = self.ask("/api/2.0/mlflow/experiments/search", {"max_results": 100})
        assert code == 200, found
        ids = [e["experiment_id"] for e in found["experiments"]]
        code, found = self.ask(
            "/api/2.0/mlflow/runs/search", {"experiment_ids": ids, "filter": words, "max_results": 1000}
        )
        assert code == 200, found
        return list(found.get("runs", []))

    def account(self, user: str, password: str) -> None:
        """A further account."""
        code, told = self.ask("/api/2.0/mlflow/users/create", {"username": user, "password": password})
        assert code == 200, told


def _content(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return data.decode(errors="replace")
