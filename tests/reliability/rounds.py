"""What may fail between a run and its store, struck at a random moment; and whether every record is there once.

A round starts one or several recording clients (`client`), strikes, lets `sync` send what was left, and reads the
store with SQL. It returns a sentence for each thing that does not hold, and how many clients were struck.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path

from initlab.spec import TrackingSettings
from initlab.tracking.spool import spool
from initlab.tracking.upkeep.sync import sync
from tests.reliability.clients import PATIENCE, RATE, RECORDS, ROOT, Client, client
from tests.reliability.holding import violations
from tests.study.postgres_server import Postgres, needed
from tests.tracking.tracking_cases import QUIET, Gate, Server

#: clients that write while a server is struck, each at another point of its run
CLIENTS = 4
#: seconds that each call to a slow server takes
SLOW = 2.0


def sent(workdir: Path, *, tries: int = 3) -> None:
    """`sync`, as often as it takes a server that has just come back."""
    for _ in range(tries):
        if not sync(workdir, TrackingSettings()).waiting:
            return
        time.sleep(1.0)


# ------------------------------------------------------------------ rows of the table
@dataclass(frozen=True, kw_only=True)
class Bench:
    """Where rounds take place: an empty store to copy, and servers that may be struck."""

    folder: Path
    template: Path
    server: Server
    on_postgres: Server
    postgres: Postgres

    def embedded(self, name: str) -> tuple[Path, str]:
        """A fresh working directory with a store of its own, and the store's URI."""
        workdir = self.folder / name
        workdir.mkdir()
        shutil.copyfile(self.template, workdir / "mlflow.db")
        return workdir, f"sqlite:///{workdir}/mlflow.db"


Row = Callable[[Bench, random.Random, str], tuple[int, list[str]]]
_ENDS = ("FINISHED", "KILLED", "FAILED")


def client_killed(bench: Bench, draw: random.Random, name: str) -> tuple[int, list[str]]:
    """kill -9 of the recording process, then `sync`."""
    workdir, uri = bench.embedded(name)
    one = client(workdir, uri)
    _somewhere(one, draw)
    one.kill()
    sent(workdir)
    return 1, violations(uri, one, ends=_ENDS)


def helper_killed(bench: Bench, draw: random.Random, name: str) -> tuple[int, list[str]]:
    """kill -9 of the process that delivers; the run goes on, and `sync` sends the rest."""
    workdir, uri = bench.embedded(name)
    one = client(workdir, uri)
    one.until(lambda c: bool(c.uid))
    time.sleep(draw.uniform(0.0, 5.0))
    if helper := one.helper():
        helper.kill()
    one.end()
    sent(workdir)
    return 1, violations(uri, one, ends=("FINISHED",), exactly=True)


def two_syncs(bench: Bench, draw: random.Random, name: str) -> tuple[int, list[str]]:
    """Two `sync` at once, of which every other time one is killed as well."""
    workdir, uri = bench.embedded(name)
    one = client(workdir, uri)
    _somewhere(one, draw)
    one.kill()
    both = [_sync_process(workdir) for _ in range(2)]
    if draw.random() < 0.5:
        time.sleep(draw.uniform(1.0, 4.0))
        both[0].kill()
    for process in both:
        process.wait(PATIENCE)
    sent(workdir)
    return 1, violations(uri, one, ends=_ENDS)


def replayed(bench: Bench, draw: random.Random, name: str) -> tuple[int, list[str]]:
    """The same spool sent twice: it was copied before, and what is known of its delivery was lost."""
    workdir, uri = bench.embedded(name)
    one = client(workdir, uri)
    _somewhere(one, draw)
    one.kill()
    copies = bench.folder / f"{name}-copy"
    root = spool.spool_root(workdir)
    if root.is_dir():
        shutil.copytree(root, copies)
    sent(workdir)
    if copies.is_dir():
        shutil.copytree(copies, root, dirs_exist_ok=True)
        if draw.random() < 0.5:
            for progress in root.glob(f"*/{spool.PROGRESS}"):
                progress.unlink()
        sent(workdir)
    return 1, violations(uri, one, ends=_ENDS)


