"""Health of a store, without opening it as a client: whether it answers, schema version, clock difference."""

from __future__ import annotations

import contextlib
import email.utils
import re
import sqlite3
import time
from importlib.util import find_spec
from pathlib import Path

from initlab.core.exchange import exchange
from initlab.tracking.store.location import mask_password

#: seconds to wait for a server
_TIMEOUT_SECONDS = 5.0
_REVISION = re.compile(r"^(down_revision|revision)\s*(?::[^=]*)?=\s*(.+)$", re.MULTILINE)


def read_schema_version(file: Path) -> tuple[str, str]:
    """Schema version of a SQLite store ("" where it has none), and why it cannot be read ("" where it can)."""
    try:
        with contextlib.closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=5)) as database:
            tables = {row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if "alembic_version" not in tables:
                return "", ""
            row = database.execute("SELECT version_num FROM alembic_version").fetchone()
            return (str(row[0]) if row else ""), ""
    except sqlite3.Error as error:
        return "", str(error)


def read_mlflow_schemas() -> tuple[str, frozenset[str]]:
    """Schema version that the installed MLflow needs, and all that it knows; read from its files, not imported."""
    spec = find_spec("mlflow")
    folder = Path(spec.origin or "").parent / "store" / "db_migrations" / "versions" if spec is not None else Path()
    known: set[str] = set()
    before: set[str] = set()
    for file in folder.glob("*.py"):
        for key, value in _REVISION.findall(file.read_text(encoding="utf-8")):
            names = re.findall(r"[\"']([0-9a-f]+)[\"']", value)
            (known if key == "revision" else before).update(names)
    heads = known - before
    return (next(iter(heads)) if len(heads) == 1 else ""), frozenset(known)


def check_server(uri: str) -> tuple[str, float | None]:
    """Why a server does not answer ("" where it does), and by how many seconds its clock is ahead (None if unknown)."""
    import requests

    begun = time.time()
    try:
        answer = exchange(
            lambda _: requests.get(
                f"{uri.rstrip('/')}/health", timeout=0.8 * _TIMEOUT_SECONDS, stream=True, allow_redirects=False
            ),
            peer=mask_password(uri),
            seconds=_TIMEOUT_SECONDS,
        )
        answer.close()
    except (requests.RequestException, OSError) as error:
        return f"{mask_password(uri)} does not answer ({type(error).__name__})", None
    if answer.status_code >= 500 or 300 <= answer.status_code < 400:
        return f"{mask_password(uri)} answers {answer.status_code} when it is asked whether it is well", None
    date = answer.headers.get("Date", "")
    own = (begun + time.time()) / 2
    with contextlib.suppress(ValueError, TypeError):
        # the date header has whole seconds
        return "", email.utils.parsedate_to_datetime(date).timestamp() + 0.5 - own
    return "", None
