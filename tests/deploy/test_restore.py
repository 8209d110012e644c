"""Restores that fail: damaged backups, other versions, something that breaks in between, services that were stopped."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.deploy.compose_file import ROOT
from tests.study.postgres_server import PASSWORD, Postgres, needed

pytestmark = [pytest.mark.process, pytest.mark.timeout(200)]

sys.path.insert(0, str(ROOT / "deploy"))
import manifest  # noqa: E402


def backup(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "deploy" / "backup.py"), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, umask=0o022)


def filled(home: Path, word: str) -> Path:
    """The folder of a server on SQLite, with `word` everywhere."""
    (home / "artifacts" / "1").mkdir(parents=True)
    (home / "artifacts" / "1" / f"{word}.txt").write_text(word)
    for name, table in (("mlflow.db", "runs"), ("accounts.db", "users")):
        with contextlib.closing(sqlite3.connect(home / name)) as database, database:
            database.execute(f"CREATE TABLE {table} (word)")
            database.executemany(f"INSERT INTO {table} VALUES (?)", [(word,)] * 1000)
    for name in ("password", "session_key"):
        (home / name).write_text(word)
    return home


def state(home: Path) -> dict[str, str]:
    """What `home` holds, but for artifacts, which are added to."""
    found = {name: (home / name).read_text() for name in ("password", "session_key")}
    for name, table in (("mlflow.db", "runs"), ("accounts.db", "users")):
        with contextlib.closing(sqlite3.connect(home / name)) as database:
            found[name] = " ".join(sorted({r[0] for r in database.execute(f"SELECT word FROM {table}")}))
    return found


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    made = backup("backup", tmp_path / "kept", f"--home={filled(tmp_path / 'first', 'before')}")
    assert made.returncode == 0, made.stderr
    return tmp_path / "kept"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return filled(tmp_path / "home", "now")


def one_byte(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(bytes(data))


def told(kept: Path, **changes: object) -> None:
    """The backup as another version would have made it, with its checksum."""
    content = json.loads((kept / "manifest.json").read_text())
    content.update(changes)
    (kept / "manifest.json").write_text(json.dumps(content))
    (kept / "complete").write_text(f"then\n{manifest.digest(kept / 'manifest.json')}\n")


SPOILED: dict[str, tuple[Callable[[Path], object], str]] = {
    "a byte of a database": (lambda k: one_byte(k / "mlflow.db"), "mlflow.db is damaged"),
    "a byte of the artifacts": (lambda k: one_byte(k / "artifacts.tar"), "artifacts.tar is damaged"),
    "a byte of the description": (lambda k: one_byte(k / "manifest.json"), "manifest.json is damaged"),
    "a file cut short": (lambda k: os.truncate(k / "accounts.db", 100), "accounts.db is damaged"),
    "a file that lacks": (lambda k: (k / "session_key").unlink(), "lacks session_key"),
    "never completed": (lambda k: (k / "complete").unlink(), "no complete backup"),
    "a newer initlab": (lambda k: told(k, versions={"initlab": "9.0", "mlflow": "3.17.2"}), "with initlab 9.0"),
    "a newer MLflow": (lambda k: told(k, versions={"initlab": "0.1.0", "mlflow": "3.99.0"}), "with MLflow 3.99.0"),
    "a newer format": (lambda k: told(k, format=2), "whose backups this one cannot read"),
    "another kind of server": (lambda k: told(k, kind="docker compose"), "is a backup of docker compose"),
}


@pytest.mark.parametrize("way", list(SPOILED))
def test_what_cannot_be_restored_is_refused_before_anything_is_changed(way: str, kept: Path, home: Path) -> None:
    spoil, words = SPOILED[way]
    spoil(kept)
    before = {p: p.stat().st_mtime_ns for p in home.rglob("*")}
    done = backup("restore", kept, f"--home={home}")
    assert done.returncode == 2 and words in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr
    assert {p: p.stat().st_mtime_ns for p in home.rglob("*")} == before


@pytest.mark.parametrize(
    ("older", "words"),
    [
        ({"initlab": "0.0.9", "mlflow": "3.17.2"}, "was made with initlab 0.0.9"),
        ({"initlab": "0.1.0", "mlflow": "3.10.0"}, "MLflow 3.10.0 (this is"),
        ({"initlab": "0.0.1", "mlflow": "3.9.1"}, "bring the databases up to date"),
    ],
)
def test_one_of_an_older_version_is_restored_and_that_is_told(
    older: dict[str, str], words: str, kept: Path, home: Path
) -> None:
    told(kept, versions=older)
    done = backup("restore", kept, f"--home={home}")
    assert done.returncode == 0 and words in done.stderr, done.stderr
    assert set(state(home).values()) == {"before"}


def test_one_without_checksums_is_restored_and_that_is_told(kept: Path, home: Path) -> None:
    (kept / "manifest.json").unlink()
    done = backup("restore", kept, f"--home={home}")
    assert done.returncode == 0 and "nothing was verified" in done.stderr
    assert set(state(home).values()) == {"before"}


@pytest.mark.parametrize("broken", ["a database", "the archive", "another database", "the place of the artifacts"])
def test_where_something_fails_in_between_all_is_as_before(broken: str, kept: Path, home: Path) -> None:
    """With checksums that hold: the backup was damaged before it was made, or the place cannot take it."""
    if broken == "a database":
        (kept / "accounts.db").write_bytes(b"no database" * 1000)
    elif broken == "the archive":
        (kept / "artifacts.tar").write_bytes(b"no archive" * 1000)
    elif broken == "another database":
        (kept / "mlflow.db").unlink()
        with contextlib.closing(sqlite3.connect(kept / "mlflow.db")) as database, database:
            database.execute("CREATE TABLE things (word)")
    else:
        (home / "artifacts").rename(home / "elsewhere")
        (home / "artifacts").write_text("no folder")
    files = {p.name: {"sha256": manifest.digest(p), "bytes": p.stat().st_size} for p in kept.iterdir()
             if p.name not in ("manifest.json", "complete")}  # fmt: skip
    told(kept, files=files)
    done = backup("restore", kept, f"--home={home}")
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    assert set(state(home).values()) == {"now"}
    assert not [p.name for p in home.iterdir() if "restore" in p.name]


@pytest.mark.parametrize("fraction", [0.1, 0.35, 0.6, 0.9])
def test_a_restore_that_is_killed_is_put_back_or_complete_at_the_next(fraction: float, kept: Path, home: Path) -> None:
    command = [sys.executable, str(ROOT / "deploy" / "backup.py"), "restore", str(kept), f"--home={home}"]
    begun = time.monotonic()
    other = filled(home.with_name("other"), "now")
    assert subprocess.run([*command[:-1], f"--home={other}"], check=True, capture_output=True).returncode == 0
    whole = time.monotonic() - begun
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    time.sleep(whole * fraction)
    process.send_signal(signal.SIGKILL)
    process.wait()
    if (home / ".before-restore").exists():
        assert backup("backup", home.with_name("again"), f"--home={home}").returncode == 2
    done = backup("restore", kept, f"--home={home}")
    assert done.returncode == 0, done.stderr
    assert set(state(home).values()) == {"before"}
    assert not [p.name for p in home.iterdir() if "restore" in p.name]


def test_modes_hold_under_a_lax_umask(kept: Path, home: Path) -> None:
    assert backup("restore", kept, f"--home={home}").returncode == 0
    for folder in (kept, home):
        for path in (folder, *folder.rglob("*")):
            if path.name in ("now.txt", "1", "artifacts", "home"):
                continue  # of the server that was there
            assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


# ------------------------------------------------------------------ the stack of the compose file
#: `docker compose` as far as a restore needs it: which services run, stop, start; each call is noted
SHIM = """
import json, sys
file, words = sys.argv[1], sys.argv[2:]
state = json.load(open(file))
state["calls"].append(words)
code = 0
if words[0] == "ps":
    print("\\n".join(state["running"]))
