"""Backup and restore of the server: its databases and its artifacts. Needs only Python.

    python deploy/backup.py backup  [FOLDER]    a new folder; without a name backups/TIME
    python deploy/backup.py restore FOLDER

of docker-compose.yml's stack, or with --home=FOLDER of what `initlab server` keeps there (SQLite or PostgreSQL; the
latter has to run). Databases are dumped before artifacts: records made in between are in the next backup, and no run
refers to a file that is missing. The secrets of .env are not in it: keep that file elsewhere.

    --postgres="docker compose exec -T postgres"    what runs PostgreSQL's programs
    --artifacts="docker compose run ... mlflow"     what runs `tar` where the artifacts are
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import shutil
import sqlite3
import subprocess
import sys
import tarfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[1]
#: databases of the compose file: MLflow's runs, its accounts, Optuna's trials, the firings of schedules
DATABASES = ("mlflow", "mlflow_auth", "optuna", "schedule")
EMBEDDED = ("mlflow", "mlflow_auth", "optuna")
FILES = ("mlflow.db", "accounts.db")
#: secret files of `initlab server`: the first holds the password that the accounts were created with
KEPT = ("password", "session_key")
_RUN = "docker compose run --rm -T --no-deps --entrypoint tar mlflow -C /data"


class FailedError(Exception):
    """A failed step, as one sentence."""


def main(words: Sequence[str] | None = None) -> int:
    """Exit code 0 fine, 1 where a program failed, 2 for bad input."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("do", choices=("backup", "restore"))
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--home", type=Path)
    parser.add_argument("--postgres", default="docker compose exec -T postgres")
    parser.add_argument("--artifacts", default=_RUN)
    asked = parser.parse_args(words)
    try:
        if asked.do == "backup":
            folder = asked.folder or ROOT / "backups" / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
            backup(folder, home=asked.home, postgres=asked.postgres, artifacts=asked.artifacts)
        elif asked.folder is None or not (asked.folder / "complete").is_file():
            print(f"restore: {asked.folder} is no complete backup; name one", file=sys.stderr)
            return 2
        else:
            restore(asked.folder, home=asked.home, postgres=asked.postgres, artifacts=asked.artifacts)
    except FileExistsError as error:
        print(f"backup: {error.filename or error} is there already; name a new folder", file=sys.stderr)
        return 2
    except (FailedError, OSError, sqlite3.Error) as error:
        print(f"{asked.do}: {error}", file=sys.stderr)
        return 1
    return 0


def backup(folder: Path, *, home: Path | None, postgres: str, artifacts: str) -> None:
    """Write `folder`; its file ``complete`` is written last and marks a complete backup."""
    folder.mkdir(parents=True, mode=0o700)
    if home is None:
        for name in DATABASES:
            _dump(shlex.split(postgres), "postgres", name, folder / f"{name}.dump", os.environ)
        with (folder / "artifacts.tar").open("wb") as out:
            _run([*shlex.split(artifacts), "-cf", "-", "artifacts"], out=out)
    elif (home / "pgpass").exists():
        environ = _embedded(home)
        for name in EMBEDDED:
            _dump([], "initlab", name, folder / f"{name}.dump", environ)
    else:
        for name in FILES:
            _copy(home / name, folder / name)
    if home is not None:
        with tarfile.open(folder / "artifacts.tar", "w") as archive:
            archive.add(home / "artifacts", "artifacts")
        for name in KEPT:
            shutil.copy2(home / name, folder / name)
    (folder / "complete").write_text(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}Z\n", encoding="utf-8")
    print(f"backup: {folder} ({sum(f.stat().st_size for f in folder.iterdir()) >> 10} KiB)")


def restore(folder: Path, *, home: Path | None, postgres: str, artifacts: str) -> None:
    """Put back what `folder` holds. A database is replaced completely or stays unchanged; artifacts are added."""
    if home is None:
        for name in DATABASES:
            _load(shlex.split(postgres), "postgres", name, folder / f"{name}.dump", os.environ)
        with (folder / "artifacts.tar").open("rb") as source:
            _run([*shlex.split(artifacts), "-xf", "-"], source=source)
    else:
        home.mkdir(parents=True, exist_ok=True)
        if (folder / "mlflow.dump").exists():
            environ = _embedded(home)
            for name in EMBEDDED:
                _load([], "initlab", name, folder / f"{name}.dump", environ)
        else:
            for name in FILES:
                _copy(folder / name, home / name)
        with tarfile.open(folder / "artifacts.tar") as archive:
            archive.extractall(home, filter="data")
        for name in KEPT:
            shutil.copy2(folder / name, home / name)
    print(f"restore: {folder} is put back; start the server again")


def _embedded(home: Path) -> Mapping[str, str]:
    """Environment variables for PostgreSQL's programs: cluster of `initlab server`, and its password."""
    host, port = (home / "pgpass").read_text(encoding="utf-8").split(":")[:2]
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parts[-2]))
    path = os.pathsep.join([os.environ.get("PATH", ""), *(str(p) for p in found[-1:])])
    return {**os.environ, "PGHOST": host, "PGPORT": port, "PGPASSFILE": str(home.absolute() / "pgpass"), "PATH": path}


def _dump(prefix: list[str], user: str, database: str, target: Path, environ: Mapping[str, str]) -> None:
    with target.open("wb") as out:
        _run([*prefix, "pg_dump", f"--username={user}", "--format=custom", database], out=out, environ=environ)


def _load(prefix: list[str], user: str, database: str, source: Path, environ: Mapping[str, str]) -> None:
    command = ["pg_restore", f"--username={user}", "--clean", "--if-exists", "--single-transaction"]
    with source.open("rb") as dump:
        _run([*prefix, *command, f"--dbname={database}"], source=dump, environ=environ)


def _copy(source: Path, target: Path) -> None:
    """Copy a consistent snapshot of a SQLite database, also while it is written to."""
    if not source.exists():
        raise FailedError(f"{source} is not there")
    with (
        contextlib.closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True, timeout=60)) as one,
        contextlib.closing(sqlite3.connect(target)) as other,
    ):
        one.backup(other)


def _run(
    command: list[str],
    *,
    source: object = subprocess.DEVNULL,
    out: object = None,
    environ: Mapping[str, str] = os.environ,
) -> None:
    try:
        done = subprocess.run(
            command, cwd=ROOT, stdin=source, stdout=out, stderr=subprocess.PIPE, env=dict(environ), check=False
        )  # type: ignore[call-overload]
    except FileNotFoundError:
        raise FailedError(f"{command[0]} is not installed") from None
    if done.returncode != 0:
        raise FailedError(f"{shlex.join(command)}: {' '.join(done.stderr.decode(errors='replace').split())[-400:]}")


if __name__ == "__main__":
    sys.exit(main())