def network_cut(bench: Bench, draw: random.Random, name: str) -> tuple[int, list[str]]:
    """The way to the server cut once or twice in mid-run, also in mid-request."""
    gate = Gate(bench.server.port)
    gate.open()
    try:
        one = client(bench.folder / name, gate.uri)
        one.until(lambda c: bool(c.uid))
        strikes = draw.choice((1, 1, 2))
        for _ in range(strikes):
            time.sleep(draw.uniform(0.0, 3.0))
            gate.shut()
            time.sleep(draw.uniform(0.05, 2.0))
            gate.open()
        one.end()
        sent(one.workdir)
    finally:
        gate.shut()
    return strikes, violations(database(bench.server), one, ends=("FINISHED",), exactly=True)


def refused_at_first(bench: Bench, draw: random.Random, name: str) -> tuple[int, list[str]]:
    """No server at the start; it comes at some moment, perhaps after the end of the run."""
    gate = Gate(bench.server.port)
    one = client(bench.folder / name, gate.uri)
    try:
        one.until(lambda c: bool(c.uid))
        late = draw.random() < 0.3
        if not late:
            time.sleep(draw.uniform(0.0, 4.0))
            gate.open()
        one.end()
        if late:
            gate.open()
        sent(one.workdir)
    finally:
        gate.shut()
    return 1, violations(database(bench.server), one, ends=("FINISHED",), exactly=True)


def server_killed(bench: Bench, draw: random.Random, name: str, *, away: float | None = None) -> tuple[int, list[str]]:
    """kill -9 of the MLflow server and its workers, and a start some seconds later; on a store in SQLite."""

    def strike() -> None:
        bench.server.kill()
        time.sleep(draw.uniform(0.0, 4.0) if away is None else away)
        bench.server.start()

    return _struck(bench, bench.server, draw, name, strike, records=RECORDS)


def postgres_restarted(bench: Bench, draw: random.Random, name: str) -> tuple[int, list[str]]:
    """PostgreSQL, which the server keeps its runs in, stopped with all its connections, and started again."""

    def strike() -> None:
        bench.postgres.stop()
        time.sleep(draw.uniform(0.0, 3.0))
        bench.postgres.start()

    return _struck(bench, bench.on_postgres, draw, name, strike, records=RECORDS)


def server_slow(bench: Bench, draw: random.Random, name: str) -> tuple[int, list[str]]:
    """Every call takes two seconds; the run ends meanwhile, and is killed every other time."""
    gate = Gate(bench.server.port, delay=SLOW)
    gate.open()
    try:
        one = client(bench.folder / name, gate.uri)
        one.until(lambda c: bool(c.uid))
        killed = draw.random() < 0.5
        if killed:
            time.sleep(draw.uniform(0.0, 8.0))
            one.kill()
        one.end()
        gate.delay = 0.0
        sent(one.workdir)
    finally:
        gate.shut()
    return 1, violations(database(bench.server), one, ends=_ENDS if killed else ("FINISHED",), exactly=not killed)


def disk_full(bench: Bench, draw: random.Random, name: str) -> tuple[int, list[str]]:
    """No room is left for the spool in mid-run: what was acknowledged arrives, and the run ends as failed."""
    _, uri = bench.embedded(f"{name}-store")
    with small_disk(bench.folder / name) as disk:
        one = client(disk, uri, records=4000, rate=1000.0)
        one.until(lambda c: bool(c.uid))
        time.sleep(draw.uniform(0.0, 2.0))
        with (disk / "ballast").open("wb", buffering=0) as ballast, contextlib.suppress(OSError):
            while True:
                ballast.write(bytes(draw.choice((512, 4096))))
        one.end()
        (disk / "ballast").unlink()
        sent(disk)
        wrong = violations(uri, one, ends=("FAILED", "FINISHED"), exactly=True)
        return 1, wrong if one.failed or one.acknowledged == 4000 else [*wrong, "nothing was said of the full disk"]


