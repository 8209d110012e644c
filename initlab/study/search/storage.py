"""Optuna's database of a study: its URL, how it is opened, and the locks between processes.

SQLite serves the processes of one machine. PostgreSQL serves those of several; critical sections are guarded
there by a lock of the server, since a lock file works on one file system only.
"""

from __future__ import annotations

import importlib
import warnings
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from initlab.core.exchange import Deadline, exchange
from initlab.core.redact import redact_passwords
from initlab.errors import ConfigError
from initlab.study.search.lock import GRACE, HEARTBEAT, file_lock, server_lock

if TYPE_CHECKING:
    from collections.abc import Generator

    from optuna import Study
    from optuna.storages import RDBStorage
    from sqlalchemy import Engine
    from sqlalchemy.engine import URL

#: seconds to wait for a locked database
PATIENCE = 100.0
#: seconds in which a database server has to answer
ANSWER = 10
FORMS = "use sqlite:///FILE.db, or postgresql://USER:PASSWORD@HOST/DATABASE (pip install 'initlab[postgres]')"


def choose_url(given: str | None, known: str | None, workdir: Path) -> str:
    """URL of the database of a study: as `given`, as `known` from its beginning, or a file in `workdir`.

    Raises:
        ConfigError: it cannot be used, or is not the one that the study was started in.
    """
    if given is None:
        return known or f"sqlite:///{(workdir / '.initlab' / 'studies.db').absolute().as_posix()}"
    url = _check_url(given, workdir)
    if known is not None and not same(url, known):
        raise ConfigError("study.storage", redact_passwords(url), f"the study was started in {redact_passwords(known)}")
    return url


def _check_url(given: str, workdir: Path) -> str:
    parsed = _parse_url(given)
    dialect = parsed.get_backend_name()
    if dialect == "sqlite":
        if not parsed.database or parsed.database == ":memory:" or "mode=memory" in given:
            raise ConfigError("study.storage", given, f"a database in memory is lost with its process; {FORMS}")
        file = (workdir.absolute() / parsed.database).resolve()
        if file.is_dir():
            raise ConfigError("study.storage", given, f"{file} is a directory; {FORMS}")
        return f"sqlite:///{file.as_posix()}"
    if dialect == "postgresql" and parsed.drivername == "postgresql":
        # SQLAlchemy would choose psycopg2 even if it is not installed
        for module in ("psycopg", "psycopg2"):
            if find_spec(module) is not None:
                return f"postgresql+{module}{given.removeprefix('postgresql')}"
        raise ConfigError(
            "study.storage", redact_passwords(given), "needs a driver for PostgreSQL: pip install 'initlab[postgres]'"
        )
    return given


def _parse_url(url: str) -> URL:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    try:
        parsed = make_url(url)
        parsed.get_dialect()
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        raise ConfigError("study.storage", redact_passwords(url), f"is not a database URL; {FORMS}") from error
    return parsed


def same(one: str, other: str) -> bool:
    """Whether two URLs name the same database, whatever user and driver they have."""
    return _database_key(one) == _database_key(other)


def _database_key(url: str) -> tuple[str, ...]:
    parts = urlsplit(url)
    dialect = parts.scheme.partition("+")[0]
    if dialect == "sqlite":
        return dialect, str(Path(url.partition(":///")[2].partition("?")[0]).resolve())
    host = {"": "localhost", "127.0.0.1": "localhost", "::1": "localhost"}.get(parts.hostname or "", parts.hostname)
    return dialect, str(host), str(parts.port or {"postgresql": 5432, "mysql": 3306}.get(dialect, "")), parts.path


def check_separate_databases(storage: str, tracking_uri: str) -> None:
    """Refuse a shared database for Optuna and MLflow: both manage a schema version of their own there."""
    if same(storage, tracking_uri):
        raise ConfigError(
            "study.storage",
            redact_passwords(storage),
            "is MLflow's own database (tracking.uri); give Optuna another one",
        )


