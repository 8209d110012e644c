"""Databases of a server, dumped and put back: a new one is made and opened beside the old one, then they change places.

PostgreSQL's databases change their names together in one transaction; SQLite's files by renames that are undone where
one of them fails.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import sqlite3
import subprocess
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path

#: a table that each has; of others it is enough that they answer
_TABLES = {"mlflow": "runs", "mlflow_auth": "users", "mlflow.db": "runs", "accounts.db": "users"}
NEW, OLD = "_restored", "_before"


class FailedError(Exception):
    """A failed step, as one sentence."""


def run(
    command: Sequence[str],
    *,
    source: object = subprocess.DEVNULL,
    out: object = subprocess.PIPE,
    environ: Mapping[str, str] = os.environ,
    cwd: Path | None = None,
) -> str:
    """What `command` prints. Raises FailedError with what it says where it fails."""
    try:
        done = subprocess.run(
            list(command), cwd=cwd or Path(__file__).parents[1], stdin=source, stdout=out, stderr=subprocess.PIPE,
            env=dict(environ), check=False,
        )  # type: ignore[call-overload]  # fmt: skip
    except (FileNotFoundError, PermissionError):
        raise FailedError(f"{command[0]} is not installed") from None
    if done.returncode != 0:
        raise FailedError(f"{shlex.join(command)}: {' '.join(done.stderr.decode(errors='replace').split())[-400:]}")
    return (done.stdout or b"").decode(errors="replace")


class PostgreSQL:
    """The programs of a PostgreSQL server.

    Args:
        prefix: words before each program, such as those that run it in a container.
        user: who may make and rename databases.
        environ: of the programs.
    """

    def __init__(self, prefix: Sequence[str], user: str, environ: Mapping[str, str]) -> None:
        self._prefix, self._user, self._environ = list(prefix), user, environ

    def dump(self, database: str, target: Path) -> None:
        """Write the database to `target`, in one consistent state."""
        with target.open("wb") as out:
            self._run("pg_dump", "--format=custom", database, out=out)

    def prepare(self, database: str, source: Path) -> None:
        """Make the database of `source` under another name, with the same owner, and open it."""
        self.drop(database + NEW)
        owner = self.ask(f"SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = '{database}'")
        if not owner:
            raise FailedError(f"PostgreSQL has no database {database}: start the server once, so that it makes them")
        self.ask(f'CREATE DATABASE "{database}{NEW}" OWNER "{owner}" TEMPLATE template0')
        self.ask(f'REVOKE CONNECT ON DATABASE "{database}{NEW}" FROM PUBLIC')
        with source.open("rb") as dump:
            self._run("pg_restore", "--single-transaction", "--exit-on-error", f"--dbname={database}{NEW}", source=dump)
        self.check(database, database + NEW)

    def check(self, database: str, name: str) -> None:
        """Open the database `name`, which is to be what `database` is."""
        table = _TABLES.get(database)
        self.ask(f"SELECT count(*) FROM {table}" if table else "SELECT 1", database=name)

    def swap(self, databases: Sequence[str], *, back: bool = False) -> None:
        """Put all the new databases in place of the old ones at once; `back`: the old ones again."""
        pairs = [((n, n + NEW), (n + OLD, n)) if back else ((n, n + OLD), (n + NEW, n)) for n in databases]
        words = "; ".join(f'ALTER DATABASE "{a}" RENAME TO "{b}"' for pair in pairs for a, b in pair)
        self.ask(f"BEGIN; {words}; COMMIT")

    def drop(self, name: str) -> None:
        """Delete a database, where it is there."""
        self.ask(f'DROP DATABASE IF EXISTS "{name}"')

    def exists(self, name: str) -> bool:
        """Whether there is a database of that name."""
        return bool(self.ask(f"SELECT 1 FROM pg_database WHERE datname = '{name}'"))

    def ask(self, words: str, *, database: str = "postgres") -> str:
        """The answer to SQL, as text."""
        return self._run(
            "psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1",
            f"--dbname={database}", f"--command={words}",
        ).strip()  # fmt: skip

    def _run(
        self, program: str, *words: str, source: object = subprocess.DEVNULL, out: object = subprocess.PIPE
    ) -> str:
        command = [*self._prefix, program, f"--username={self._user}", *words]
        return run(command, source=source, out=out, environ=self._environ)


@contextlib.contextmanager
def exchanged(server: PostgreSQL, databases: Sequence[str], folder: Path) -> Generator[None]:
    """Replace the databases by the dumps in `folder`; where one does not open, or the body fails, the old ones stay."""
    try:
        for name in databases:
            server.prepare(name, folder / f"{name}.dump")
            server.drop(name + OLD)
        server.swap(databases)
        try:
            for name in databases:
                server.check(name, name)
            yield
        except BaseException:
            server.swap(databases, back=True)
            raise
        for name in databases:
            server.drop(name + OLD)
    finally:
        for name in databases:
            with contextlib.suppress(FailedError):
                server.drop(name + NEW)


def copy_sqlite(source: Path, target: Path) -> None:
    """Copy a consistent snapshot of a SQLite database, also while it is written to."""
    if not source.exists():
        raise FailedError(f"{source} is not there")
    with (
        contextlib.closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True, timeout=60)) as one,
        contextlib.closing(sqlite3.connect(target)) as other,
    ):
        one.backup(other)
    target.chmod(0o600)


def check_sqlite(file: Path) -> None:
    """Open a SQLite database and read all of it. Raises FailedError where it is damaged."""
    try:
        with contextlib.closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, timeout=60)) as one:
            found = [str(row[0]) for row in one.execute("PRAGMA integrity_check")]
            one.execute(f"SELECT count(*) FROM {_TABLES[file.name]}")
    except sqlite3.Error as error:
        raise FailedError(f"{file} cannot be opened ({error})") from None
    if found != ["ok"]:
        raise FailedError(f"{file} is damaged: {found[0]}")
