"""The folder of `initlab server`, saved and put back: SQLite files or an embedded PostgreSQL, artifacts, secrets."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Generator, Mapping
from pathlib import Path

import manifest
from databases import FailedError, PostgreSQL, check_sqlite, copy_sqlite, exchanged, run
from manifest import RefusedError

SQLITE, POSTGRES = "a server on SQLite", "a server on PostgreSQL"
DATABASES = ("mlflow", "mlflow_auth", "optuna")
FILES = ("mlflow.db", "accounts.db")
#: secret files of `initlab server`: the first holds the password that the accounts were created with
KEPT = ("password", "session_key")
#: below the folder: what is about to be put in place, and what was there
_NEW, _OLD = ".restore", ".before-restore"
#: in the latter: which files are exchanged
_NAMES = "names"
_BESIDE = ("", "-wal", "-shm", "-journal")


def save(home: Path, folder: Path) -> str:
    """Copy what `home` keeps to `folder`, also while the server runs. Returns the kind of server."""
    if (home / _OLD).exists():
        raise RefusedError(f"a restore of {home} goes on, or was broken off: give it again first")
    postgres = (home / "pgpass").exists()
    if postgres:
        with _running(home) as server:
            for name in DATABASES:
                server.dump(name, folder / f"{name}.dump")
    else:
        for name in FILES:
            copy_sqlite(home / name, folder / name)
    with tarfile.open(folder / "artifacts.tar", "w") as archive:
        archive.add(home / "artifacts", "artifacts")
    for name in KEPT:
        _copy(home / name, folder / name)
    return POSTGRES if postgres else SQLITE


def put_back(folder: Path, home: Path) -> list[str]:
    """Put what `folder` holds into `home`. Returns notices for the person who restores it.

    Raises:
        RefusedError: the backup cannot be taken, or a server runs on `home`; nothing was changed.
        FailedError: something failed, and `home` is as it was.
    """
    postgres = (folder / "mlflow.dump").exists()
    notices = manifest.verify(folder, POSTGRES if postgres else SQLITE)
    if postgres and not (home / "postgres" / "data" / "PG_VERSION").exists():
        raise RefusedError(
            f"{home} has no PostgreSQL yet: start the server once (initlab server postgres=true) and stop it"
        )
    if not postgres and (home / "pgpass").exists():
        raise RefusedError(f"{folder} is a backup of {SQLITE}, and {home} is {POSTGRES}")
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _alone(home):
        _undo(home)
        new = home / _NEW
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(mode=0o700)
        try:
            with tarfile.open(folder / "artifacts.tar") as archive:
                archive.extractall(new, filter="data")
            for name in KEPT if postgres else (*FILES, *KEPT):
                _copy(folder / name, new / name)
            # they are added to: no run of the state before lacks one because of it
            _add_artifacts(new / "artifacts", home / "artifacts")
            if postgres:
                with _running(home) as server, exchanged(server, DATABASES, folder):
                    _exchange(home, KEPT)
            else:
                for name in FILES:
                    check_sqlite(new / name)
                _exchange(home, (*FILES, *KEPT))
        finally:
            shutil.rmtree(new, ignore_errors=True)
    return notices


# ------------------------------------------------------------------ pieces
@contextlib.contextmanager
def _alone(home: Path) -> Generator[None]:
    """While open, no server starts on `home`: the lock is its own."""
    with (home / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RefusedError(f"a server runs on {home}: stop it first; nothing was changed") from None
        if (pid := _orphan(home)) is not None:
            raise RefusedError(
                f"process {pid} of a server that was killed still runs on {home}: start the server and stop it; nothing"
                " was changed"
            )
        yield


def _orphan(home: Path) -> int | None:
    """A process of MLflow that outlived the server which started it."""
    try:
        pid = int(json.loads((home / "state.json").read_text(encoding="utf-8"))["mlflow"])
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return pid if b"mlflow" in command else None


def _exchange(home: Path, names: tuple[str, ...]) -> None:
    """Move the new files into place and the old ones aside, all or none."""
    old = home / _OLD
    old.mkdir(mode=0o700)
    (old / _NAMES).write_text("\n".join(names), encoding="utf-8")
    try:
        for name in names:
            for end in _BESIDE:
                if (home / f"{name}{end}").exists():
                    (home / f"{name}{end}").replace(old / f"{name}{end}")
            (home / _NEW / name).replace(home / name)
        for name in names:
            if name in FILES:
                check_sqlite(home / name)
    except BaseException:
        _undo(home)
        raise
    # first renamed: half of it must not be taken for the state before
    done = home / f"{_OLD}-done"
    shutil.rmtree(done, ignore_errors=True)
    old.rename(done)
    shutil.rmtree(done, ignore_errors=True)


def _undo(home: Path) -> None:
    """Put the old files back, of a restore that failed or was killed."""
    old = home / _OLD
    if not old.is_dir():
        return
    names = (old / _NAMES).read_text(encoding="utf-8").split() if (old / _NAMES).exists() else []
    for name in names:
        if not (home / _NEW / name).exists():  # it was moved into place
            for end in _BESIDE:
                (home / f"{name}{end}").unlink(missing_ok=True)
    (old / _NAMES).unlink(missing_ok=True)
    for file in list(old.iterdir()):
        file.replace(home / file.name)
    old.rmdir()


def _add_artifacts(source: Path, target: Path) -> None:
    """Move the files of `source` into `target`, each at once; others stay."""
    target.mkdir(parents=True, exist_ok=True, mode=0o700)
    for file in sorted(source.rglob("*")):
        place = target / file.relative_to(source)
        if file.is_dir():
            place.mkdir(exist_ok=True, mode=0o700)
        else:
            file.chmod(0o600)
            file.replace(place)


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    target.chmod(0o600)


@contextlib.contextmanager
def _running(home: Path) -> Generator[PostgreSQL]:
    """The embedded PostgreSQL of `home`: as it runs, or started while open."""
    environ = _environ(home)
    server = PostgreSQL([], "initlab", environ)
    if _answers(server):
        yield server
        return
    data = home / "postgres" / "data"
    owner = data.stat()
    where = f"-p {environ['PGPORT']} -c listen_addresses={environ['PGHOST']} -c unix_socket_directories="
    control = ["pg_ctl", "-D", "data", "-w", "-l", "restore.log"]
    _as(owner, [*control, "-o", where, "start"], data.parent, environ)
    try:
        yield server
    finally:
        _as(owner, ["pg_ctl", "-D", "data", "-w", "-m", "fast", "stop"], data.parent, environ)


def _answers(server: PostgreSQL) -> bool:
    try:
        server.ask("SELECT 1")
    except FailedError:
        return False
    return True


def _as(owner: os.stat_result, command: list[str], folder: Path, environ: Mapping[str, str]) -> None:
    """Run a program as the owner of the data: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        run(command, environ=environ, cwd=folder)
        return
    done = subprocess.run(
        command, cwd=folder, env=dict(environ), user=owner.st_uid, group=owner.st_gid, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise FailedError(f"{' '.join(command)}: {' '.join(done.stderr.decode(errors='replace').split())[-400:]}")


def _environ(home: Path) -> Mapping[str, str]:
    """Environment variables for PostgreSQL's programs: cluster of `initlab server`, and its password."""
    host, port = (home / "pgpass").read_text(encoding="utf-8").split(":")[:2]
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parts[-2]))
    path = os.pathsep.join([os.environ.get("PATH", ""), *(str(p) for p in found[-1:])])
    return {**os.environ, "PGHOST": host, "PGPORT": port, "PGPASSFILE": str(home.absolute() / "pgpass"), "PATH": path}
