"""A real PostgreSQL server of Debian's packages: a cluster in a temporary folder, on a free loopback port."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from tests.tracking.tracking_cases import free_port

PASSWORD = "correct-horse"


def programs() -> Path | None:
    """Where `initdb` and `postgres` are: Debian keeps them off the search path."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[-3]))
    return versions[-1].parent if versions else None


def needed() -> Path:
    """The programs; where there are none the test is skipped, or fails in continuous integration."""
    found = programs()
    if found is None:
        reason = "PostgreSQL's server is not installed (apt-get install postgresql)"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


class Postgres:
    """The server refuses to run as root, so it is somebody else's, and so is its folder."""

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        self.home = Path(tempfile.mkdtemp(prefix="initlab-postgres-"))
        self.port = free_port()
        self._user = _somebody() if os.geteuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None
        word = self.home / "word"
        word.write_text(PASSWORD)
        if self._user is not None:
            for path in (self.home, word):
                shutil.chown(path, self._user)
        self._run("initdb", "-D", "data", "-U", "lab", "--pwfile=word", "-A", "scram-sha-256", "--no-sync")

    def url(self, database: str, *, password: str = PASSWORD) -> str:
        return f"postgresql://lab:{password}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        with (self.home / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._programs / "postgres"), "-D", "data", "-p", str(self.port), "-k", str(self.home),
                 "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"],
                cwd=self.home, stdout=log, stderr=log, user=self._user, start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + 60
        while self.sql("SELECT 1", fails=True) is None:
            assert self._process.poll() is None and time.monotonic() < deadline, (self.home / "log").read_text()
            time.sleep(0.1)

    def create(self, database: str) -> str:
        """A new database; its URL."""
        self.sql(f'CREATE DATABASE "{database}"')
        return self.url(database)

    def sql(self, query: str, *, database: str = "postgres", fails: bool = False) -> str | None:
        done = subprocess.run(
            [str(self._programs / "psql"), "-X", "-A", "-t", "-h", "127.0.0.1", "-p", str(self.port), "-U", "lab",
             "-d", database, "-c", query],
            env={**os.environ, "PGPASSWORD": PASSWORD}, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        if done.returncode != 0:
            assert fails, done.stderr
            return None
        return done.stdout.strip()

    def stop(self) -> None:
        """End every connection and the server."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(60)
            self._process = None

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.home)

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self._programs / program), *arguments], cwd=self.home, user=self._user, capture_output=True, text=True,
            check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


def _somebody() -> str:
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"
