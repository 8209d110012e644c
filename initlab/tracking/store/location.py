"""Resolves the tracking URI, validates it before anything starts, and formats links to runs."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from initlab.errors import ConfigError
from initlab.spec import TrackingSettings

DEFAULT_URI = "sqlite:///mlflow.db"
VALID_FORMS = "use sqlite:///FILE.db, postgresql://USER@HOST/DATABASE (or mysql, mssql), or http(s)://HOST:PORT"
_DATABASES = frozenset({"postgresql", "mysql", "mssql"})


def resolve_uri(settings: TrackingSettings, workdir: Path) -> str:
    """Resolve the store of `settings`: `tracking.uri`, else MLFLOW_TRACKING_URI, else `mlflow.db` in `workdir`.

    Paths of SQLite files become absolute. Raises ConfigError where MLflow would refuse the URI (directories,
    `file:`, unknown schemes) or where it could not hold a run (SQLite in memory).
    """
    from_env = os.environ.get("MLFLOW_TRACKING_URI", "").strip()
    given = settings.uri.strip() if settings.uri is not None else from_env or DEFAULT_URI
    origin = " (it comes from MLFLOW_TRACKING_URI)" if settings.uri is None and from_env else ""
    parts = urlsplit(given)
    dialect = parts.scheme.split("+")[0]
    if dialect == "sqlite":
        return _absolute_sqlite(given, workdir=workdir, origin=origin)
    if dialect in {"http", "https"}:
        if not parts.hostname:
            raise ConfigError("tracking.uri", given, f"it names no host; {VALID_FORMS}{origin}")
        return given.rstrip("/")
    if dialect in _DATABASES:
        return given
    if dialect in {"", "file"} or len(dialect) == 1:
        raise ConfigError(
            "tracking.uri", given, f"MLflow no longer stores runs in plain directories; {VALID_FORMS}{origin}"
        )
    raise ConfigError("tracking.uri", mask_password(given), f"unknown scheme {dialect}; {VALID_FORMS}{origin}")


def _absolute_sqlite(given: str, *, workdir: Path, origin: str) -> str:
    scheme, _, rest = given.partition(":///")
    path, question, query = rest.partition("?")
    if not path or path.startswith(":memory:") or "mode=memory" in query:
        raise ConfigError("tracking.uri", given, f"a store in memory would be lost with the process; {VALID_FORMS}")
    file = Path(os.path.normpath(workdir.absolute() / path))
    if file.is_dir():
        raise ConfigError("tracking.uri", given, f"{file} is a directory, not a SQLite file; {VALID_FORMS}{origin}")
    return f"{scheme}:///{file.as_posix()}{question}{query}"


def readable_uri(settings: TrackingSettings, workdir: Path) -> str:
    """As `resolve_uri`, for reading. Raises ConfigError also for a server when tracking.offline=true."""
    uri = resolve_uri(settings, workdir)
    if settings.offline and sqlite_file(uri) is None:
        raise ConfigError("tracking.offline", True, f"{describe_location(uri)} cannot be read offline")
    return uri


def sqlite_file(uri: str) -> Path | None:
    """The database file of a SQLite `uri`, None for any other store."""
    if not uri.startswith("sqlite"):
        return None
    return Path(uri.partition(":///")[2].partition("?")[0])


def mask_password(uri: str) -> str:
    """`uri` without its password, for messages."""
    parts = urlsplit(uri)
    if parts.password is None:
        return uri
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{parts.username or ''}:***@{host}"))


def is_server(uri: str) -> bool:
    return uri.startswith(("http://", "https://"))


def describe_location(uri: str) -> str:
    """The store as messages name it: the file of a SQLite store, the address of anything else."""
    file = sqlite_file(uri)
    if file is None:
        return mask_password(uri)
    here = Path.cwd()
    return str(file.relative_to(here)) if file.is_relative_to(here) else str(file)


def ui_url(uri: str, *, run_id: str = "", experiment_id: str = "") -> str:
    """Link or command that shows a run: a link for a server, a command for a store without one."""
    if is_server(uri):
        if run_id and experiment_id:
            return f"{mask_password(uri)}/#/experiments/{experiment_id}/runs/{run_id}"
        return mask_password(uri)
    file = sqlite_file(uri)
    if file is not None and file == Path.cwd() / "mlflow.db":
        return "python -m initlab ui"
    if mask_password(uri) != uri:
        return 'mlflow ui --backend-store-uri "$MLFLOW_TRACKING_URI"   (set it first: passwords are not printed)'
    return f"mlflow ui --backend-store-uri {uri}"


def folder_name(experiment: str) -> str:
    """`experiment` as the name of a directory, safe in a path and in a URI."""
    return "".join(char if char.isascii() and (char.isalnum() or char in "-_.") else "_" for char in experiment)[:100]
