"""How a store is, without using it: there, of this MLflow's form, and by whose clock."""

from __future__ import annotations

import contextlib
import email.utils
import re
import sqlite3
import time
from importlib.util import find_spec
from pathlib import Path

from initlab.tracking.store.location import masked

#: seconds that a server has
_PATIENCE = 5.0
_REVISION = re.compile(r"^(down_revision|revision)\s*(?::[^=]*)?=\s*(.+)$", re.MULTILINE)


def schema_of(file: Path) -> tuple[str, str]:
    """The version of a SQLite store's tables, "" where it has none, and why it cannot be read, "" where it can."""
    try:
        with contextlib.closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=5)) as database:
            tables = {row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if "alembic_version" not in tables:
                return "", ""
            row = database.execute("SELECT version_num FROM alembic_version").fetchone()
            return (str(row[0]) if row else ""), ""
    except sqlite3.Error as error:
        return "", str(error)


def schemas_of_mlflow() -> tuple[str, frozenset[str]]:
    """The version of the tables that the installed MLflow wants, and all that it knows; read, not imported."""
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


def answer_of(uri: str) -> tuple[str, float | None]:
    """Why a server does not answer, "" where it does; and seconds that its clock is ahead, None where it hides it."""
    import requests

    begun = time.time()
    try:
        answer = requests.get(f"{uri.rstrip('/')}/health", timeout=_PATIENCE)
    except (requests.RequestException, OSError) as error:
        return f"{masked(uri)} does not answer ({type(error).__name__})", None
    date = answer.headers.get("Date", "")
    own = (begun + time.time()) / 2
    with contextlib.suppress(ValueError, TypeError):
        # a date has whole seconds
        return "", email.utils.parsedate_to_datetime(date).timestamp() + 0.5 - own
    return "", None
