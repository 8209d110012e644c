"""Faults at random points of small studies, and whether the records agree afterwards.

    python benchmarks/study_faults.py [rounds] [--seed S] [--only FAULT]

Each round is a study of 3 arms x 2 seeds with two workers in a fresh directory, which at a random moment meets one of:

    worker    kill -9 of a worker
    leader    kill -9 of the leader; then the same command again
    both      kill -9 of the leader and of a worker; then the same command again
    sigterm   SIGTERM to the leader; then the same command again
    locked    another process locks Optuna's SQLite file for up to 10 seconds
    server    the MLflow server is killed, and started again on the same store up to 15 seconds later
    asleep    a worker is stopped for 30 seconds, which is longer than others wait for a sign of life

Whatever it was: in the end every arm is COMPLETE, no trial and no run is open, each (arm, seed) is FINISHED exactly
once, and no process is left. One line a round; exit code 1 where any of it did not hold.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
# what must hold, and a real server to stop, are the tests' own
from tests.cli.driver import environment, initlab  # noqa: E402
from tests.study.study_cases import EMBEDDED, TINY, broken, runs, the_study  # noqa: E402
from tests.tracking.tracking_cases import Server  # noqa: E402

ARMS, SEEDS = 3, 2
GRID = (*TINY, "trainer.epochs=15", "init=he,xavier,lecun", f"replicas={SEEDS}", "study.workers=2")
#: part of the time that an undisturbed study takes after which it is struck
WINDOW = (0.25, 1.0)
AGAIN = 4
#: seconds that workers without a leader may take to notice
LINGER = 60.0


@dataclass
class Round:
    """A study on its way.

    Attributes:
        folder: its working directory.
        process: its leader.
        server: of MLflow, where the fault is its.
        note: what really happened, for the line.
    """

    folder: Path
    rng: random.Random
    command: tuple[str, ...]
    process: subprocess.Popen[str]
    server: Server | None = None
    note: list[str] = field(default_factory=list)

    def worker(self) -> psutil.Process | None:
        """One of the workers, at random."""
        with contextlib.suppress(psutil.NoSuchProcess):
            children = psutil.Process(self.process.pid).children()
            workers = [p for p in children if "initlab.study.workers.worker_main" in p.cmdline()]
            if workers:
                return self.rng.choice(workers)
        self.note.append("there was no worker")
        return None


# ------------------------------------------------------------------ faults
def kill_worker(r: Round) -> None:
    if (worker := r.worker()) is not None:
        worker.kill()


def kill_leader(r: Round) -> None:
    r.process.kill()


def kill_both(r: Round) -> None:
    worker = r.worker()
    r.process.kill()
    if worker is not None:
        worker.kill()


def sigterm(r: Round) -> None:
    r.process.terminate()


def lock(r: Round) -> None:
    file = r.folder / ".initlab" / "studies.db"
    if not file.exists():
        r.note.append("there was no file yet")
        return
    seconds = r.rng.uniform(1, 10)
    with contextlib.closing(sqlite3.connect(file, timeout=60, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        time.sleep(seconds)
        other.execute("COMMIT")
    r.note.append(f"for {seconds:.1f} s")


def stop_server(r: Round) -> None:
    assert r.server is not None
    seconds = r.rng.uniform(1, 15)
    r.server.kill()
    time.sleep(seconds)
    r.server.start()
    r.note.append(f"for {seconds:.1f} s")


def put_asleep(r: Round) -> None:
    if (worker := r.worker()) is None:
        return
    with contextlib.suppress(psutil.NoSuchProcess):
        worker.suspend()
        time.sleep(30)
        worker.resume()


FAULTS: dict[str, Callable[[Round], None]] = {
    "worker": kill_worker,
    "leader": kill_leader,
    "both": kill_both,
    "sigterm": sigterm,
    "locked": lock,
    "server": stop_server,
    "asleep": put_asleep,
}


# ------------------------------------------------------------------ a round
def undisturbed() -> float:
    """Seconds that a study takes here."""
    with tempfile.TemporaryDirectory(prefix="initlab-fault-") as folder:
        begun = time.monotonic()
        done = initlab("-m", *GRID, cwd=Path(folder), timeout=300)
        if done.returncode != 0:
            raise SystemExit(done.stdout + done.stderr)
        return time.monotonic() - begun


def one(fault: str, rng: random.Random, folder: Path, *, seconds: float) -> tuple[list[str], str]:
    """What is wrong after one round, and what happened in it; an undisturbed one takes `seconds`."""
    server = None
    command: tuple[str, ...] = ("-m", *GRID)
    if fault == "server":
        home = folder / "server"
        home.mkdir()
        server = Server(home)
        server.start()
        command = (*command, f"tracking.uri={server.uri}")
    try:
        delay = seconds * rng.uniform(*WINDOW)
        with (folder / "out").open("w") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "initlab", *command], cwd=folder, env=environment(), stdout=out, stderr=out,
                text=True,
            )  # fmt: skip
        r = Round(folder, rng, command, process, server)
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(delay)
            if process.poll() is None:
                FAULTS[fault](r)
            else:
                r.note.append("it had ended")
            codes = [process.wait(300)]
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        while codes[-1] != 0 and len(codes) <= AGAIN:
            again = initlab(*command, cwd=folder, timeout=300)
            (folder / f"out-{len(codes)}").write_text(again.stdout + again.stderr)
            codes.append(again.returncode)
        wrong = [] if codes[-1] == 0 else [f"exit codes {codes}"]
        if server is not None:
            initlab("sync", f"tracking.uri={server.uri}", cwd=folder)
        wrong += _left(folder, but=server)
        wrong += broken(
            the_study(folder), runs(folder, EMBEDDED if server is None else server.uri), arms=ARMS, seeds=SEEDS
        )
        anew = len(the_study(folder).get_trials()) - ARMS
        said = [f"at {delay:.1f} s", *r.note, f"exit codes {' '.join(map(str, codes))}", f"{anew} begun anew"]
        return wrong, ", ".join(said)
    finally:
        if server is not None:
            server.kill()


def _left(folder: Path, *, but: Server | None) -> list[str]:
    """Processes of the study that do not end."""
    deadline = time.monotonic() + LINGER
    while True:
        found: list[str] = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if Path(process.cwd()) == folder:
                    found.append(f"process {process.pid} is left: {' '.join(process.cmdline())[:200]}")
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rounds", type=int, nargs="?", default=len(FAULTS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=sorted(FAULTS))
    given = parser.parse_args()
    rng = random.Random(given.seed)
    failed, seconds = 0, undisturbed()
    print(f"undisturbed: {seconds:.0f} s", flush=True)
    for number in range(given.rounds):
        # every kind once in a while, in an order of chance
        if number % len(FAULTS) == 0:
            order = rng.sample(sorted(FAULTS), len(FAULTS))
        fault = given.only or order[number % len(FAULTS)]
        folder = Path(tempfile.mkdtemp(prefix=f"initlab-fault-{number}-"))
        begun = time.monotonic()
        try:
            wrong, said = one(fault, rng, folder, seconds=seconds)
        except Exception as error:  # a study that cannot even be looked at is a finding too
            wrong, said = [f"{type(error).__name__}: {error}"], ""
        verdict = "ok" if not wrong else "WRONG: " + "; ".join(wrong) + f" (kept in {folder})"
        print(f"round {number} {fault}: {said}; {time.monotonic() - begun:.0f} s; {verdict}", flush=True)
        if wrong:
            failed += 1
        else:
            shutil.rmtree(folder)
    print(f"{given.rounds} rounds, {failed} with violations (seed {given.seed})")
    return 1 if failed else 0


if __name__ == "__main__":
    # one thread each, as in the tests
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sys.exit(main())