#: name of a row → (what is done, how many rounds a full table has)
ROWS: dict[str, tuple[Row, int]] = {
    "client killed, then sync": (client_killed, 70),
    "delivering process killed": (helper_killed, 30),
    "two syncs at once": (two_syncs, 16),
    "sync replayed": (replayed, 24),
    "network cut in mid-run": (network_cut, 30),
    "server slow, 2 s a call": (server_slow, 6),
    "network refused from the start": (refused_at_first, 14),
    "disk full for the spool": (disk_full, 14),
    "server killed": (server_killed, 10),
    "PostgreSQL restarted": (postgres_restarted, 10),
}


# ------------------------------------------------------------------ pieces
def _somewhere(one: Client, draw: random.Random) -> None:
    """Until a random moment of its life: one time in ten its start, else its records or its end."""
    if draw.random() < 0.1:
        time.sleep(draw.uniform(0.0, 2.0))
        return
    one.until(lambda c: bool(c.uid))
    time.sleep(draw.uniform(0.0, RECORDS / RATE + 2.0))


def _struck(
    bench: Bench, server: Server, draw: random.Random, name: str, strike: Callable[[], None], *, records: int
) -> tuple[int, list[str]]:
    """Several clients of one server, which is struck while they are at different points of their runs."""
    started: list[Client] = []
    for number in range(CLIENTS):
        started.append(client(bench.folder / f"{name}-{number}", server.uri, records=records))
        started[-1].until(lambda c: bool(c.uid))
        time.sleep(draw.uniform(0.0, 0.8))
    strike()
    wrong: list[str] = []
    for one in started:
        one.end()
        sent(one.workdir)
        wrong += violations(database(server), one, ends=("FINISHED",), exactly=True)
    return CLIENTS, wrong


def database(server: Server) -> str:
    """SQLAlchemy's URL of what a server stores."""
    return server.backend or f"sqlite:///{server.database}"


def _sync_process(workdir: Path) -> subprocess.Popen[bytes]:
    code = (
        "import sys; from pathlib import Path; from initlab.tracking import sync; from initlab.spec import *;"
        "sync(Path(sys.argv[1]), TrackingSettings())"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, str(workdir)], cwd=ROOT, env={**os.environ, **QUIET, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


@contextlib.contextmanager
def small_disk(folder: Path) -> Generator[Path]:
    """A file system of 3 MB. Raises PermissionError where none can be mounted."""
    folder.mkdir(parents=True)
    mount = shutil.which("mount")
    done = mount and subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=3m", "none", str(folder)], capture_output=True, check=False
    )
    if not done or done.returncode != 0:
        raise PermissionError("mounting a small file system is not permitted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@contextlib.contextmanager
def bench(folder: Path, template: Path) -> Generator[Bench]:
    """Two servers, one on SQLite and one on a PostgreSQL of its own, while open. `template` is an empty store."""
    postgres = Postgres(needed())
    homes = [folder / "server", folder / "server-postgres"]
    for home in homes:
        home.mkdir(parents=True)
    shutil.copyfile(template, homes[0] / "mlflow.db")
    server = Server(homes[0])
    on_postgres: Server | None = None
    try:
        postgres.start()
        on_postgres = Server(homes[1], backend=postgres.create("mlflow").replace("postgresql:", "postgresql+psycopg:"))
        for one in (server, on_postgres):
            one.start()
        yield Bench(folder=folder, template=template, server=server, on_postgres=on_postgres, postgres=postgres)
    finally:
        server.kill()
        if on_postgres is not None:
            on_postgres.kill()
        postgres.remove()
