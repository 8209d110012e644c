"""Many clients and many points through one MLflow server: is each point there, how fast, at what cost to a client?

    python benchmarks/load.py [--clients 8] [--points 100000]

Each client is a process that records like a training loop that never computes: ten metrics a record, through the spool
and the process that delivers. The server keeps its runs in PostgreSQL. When all clients have ended, every point is
looked for with SQL. Memory is what a client has more at its peak than it had with PyTorch loaded, just before its run
began, and all of the process that delivers, which it would not have without tracking. Beside it, in one client,
MLflow's `log_metric`, a call a point, and `log_batch`, a thousand points a call. Exit code 1 where a point is missing
or twice.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from initlab.spec import Record, RunHeader, TrackingSettings  # noqa: E402
from initlab.tracking import start  # noqa: E402
from initlab.tracking.store.client import connect  # noqa: E402
from tests.reliability.rounds import Bench, bench  # noqa: E402
from tests.tracking.tracking_cases import QUIET  # noqa: E402

KEYS, BATCH = 10, 1000
SINGLE, BATCHES = 300, 20


def record(uri: str, workdir: Path, points: int) -> None:
    """Be a client; prints seconds until everything was written, until it had arrived, and megabytes."""
    header = RunHeader(name=workdir.name, experiment="load", params={}, tags={}, dataset=None, start_ms=_now())
    settings = TrackingSettings(uri=uri, drain_seconds=3600.0, flush_seconds=2.0)
    process, peak, ended = psutil.Process(), {"client": 0, "helper": 0}, threading.Event()
    before = process.memory_info().rss

    def watch() -> None:
        while not ended.wait(0.2):
            peak["client"] = max(peak["client"], process.memory_info().rss - before)
            sizes = [child.memory_info().rss for child in process.children()]
            peak["helper"] = max(peak["helper"], *sizes, 0)

    threading.Thread(target=watch, daemon=True).start()
    begun = time.perf_counter()
    sink = start(header, settings, workdir=workdir)
    for serial in range(points // KEYS):
        metrics = {f"diag/{key}": serial + key / KEYS for key in range(KEYS)}
        sink.write(Record(serial=serial, step=serial, epoch=0.0, time_ms=_now(), metrics=metrics))
    written = time.perf_counter() - begun
    told = sink.close("finished")
    arrived = time.perf_counter() - begun
    ended.set()
    print(f"{written} {arrived} {peak['client'] / 2**20} {peak['helper'] / 2**20} {told}")


def plain(uri: str) -> tuple[float, float]:
    """Points a second of MLflow's own `log_metric` and `log_batch`, from one client."""
    from mlflow.entities import Metric
    from mlflow.tracking import MlflowClient

    client = MlflowClient(uri)
    run = client.create_run(client.create_experiment("plain")).info.run_id
    begun = time.perf_counter()
    for step in range(SINGLE):
        client.log_metric(run, "single", float(step), step=step)
    single = SINGLE / (time.perf_counter() - begun)
    begun = time.perf_counter()
    for number in range(BATCHES):
        client.log_batch(run, [Metric("batch", float(i), _now(), number * BATCH + i) for i in range(BATCH)])
    return single, BATCHES * BATCH / (time.perf_counter() - begun)


def counted(made: Bench) -> list[tuple[int, int]]:
    """(points, different (key, step) pairs) of each run of the load."""
    query = (
        "SELECT count(*), count(DISTINCT (m.key, m.step)) FROM metrics m JOIN runs r USING (run_uuid)"
        " JOIN experiments e ON e.experiment_id = r.experiment_id WHERE e.name = 'load' GROUP BY run_uuid"
    )
    found = made.postgres.sql(query, database="mlflow") or ""
    return [(int(a), int(b)) for a, b in (line.split("|") for line in found.splitlines())]


def _now() -> int:
    return time.time_ns() // 1_000_000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--points", type=int, default=100_000)
    parser.add_argument("--be", nargs=2, metavar=("URI", "FOLDER"), help="be one of the clients")
    asked = parser.parse_args()
    if asked.be:
        record(asked.be[0], Path(asked.be[1]), asked.points)
        return 0
    environment = {**os.environ, **QUIET, "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory(prefix="initlab-load-") as scratch:
        folder = Path(scratch)
        folder.chmod(0o755)
        (folder / "template").mkdir()
        connect(f"sqlite:///{folder}/template/mlflow.db", workdir=folder / "template")
        with bench(folder, folder / "template" / "mlflow.db") as made:
            made.server.kill()  # this one is not asked here
            uri = made.on_postgres.uri
            single, batch = plain(uri)
            begun = time.perf_counter()
            clients = [
                subprocess.Popen(
                    [sys.executable, __file__, "--points", str(asked.points), "--be", uri, str(folder / f"client-{n}")],
                    env=environment, stdout=subprocess.PIPE, text=True,
                )
                for n in range(asked.clients)
            ]  # fmt: skip
            said = [client.communicate()[0].split(maxsplit=4) for client in clients]
            seconds = time.perf_counter() - begun
            counts = counted(made)
    written = max(float(s[0]) for s in said)
    total = asked.clients * (asked.points // KEYS) * KEYS
    there, distinct = sum(c[0] for c in counts), sum(c[1] for c in counts)
    client_mb, helper_mb = (max(float(s[i]) for s in said) for i in (2, 3))
    print(f"{asked.clients} clients, {total} points: {there} are there, {there - distinct} of them twice")
    print(f"written after {written:.1f} s, arrived after {seconds:.1f} s: {total / seconds:.0f} points/s in all")
    print(f"memory: {client_mb:.0f} MB more in the training process, {helper_mb:.0f} MB in the one that delivers")
    print(f"MLflow from one client: log_metric {single:.0f} points/s, log_batch {batch:.0f} points/s")
    for words in said:
        if len(words) > 4:
            print(words[4].strip())
    return 0 if there == distinct == total else 1


if __name__ == "__main__":
    sys.exit(main())
