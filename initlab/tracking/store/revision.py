"""Brings a SQLite store of an older MLflow to the tables of the installed one; refuses that of a newer one.

MLflow itself stops at either with advice for the administrator of a database.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from filelock import FileLock, Timeout

from initlab.core import durable
from initlab.core.error_line import print_notice
from initlab.core.exchange import PATIENCE, say_waiting
from initlab.core.text import to_one_line
from initlab.errors import ConfigError
from initlab.tracking.store.faults import StoreFaultError
from initlab.tracking.store.health import read_mlflow_schemas, read_schema_version
from initlab.tracking.store.location import describe_location
from initlab.tracking.store.quiet import ignore_mlflow_warnings, silence_mlflow

#: seconds for which another process's work on the tables is waited for
_LONGEST = 120.0


@contextmanager
def lock_of(file: Path) -> Generator[None]:
    """While open, no other process makes or changes the tables of the store `file`.

    Raises:
        StoreFaultError: another one has been at it for minutes; a process that was stopped is one.
    """
    (file.parent / ".initlab").mkdir(parents=True, exist_ok=True)
    lock = FileLock(file.parent / ".initlab" / f"{file.name}.lock")
    maker = f"another process that makes the tables of {_place(file)}"
    try:
        lock.acquire(timeout=PATIENCE)
    except Timeout:
        say_waiting(maker, _LONGEST)
        try:
            lock.acquire(timeout=_LONGEST)
        except Timeout:
            reason = f"{_place(file)} waits for {maker}: it has the lock {lock.lock_file} since {_LONGEST:.0f} s"
            raise StoreFaultError("away", reason) from None
    try:
        yield
    finally:
        lock.release()


def is_current(file: Path) -> bool:
    """Whether the store has the tables of the installed MLflow, or none yet, or cannot be read at all.

    Raises:
        StoreFaultError: a newer MLflow wrote it.
    """
    found, why = read_schema_version(file) if file.is_file() else ("", "")
    wanted, known = read_mlflow_schemas()
    if why or not found or not wanted or found == wanted:
        return True
    if found not in known:
        what = (
            f"was written by a newer MLflow: its tables have the revision {found}, which the installed MLflow"
            f" {_mlflow()} does not know. Install the one that wrote it (pip install --upgrade mlflow), or record"
            " elsewhere (tracking.uri=sqlite:///FILE.db)"
        )
        raise StoreFaultError("denied", f"{_place(file)} {what}")
    return False


def migrate(file: Path) -> None:
    """Bring an older store up to date, after a copy was made beside it; says so. The caller holds `lock_of`.

    Raises:
        StoreFaultError: a newer MLflow wrote it, or it could not be migrated, and is as it was.
    """
    if is_current(file):
        return
    found, _ = read_schema_version(file)
    copy = _copied(file, found)
    print_notice(
        f"{_place(file)} was written by an older MLflow (revision {found}): its tables are brought to those of"
        f" MLflow {_mlflow()}; a copy of it as it was is {_place(copy)}"
    )
    try:
        with silence_mlflow():
            _upgrade(file)
    except Exception as error:  # sqlalchemy's, alembic's, sqlite's
        _restore(copy, file)
        reason = to_one_line(str(error))[:300] or type(error).__name__
        what = f"could not be brought up to date ({reason}); it is as it was, and so is its copy {_place(copy)}"
        raise StoreFaultError("denied", f"{_place(file)} {what}") from error


def require_current(file: Path) -> None:
    """Bring an older store up to date before anything is done with it.

    Raises:
        ConfigError: as `migrate` does.
    """
    try:
        if not is_current(file):
            with lock_of(file):
                migrate(file)
    except StoreFaultError as fault:
        raise ConfigError("tracking.uri", _place(file), fault.reason.removeprefix(f"{_place(file)} ")) from fault


# ------------------------------------------------------------------ pieces
def _place(file: Path) -> str:
    return describe_location(f"sqlite:///{file}")


def _mlflow() -> str:
    try:
        return version("mlflow")
    except PackageNotFoundError:
        return "(unknown)"


def _copied(file: Path, revision: str) -> Path:
    """A copy of the database in one consistent state, under a name that nothing has yet."""
    number, copy = 1, file.with_name(f"{file.name}.{revision}.bak")
    while copy.exists():
        number += 1
        copy = file.with_name(f"{file.name}.{revision}.{number}.bak")
    try:
        _restore(file, copy)
        durable.sync_file(copy)
        durable.sync_folder(copy.parent)
    except sqlite3.Error as error:
        copy.unlink(missing_ok=True)
        what = f"was written by an older MLflow, and no copy can be made before its tables are changed ({error})"
        raise StoreFaultError("denied", f"{_place(file)} {what}") from error
    return copy


def _restore(source: Path, target: Path) -> None:
    with (
        contextlib.closing(sqlite3.connect(source, timeout=20)) as old,
        contextlib.closing(sqlite3.connect(target, timeout=20)) as new,
    ):
        old.backup(new)


def _upgrade(file: Path) -> None:
    ignore_mlflow_warnings()
    from mlflow.store.db import utils

    engine = utils.create_sqlalchemy_engine(f"sqlite:///{file}")
    try:
        utils._upgrade_db(engine)  # pyright: ignore[reportPrivateUsage]  what `mlflow db upgrade` calls
    finally:
        engine.dispose()