def open_storage(url: str) -> RDBStorage:
    """Optuna's database at `url`, with its tables created where they are missing, by one process at a time.

    Raises:
        ConfigError: it cannot be reached, or refuses the account.
    """
    import optuna
    from optuna.exceptions import OptunaError
    from sqlalchemy.exc import SQLAlchemyError

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        if url.startswith("sqlite:///"):
            file = Path(url.removeprefix("sqlite:///"))
            file.parent.mkdir(parents=True, exist_ok=True)
            with file_lock(file.parent, file.name):
                return _open(url, {"timeout": PATIENCE})
        _check_answers(url)
        with _table_creation_lock(url):
            return _open(url, _connect_arguments(url))
    except (SQLAlchemyError, OptunaError, ImportError, OSError) as error:
        cause = getattr(error, "orig", None) or error.__cause__ or error
        reason = " ".join(str(cause).split("\n")[0].split()) or type(cause).__name__
        raise ConfigError(
            "study.storage", redact_passwords(url), f"cannot be used: {redact_passwords(reason)}"
        ) from error


def load_libraries() -> None:
    """Import the packages that opening a storage needs, while the caller waits for something else anyway."""
    with suppress(ImportError):  # `open_storage` reports the error
        for name in ("optuna.storages", "sqlalchemy.orm", "sqlalchemy.dialects.sqlite", "alembic.command"):
            importlib.import_module(name)


def _connect_arguments(url: str) -> dict[str, Any]:
    return connect_arguments() if url.startswith("postgresql") else {}


def connect_arguments() -> dict[str, Any]:
    """Time limits of the connection to a PostgreSQL server: to answer, and until a network that is cut is noticed."""
    silent = {"keepalives_idle": ANSWER, "keepalives_interval": 5, "keepalives_count": 3}
    return {"connect_timeout": ANSWER, "tcp_user_timeout": 3 * ANSWER * 1000, **silent}


def check_answers(engine: Engine, url: str) -> None:
    """Connect once, in limited time: a driver's own limits end with the first byte, and names have none.

    Raises:
        LateError: the server has not answered.
        SQLAlchemyError: it cannot be reached, or refuses the account.
    """

    def ask(_deadline: Deadline) -> None:
        with engine.connect() as connection:
            connection.exec_driver_sql("SELECT 1")

    parts = urlsplit(url)
    exchange(ask, peer=f"{parts.scheme.partition('+')[0]}://{parts.hostname or ''}", seconds=1.5 * ANSWER)


def _check_answers(url: str) -> None:
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    check_answers(create_engine(url, poolclass=NullPool, connect_args=_connect_arguments(url)), url)


def _open(url: str, connect_args: dict[str, Any]) -> RDBStorage:
    from optuna.storages import RDBStorage

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # heartbeats are called experimental
        return RDBStorage(
            url, engine_kwargs={"pool_pre_ping": True, "connect_args": connect_args}, heartbeat_interval=HEARTBEAT,
            grace_period=GRACE,
        )  # fmt: skip


@contextmanager
def _table_creation_lock(url: str) -> Generator[None]:
    """A lock, since two processes that create the same tables at once would break each other."""
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    if not url.startswith("postgresql"):
        yield
        return
    engine = create_engine(url, poolclass=NullPool, connect_args=_connect_arguments(url))
    with server_lock(engine, "tables"):
        yield


@contextmanager
def exclusive(study: Study, folder: Path) -> Generator[None]:
    """While open, no other process decides about `study`: a lock of the database server, or in its `folder`."""
    storage: Any = study._storage  # pyright: ignore[reportPrivateUsage]
    engine = getattr(storage, "_backend", storage).engine  # Optuna wraps it in a cache
    with server_lock(engine, study.study_name) if engine.dialect.name == "postgresql" else file_lock(folder, "claim"):
        yield


@contextmanager
def opening(storage: RDBStorage, name: str, folder: Path) -> Generator[None]:
    """While open, no other process begins the study `name`."""
    engine = storage.engine
    if engine.dialect.name == "postgresql":
        with server_lock(engine, f"opening {name}"):
            yield
    else:
        folder.mkdir(parents=True, exist_ok=True)
        with file_lock(folder, "opening"):
            yield
