"""The services of docker-compose.yml run without containers: their commands, environments and health checks as written.

Only places differ: hosts are loopback, ports are free ones, folders are below a temporary one.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import random
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.cli import forkserver
from tests.cli.driver import environment
from tests.deploy.compose_file import ROOT, dotenv, loaded, mapped
from tests.study.postgres_server import needed
from tests.tracking.tracking_cases import free_port


class Services:
    """A folder in which they run. `up` starts one and waits until its health check says so."""

    def __init__(self, **settings: str) -> None:
        self._programs = needed()
        self.folder = Path(tempfile.mkdtemp(prefix="initlab-compose-"))
        self.folder.chmod(0o755)
        subprocess.run([sys.executable, ROOT / "deploy" / "make_env.py", self.folder / "env"], check=True, stdout=-3)
        self.variables = dotenv((self.folder / "env").read_text()) | settings
        self.ports = {name: free_port() for name in ("postgres", "mlflow", "dashboard", "ray", "client", "tls")}
        for name in ("master", "volume", "filer", "s3"):
            self.ports[name] = _port_with_another()
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._places = self._placed()

    def _placed(self) -> dict[str, str]:
        p, here = self.ports, "127.0.0.1"
        for name in ("postgres", "mlflow", "data", "work", "schedule", "s3", "tls"):
            (self.folder / name).mkdir(exist_ok=True)
        return {
            "0.0.0.0": here,
            "postgres:5432": f"{here}:{p['postgres']}",
            "@postgres/": f"@{here}:{p['postgres']}/",
            "--port=5432": f"--port={p['postgres']}",
            "/var/lib/postgresql/data": str(self.folder / "postgres"),
            "mlflow:5000": f"{here}:{p['mlflow']}",
            "127.0.0.1:5000": f"{here}:{p['mlflow']}",
            "--port=5000": f"--port={p['mlflow']}",
            "/data/artifacts": str(self.folder / "data" / "artifacts"),
            "/etc/mlflow": str(self.folder / "mlflow"),
            "/etc/initlab/schedule": str(self.folder / "schedule"),
            "/opt/deploy": str(ROOT / "deploy"),
            "/etc/caddy": str(ROOT / "deploy" / "tls"),
            "/tls/": f"{self.folder / 'tls'}/",
            ":8443": f":{p['tls']}",
            "127.0.0.1:8080": f"{here}:{p['dashboard']}",
            "--port=8080": f"--port={p['dashboard']}",
            "ray-head:6379": f"{here}:{p['ray']}",
            "127.0.0.1:6379": f"{here}:{p['ray']}",
            "--port=6379": f"--port={p['ray']}",
            "--ray-client-server-port=10001": f"--ray-client-server-port={p['client']}",
            "s3:9000": f"{here}:{p['s3']}",
            "127.0.0.1:9000": f"{here}:{p['s3']}",
            "port=9000": f"port={p['s3']}",
            "port=9333": f"port={p['master']}",
            "port=9340": f"port={p['volume']}",
            "port=9350": f"port={p['filer']}",
            "-dir=/data": f"-dir={self.folder / 's3'}",
        }

    def service(self, name: str) -> dict[str, Any]:
        return dict(mapped(loaded(self.variables)["services"][name], self._places))

    def files(self) -> None:
        """What is mounted into the containers."""
        for source, target in (
            ("mlflow/auth.ini", "mlflow/auth.ini"),
            ("schedule/nightly.yaml", "schedule/nightly.yaml"),
        ):
            text = (ROOT / "deploy" / source).read_text()
            (self.folder / target).write_text(mapped(text, self._places))

    def environ(self, name: str) -> dict[str, str]:
        """What the container of the service would have, and what finds the programs here."""
        path = os.pathsep.join((str(Path(sys.executable).parent), str(self._programs), os.environ["PATH"]))
        given = {k: str(v) for k, v in self.service(name).get("environment", {}).items()}
        return {**environment(), "PATH": path, "HOME": str(self.folder / "work"), "INITLAB_DATA": "", **given}

    def run(self, name: str, command: list[str] | None = None) -> subprocess.CompletedProcess[str]:
        """A command in the place of the service's own, as `docker compose run` does."""
        words, env, cwd = command or self.service(name)["command"], self.environ(name), self.folder / "work"
        if words[:3] == ["python", "-m", "initlab"]:
            return forkserver.run(words[3:], cwd=cwd, env=env, timeout=200)
        return subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, check=False, timeout=200)

    def healthy(self, name: str) -> bool:
        words = self.service(name)["healthcheck"]["test"]
        assert words[0] == "CMD"
        return self.run(name, words[1:]).returncode == 0

    @property
    def all(self) -> list[str]:
        return list(loaded(self.variables)["services"])

    def up(self, name: str, *, asked: bool = True, within: float = 120) -> None:
        """Start it and wait. `asked`: whether its health check says no as long as it does not run."""
        assert not asked or not self.healthy(name), f"{name} is healthy before it is started"
        with (self.folder / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                self.service(name)["command"], cwd=self.folder / "work", env=self.environ(name),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + within
        while not self.healthy(name):
            assert self._running[name].poll() is None and time.monotonic() < deadline, self.log(name)
            time.sleep(0.3)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")[-4000:]

    def stop(self, name: str, *, hard: bool = False) -> int:
        """With the signal that Compose sends; `hard` does not wait for what takes long."""
        process = self._running.pop(name)
        process.send_signal(
            signal.SIGKILL if hard else getattr(signal, self.service(name).get("stop_signal", "SIGTERM"))
        )
        try:
            return process.wait(60)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)

    def postgres(self) -> None:
        """What the image's own start does around the command: initdb, the command, the scripts of its folder."""
        environ = self.environ("postgres") | {"PGPORT": str(self.ports["postgres"])}
        somebody: dict[str, Any] = {}
        if os.geteuid() == 0:
            user = next(u for u in ("postgres", "nobody") if u in {e.pw_name for e in pwd.getpwall()})
            shutil.chown(self.folder / "postgres", user, pwd.getpwnam(user).pw_gid)
            somebody = {"user": user, "group": pwd.getpwnam(user).pw_gid}
        word = self.folder / "word"
        word.write_text(environ["POSTGRES_PASSWORD"])
        word.chmod(0o644)
        made = subprocess.run(
            ["initdb", "-D", environ["PGDATA"], "-U", environ["POSTGRES_USER"], f"--pwfile={word}", "--no-sync",
             *shlex.split(environ["POSTGRES_INITDB_ARGS"])],
            cwd=self.folder, env=environ, capture_output=True, text=True, check=False, **somebody,
        )  # fmt: skip
        assert made.returncode == 0, made.stderr
        word.unlink()
        with (self.folder / "postgres.log").open("ab") as log:
            self._running["postgres"] = subprocess.Popen(
                [*self.service("postgres")["command"], "-c", "unix_socket_directories="], cwd=self.folder, env=environ,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, **somebody,
            )  # fmt: skip
        deadline = time.monotonic() + 60
        while not self.healthy("postgres"):
            assert self._running["postgres"].poll() is None and time.monotonic() < deadline, self.log("postgres")
            time.sleep(0.1)
        self.script(ROOT / "deploy" / "postgres" / "databases.sh")

    def script(self, path: Path) -> None:
        """One of PostgreSQL's start scripts, as the superuser."""
        environ = self.environ("postgres")
        done = subprocess.run(
            [str(path)], env={**environ, "PGHOST": "127.0.0.1", "PGPORT": str(self.ports["postgres"]),
                              "PGPASSWORD": environ["POSTGRES_PASSWORD"]},
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    def remove(self) -> None:
        for name in reversed(list(self._running)):
            self.stop(name)
        shutil.rmtree(self.folder)


def _port_with_another() -> int:
    """A free port whose number and 10,000 is free too: SeaweedFS takes both."""
    for _ in range(100):
        port = random.randrange(20_000, 30_000)
        with contextlib.suppress(OSError), socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", port))
            other.bind(("127.0.0.1", port + 10_000))
            return port
    raise AssertionError("no two ports are free")