elif words[0] == "stop":
    state["running"] = [s for s in state["running"] if s not in words]
    code = 1 if state.get("stop_fails") else 0
elif words[0] == "start":
    code = 1 if words[1] in state.get("broken", ()) else 0
    state["running"] += [] if code else words[1:]
json.dump(state, open(file, "w"))
sys.exit(code)
"""
DATABASES = ("mlflow", "mlflow_auth", "optuna", "schedule")
RUNNING = ["postgres", "mlflow", "scheduler", "worker", "dashboard"]


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    server = Postgres(needed())
    try:
        server.start()
        yield server
    finally:
        server.remove()


class Compose:
    """The four databases on a real PostgreSQL, a folder of artifacts, and services that only have a state."""

    def __init__(self, folder: Path, postgres: Postgres) -> None:
        self.folder, self.postgres = folder, postgres
        (folder / "data" / "artifacts").mkdir(parents=True)
        (folder / "data" / "artifacts" / "file").write_text("before")
        (folder / "shim.py").write_text(SHIM)
        self.note(running=RUNNING, calls=[])
        self.fill("before")

    def note(self, **state: object) -> None:
        (self.folder / "state.json").write_text(json.dumps({**self.state(), **state}))

    def state(self) -> dict[str, object]:
        file = self.folder / "state.json"
        return dict(json.loads(file.read_text())) if file.exists() else {}

    def fill(self, word: str) -> None:
        for name in DATABASES:
            table = {"mlflow": "runs", "mlflow_auth": "users"}.get(name, "things")
            self.sql("postgres", f'DROP DATABASE IF EXISTS "{name}"', f'CREATE DATABASE "{name}"')
            self.sql(name, f"CREATE TABLE {table} (word text)", f"INSERT INTO {table} VALUES ('{word}')")

    def words(self) -> set[str]:
        found = set()
        for name in DATABASES:
            table = {"mlflow": "runs", "mlflow_auth": "users"}.get(name, "things")
            found.add(self.sql(name, f"SELECT word FROM {table}"))
        return found

    def databases(self) -> set[str]:
        return set(
            self.sql("postgres", "SELECT datname FROM pg_database WHERE datname ~ '_(restored|before)$'").split()
        )

    def sql(self, database: str, *commands: str) -> str:
        words = [*self._programs("psql"), "-qAt", "--no-psqlrc", "-v", "ON_ERROR_STOP=1", "-d", database]
        for command in commands:
            words += ["-c", command]
        return subprocess.run(words, check=True, capture_output=True, text=True, env=self._environ()).stdout.strip()

    def backup(self, *words: object) -> subprocess.CompletedProcess[str]:
        shim = shlex.join([sys.executable, str(self.folder / "shim.py"), str(self.folder / "state.json")])
        options = [f"--compose={shim}", f"--postgres={shlex.join(['env', *self._as_role()])}",
                   f"--artifacts=tar -C {self.folder}/data"]  # fmt: skip
        return subprocess.run(
            [sys.executable, str(ROOT / "deploy" / "backup.py"), *map(str, words), *options], capture_output=True,
            text=True, check=False, timeout=120, env=self._environ(),
        )  # fmt: skip

    def _as_role(self) -> list[str]:
        # the stack's administrator is called postgres; the tests' server has another one
        wrapper = self.folder / "as"
        wrapper.mkdir(exist_ok=True)
        for program in ("pg_dump", "pg_restore", "psql"):
            real = self._programs(program)[0]
            file = wrapper / program
            file.write_text(f'#!/bin/sh\nshift\nexec {real} --username="$PGUSER" "$@"\n')
            file.chmod(0o755)
        return [f"PATH={wrapper}:{os.environ['PATH']}"]

    def _programs(self, name: str) -> list[str]:
        return [str(needed() / name)]

    def _environ(self) -> dict[str, str]:
        return {
            **os.environ, "PGHOST": "127.0.0.1", "PGPORT": str(self.postgres.port), "PGUSER": "lab",
            "PGPASSWORD": PASSWORD,
        }  # fmt: skip


@pytest.fixture
def compose(tmp_path: Path, postgres: Postgres) -> Compose:
    return Compose(tmp_path, postgres)


def test_services_are_stopped_before_and_started_after(compose: Compose, tmp_path: Path) -> None:
    made = compose.backup("backup", tmp_path / "kept")
    assert made.returncode == 0, made.stderr
    compose.fill("now")
    (tmp_path / "data" / "artifacts" / "file").unlink()
    done = compose.backup("restore", tmp_path / "kept")
    assert done.returncode == 0, done.stderr
    assert compose.words() == {"before"} and compose.databases() == set()
    assert (tmp_path / "data" / "artifacts" / "file").read_text() == "before"
    state = compose.state()
    assert sorted(state["running"]) == sorted(RUNNING)  # type: ignore[call-overload]
    assert ["stop", "mlflow", "scheduler", "worker", "dashboard"] in state["calls"]  # type: ignore[operator]


@pytest.mark.parametrize("way", ["a dump", "the archive", "somebody connected", "stopping"])
def test_whatever_fails_in_between_they_are_started_again_and_all_is_as_before(
    way: str, compose: Compose, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    assert compose.backup("backup", kept).returncode == 0
    compose.fill("now")
    holding: subprocess.Popen[str] | None = None
    if way == "a dump":
        (kept / "optuna.dump").write_bytes(b"no dump")
    elif way == "the archive":
        (kept / "artifacts.tar").write_bytes(b"no archive" * 100)
    elif way == "stopping":
        compose.note(stop_fails=True)
    else:
        holding = subprocess.Popen(
            [*compose._programs("psql"), "-d", "optuna", "-qAt", "-c", "SELECT 'here'", "-c", "SELECT pg_sleep(100)"],
            env=compose._environ(), stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert holding.stdout is not None
        while "optuna" not in compose.sql(
            "postgres", "SELECT datname FROM pg_stat_activity WHERE query ~ 'pg_sleep.1'"
        ):
            time.sleep(0.1)
    files = {p.name: {"sha256": manifest.digest(p), "bytes": p.stat().st_size} for p in kept.iterdir()
             if p.name not in ("manifest.json", "complete")}  # fmt: skip
    told(kept, files=files)
    try:
        done = compose.backup("restore", kept)
    finally:
        if holding is not None:
            compose.sql("postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query ~ 'pg_sleep.1'"
                        " AND pid <> pg_backend_pid()")  # fmt: skip
            holding.communicate(timeout=20)
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    assert compose.words() == {"now"} and compose.databases() == set()
    assert sorted(compose.state()["running"]) == sorted(RUNNING)  # type: ignore[call-overload]


def test_one_that_does_not_start_does_not_keep_the_others_from_it(compose: Compose, tmp_path: Path) -> None:
    assert compose.backup("backup", tmp_path / "kept").returncode == 0
    compose.note(broken=["mlflow"])
    done = compose.backup("restore", tmp_path / "kept")
    assert done.returncode == 1 and "these services did not start: mlflow" in done.stderr, done.stderr
    assert {"scheduler", "worker", "dashboard"} <= set(compose.state()["running"])  # type: ignore[call-overload]
    assert compose.words() == {"before"}
