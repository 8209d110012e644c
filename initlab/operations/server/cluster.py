"""Embedded PostgreSQL: runs Debian's `initdb` and `postgres` on a data folder of the server, on loopback."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from initlab.errors import ConfigError, InitlabError
from initlab.operations.server.leftovers import check_free
from initlab.operations.server.secret_files import read_or_create, write

ROLE = "initlab"
#: databases of MLflow's runs, of its accounts, and of Optuna's trials: each has its own migrations
DATABASES = ("mlflow", "mlflow_auth", "optuna")
_START_SECONDS = 60.0
_STOP_SECONDS = 60.0


def programs() -> Path | None:
    """Folder of `initdb` and `postgres`; on Debian they are not on PATH."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[-3]))
    return versions[-1].parent if versions else None


class Cluster:
    """A PostgreSQL server of its own below `home`. Clients connect with `url` and `passfile`."""

    def __init__(self, home: Path, port: int) -> None:
        found = programs()
        if found is None:
            raise ConfigError(
                "postgres",
                "true",
                "PostgreSQL's server is not installed (apt-get install postgresql); or leave out postgres=true",
            )
        if find_spec("psycopg") is None:
            raise ConfigError("postgres", "true", "its driver is not installed: pip install 'initlab[server]'")
        self._programs = found
        self._user, self._group = _unprivileged_user() if os.geteuid() == 0 else (None, None)
        self._folder = home / "postgres"
        self._log = home / "postgres.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._word = read_or_create(home / "postgres_password")
        self.port = port
        #: password file in libpq's format, so that no URL and no command line contains the password
        self.passfile = home / "pgpass"
        write(self.passfile, f"127.0.0.1:{port}:*:{ROLE}:{self._word}\n")
        self._check_folder_access()
        self._create_cluster()

    def url(self, database: str, *, driver: str = "+psycopg") -> str:
        return f"postgresql{driver}://{ROLE}@127.0.0.1:{self.port}/{database}"

    @property
    def process(self) -> subprocess.Popen[bytes] | None:
        return self._process

    def start(self, stopped: Callable[[], bool] = lambda: False) -> None:
        """Start it, wait until it answers, create missing databases. Raises InitlabError."""
        self._end_an_orphan()
        check_free("postgres_port", self.port)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    str(self._programs / "postgres"),
                    "-D",
                    "data",
                    "-p",
                    str(self.port),
                    "-c",
                    "listen_addresses=127.0.0.1",
                    "-c",
                    "unix_socket_directories=",
                ],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                user=self._user,
                group=self._group,
            )
        self._wait(stopped)

    def stop(self) -> None:
        """End every connection and the server; committed data are on disk."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)  # PostgreSQL's fast shutdown
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.send_signal(signal.SIGQUIT)
                self._process.wait(_STOP_SECONDS)
        self._process = None

    def _create_cluster(self) -> None:
        if (self._folder / "data" / "PG_VERSION").exists():
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        word = self._folder / "word"
        write(word, self._word)
        if self._user is not None:
            for path in (self._folder, word):
                shutil.chown(path, self._user, self._group)
        shutil.rmtree(self._folder / "data", ignore_errors=True)  # incomplete, from a killed process
        done = subprocess.run(
            [
                str(self._programs / "initdb"),
                "-D",
                "data",
                "-U",
                ROLE,
                "--pwfile=word",
                "-A",
                "scram-sha-256",
                "-E",
                "UTF8",
                "--locale=C.UTF-8",
                "--data-checksums",
            ],
            cwd=self._folder,
            capture_output=True,
            text=True,
            check=False,
            user=self._user,
            group=self._group,
        )
        word.unlink(missing_ok=True)
        if done.returncode != 0:
            raise InitlabError(f"PostgreSQL's initdb failed in {self._folder}: {' '.join(done.stderr.split())}")

    def _check_folder_access(self) -> None:
        """PostgreSQL refuses to run as root; its folder then belongs to another user, who must be able to reach it."""
        for parent in self._folder.parents:
            if self._user is not None and not parent.stat().st_mode & 0o001:
                raise ConfigError(
                    "home",
                    self._folder.parent,
                    f"PostgreSQL does not run as root, and its user {self._user} cannot enter {parent}; run as another"
                    " user, or choose a folder that everybody may enter",
                )

    def _end_an_orphan(self) -> None:
        """End a server whose parent was killed: this process holds the lock of `home`, so no other one manages it."""
        if (self._folder / "data" / "postmaster.pid").exists():
            subprocess.run(
                [str(self._programs / "pg_ctl"), "stop", "-D", "data", "-m", "fast", "-w"],
                cwd=self._folder,
                capture_output=True,
                check=False,
                user=self._user,
                group=self._group,
            )

    def _wait(self, stopped: Callable[[], bool]) -> None:
        import psycopg
        from psycopg import sql

        deadline = time.monotonic() + _START_SECONDS
        while not stopped():
            if self._process is None or self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise InitlabError(f"PostgreSQL did not start: {last_line(self._log)} (all of it: {self._log})")
            try:
                with psycopg.connect(
                    host="127.0.0.1",
                    port=self.port,
                    user=ROLE,
                    password=self._word,
                    dbname="postgres",
                    connect_timeout=5,
                    autocommit=True,
                ) as connection:
                    known = {str(row[0]) for row in connection.execute("SELECT datname FROM pg_database")}
                    for name in DATABASES:
                        if name not in known:
                            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
                return
            except psycopg.OperationalError:
                time.sleep(0.1)


def last_line(log: Path) -> str:
    """The last non-empty line of `log`, at most 300 characters."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "it said nothing"
    return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "it said nothing")


def _unprivileged_user() -> tuple[str, int]:
    """User and group id under which root runs the server."""
    known = {entry.pw_name: entry.pw_gid for entry in pwd.getpwall()}
    name = "postgres" if "postgres" in known else "nobody"
    return name, known[name]
