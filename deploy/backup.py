"""Backup and restore of the server: its databases and its artifacts. Needs only Python.

    python deploy/backup.py backup  [FOLDER]    a new folder; without a name backups/TIME
    python deploy/backup.py restore FOLDER

of docker-compose.yml's stack, or with --home=FOLDER of what `initlab server` keeps there (SQLite or PostgreSQL).
Databases are dumped before artifacts: records made in between are in the next backup, and no run refers to a file that
is missing. The secrets of .env are not in it: keep that file elsewhere.

A restore reads the whole backup and compares its checksums before it changes anything. It makes the new databases
beside the old ones, opens them, and exchanges all of them at once; where anything fails, the old ones are there as
before. Of the stack it stops the services that use the databases, and starts those again, whatever happens in between;
the server on a folder has to be stopped.

    --compose="docker compose"                      what stops and starts services; empty: nothing does
    --postgres="docker compose exec -T postgres"    what runs PostgreSQL's programs
    --artifacts="docker compose run ... mlflow"     what runs `tar` where the artifacts are
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import sqlite3
import sys
import tarfile
from collections.abc import Generator, Sequence
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import manifest
import server_home
from databases import FailedError, PostgreSQL, exchanged, run
from manifest import RefusedError

#: databases of the compose file: MLflow's runs, its accounts, Optuna's trials, the firings of schedules
DATABASES = ("mlflow", "mlflow_auth", "optuna", "schedule")
#: services that hold the data and have to run
_STORES = ("postgres", "s3")
_RUN = "docker compose run --rm -T --no-deps --entrypoint tar mlflow -C /data"


def main(words: Sequence[str] | None = None) -> int:
    """Exit code 0 fine, 1 where a program failed, 2 for bad input."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("do", choices=("backup", "restore"))
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--home", type=Path)
    parser.add_argument("--compose", default="docker compose")
    parser.add_argument("--postgres", default="docker compose exec -T postgres")
    parser.add_argument("--artifacts", default=_RUN)
    asked = parser.parse_args(words)
    # what is in a backup, and what is put back, is for its owner alone
    os.umask(0o077)
    try:
        if asked.do == "backup":
            backup(asked.folder or manifest.ROOT / "backups" / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}", asked)
        else:
            restore(asked.folder, asked)
    except RefusedError as error:
        print(f"{asked.do}: {error}", file=sys.stderr)
        return 2
    except (FailedError, OSError, sqlite3.Error, tarfile.TarError) as error:
        print(f"{asked.do}: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{asked.do}: interrupted", file=sys.stderr)
        return 1
    return 0


def backup(folder: Path, asked: argparse.Namespace) -> None:
    """Write `folder`; its file ``complete`` is written last and marks a complete backup."""
    try:
        folder.mkdir(parents=True, mode=0o700)
    except FileExistsError:
        raise RefusedError(f"{folder} is there already; name a new folder") from None
    if asked.home is not None:
        kind = server_home.save(asked.home, folder)
    else:
        kind, server = "docker compose", _server(asked)
        for name in DATABASES:
            server.dump(name, folder / f"{name}.dump")
        with (folder / "artifacts.tar").open("wb") as out:
            run([*shlex.split(asked.artifacts), "-cf", "-", "artifacts"], out=out)
    manifest.write(folder, kind)
    print(f"backup: {folder} ({sum(f.stat().st_size for f in folder.iterdir()) >> 10} KiB)")


def restore(folder: Path | None, asked: argparse.Namespace) -> None:
    """Put back what `folder` holds. All databases are replaced, or none; artifacts are added."""
    if folder is None:
        raise RefusedError(f"{folder} is no complete backup; name one")
    if asked.home is not None:
        notices = server_home.put_back(folder, asked.home)
    else:
        notices = manifest.verify(folder, "docker compose")
        with _services_stopped(asked.compose):
            _put_back(folder, asked)
    for notice in notices:
        print(f"restore: {notice}", file=sys.stderr)
    print(f"restore: {folder} is put back" + ("; start the server again" if asked.home is not None else ""))


# ------------------------------------------------------------------ pieces
def _server(asked: argparse.Namespace) -> PostgreSQL:
    return PostgreSQL(shlex.split(asked.postgres), "postgres", os.environ)


def _put_back(folder: Path, asked: argparse.Namespace) -> None:
    server = _server(asked)
    with exchanged(server, DATABASES, folder), (folder / "artifacts.tar").open("rb") as source:
        run([*shlex.split(asked.artifacts), "-xf", "-"], source=source)


@contextlib.contextmanager
def _services_stopped(compose: str) -> Generator[None]:
    """While open, no service uses the databases. Each that ran is started again, whatever happens.

    Raises:
        FailedError: one cannot be stopped, or does not start again.
    """
    words = shlex.split(compose)
    if not words:
        yield
        return
    there = run([*words, "ps", "--services", "--status", "running"]).split()
    users = [name for name in there if name not in _STORES]
    try:
        if users:
            print(f"restore: stopping {', '.join(users)}", flush=True)
            run([*words, "stop", *users])
        yield
    finally:
        left = [name for name in users if not _starts(words, name)]
        if users:
            print(f"restore: started again: {', '.join(n for n in users if n not in left) or 'none'}", flush=True)
        if left:
            print(f"restore: not started: {', '.join(left)}; try {compose} start {' '.join(left)}", file=sys.stderr)
    if left:
        raise FailedError(f"everything is put back, but these services did not start: {', '.join(left)}")


def _starts(words: Sequence[str], name: str) -> bool:
    # alone: one that does not start must not keep the others from it
    try:
        run([*words, "start", name])
    except (FailedError, OSError):
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
