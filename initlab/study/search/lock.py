"""Locks between the processes of a study, with owners and time limits.

A process that holds one and stands still (stopped, swapped out, cut off) loses it after `GRACE` seconds: the database
server ends its session, and a lock file is succeeded by the next of its generation. Whoever waits says for whom. What
the former holder does when it goes on is harmless: trials are claimed by an atomic change of their state, and one that
was enqueued twice counts once (`trials.SLOT`).
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import time
import uuid
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from initlab.core import durable
from initlab.core.error_line import print_notice
from initlab.errors import ConfigError

#: seconds between heartbeats, and after which a trial, a lock or a leader without one is somebody else's
HEARTBEAT, GRACE = 5, 20
#: seconds of waiting before that is said
_PATIENCE = 2.0
#: seconds after which a lock that is always taken is given up
_LIMIT = 10 * GRACE


@contextmanager
def file_lock(folder: Path, name: str) -> Generator[None]:
    """While open, no other process has the lock `name` of `folder`, unless this one stands still for too long."""
    began, seen, said = time.monotonic(), "", False
    since = began
    while True:
        generation = _generation(folder, name)
        lock = FileLock(folder / (f"{name}.lock" if generation == 0 else f"{name}.{generation}.lock"))
        try:
            lock.acquire(timeout=0.5, poll_interval=0.02)
        except Timeout:
            owner = _read(folder / f"{name}.owner")
            now = time.monotonic()
            if owner.get("token") != seen:
                seen, since = str(owner.get("token")), now
            if not said and now - began > _PATIENCE:
                said = True
                print_notice(f"waiting for {_who(owner)}, which holds {folder / name}, {GRACE} s at most")
            if now - since > GRACE:
                _write(folder / f"{name}.generation", {"generation": generation + 1})
            continue
        if _generation(folder, name) == generation:
            break
        lock.release()
    with suppress(OSError):  # a full disk: the lock holds without its owner's name
        mine = {"host": socket.gethostname(), "pid": os.getpid(), "token": uuid.uuid4().hex}
        _write(folder / f"{name}.owner", mine)
    try:
        yield
    finally:
        lock.release()


@contextmanager
def server_lock(engine: Any, name: str) -> Generator[None]:
    """While open, no other session of the PostgreSQL server has the lock `name`.

    Raises:
        ConfigError: others have had it for minutes.
    """
    from sqlalchemy import text

    key = int.from_bytes(hashlib.blake2b(f"initlab {name}".encode(), digest_size=8).digest(), signed=True)
    began, said = time.monotonic(), False
    with ExitStack() as held:
        connection = engine.connect()
        held.callback(_close, connection)
        # of the transaction, so that a connection returned to the pool cannot hold it; the server ends one that idles
        connection.execute(text(f"SET LOCAL idle_in_transaction_session_timeout = '{GRACE}s'"))
        own = f"initlab on {socket.gethostname()[:30]}, process {os.getpid()}"
        connection.execute(text("SELECT set_config('application_name', :own, true)"), {"own": own})
        while not connection.execute(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": key}).scalar():
            waited = time.monotonic() - began
            if waited > _PATIENCE and not said:
                said = True
                print_notice(
                    f"waiting for {_holder(connection, key)}, which holds a lock of the study, {GRACE} s at most"
                )
            if waited > _LIMIT:
                holder = _holder(connection, key)
                raise ConfigError("study.storage", None, f"{holder} has a lock of the study since {waited:.0f} s")
            time.sleep(0.05)
        yield


# ------------------------------------------------------------------ pieces
def _close(connection: Any) -> None:
    """End the transaction; of a session that the server has ended nothing is left to end."""
    from sqlalchemy.exc import SQLAlchemyError

    try:
        connection.close()
    except SQLAlchemyError:
        connection.invalidate()


def _holder(connection: Any, key: int) -> str:
    from sqlalchemy import text

    found = connection.execute(
        text(
            "SELECT a.application_name FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid WHERE l.granted"
            " AND l.locktype = 'advisory' AND (l.classid::bigint << 32) | l.objid::bigint = :key"
        ),
        {"key": key},
    ).scalar()
    return str(found or "another process")


def _who(owner: dict[str, Any]) -> str:
    return f"process {owner['pid']} on {owner['host']}" if "pid" in owner else "another process"


def _generation(folder: Path, name: str) -> int:
    return int(_read(folder / f"{name}.generation").get("generation", 0))


def _read(file: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def _write(file: Path, content: dict[str, Any]) -> None:
    temporary = file.with_name(f"{file.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}.tmp")
    temporary.write_text(json.dumps(content), encoding="utf-8")
    durable.replace(temporary, file, keep=False)
