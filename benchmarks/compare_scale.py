"""How long `compare` takes on a store of 10,000 runs, beside MLflow's own search of 3,000 of them.

    python benchmarks/compare_scale.py [runs] [--pairs 100] [--searched 3000]

Writes a SQLite store with plain SQL: runs of 10 seeds an arm, each with half as many parameters as `--pairs` and as
many metrics, and a validation curve of five points. Then `python -m initlab compare`, as it is typed, in a process of
its own: seconds, and the most memory that it held. Then MlflowClient.search_runs, page by page, in a process of its
own as well. Prints both and the ratio for the same number of runs; exit code 1 above 10 s or 1.5 GB.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from tests.compare.stores import Made, empty, write  # noqa: E402

SECONDS, BYTES = 10.0, 1.5e9
SEEDS = 10
_SEARCH = """
import sys, warnings
warnings.filterwarnings("ignore")
from mlflow.tracking import MlflowClient
client, wanted, token, found = MlflowClient(sys.argv[1]), int(sys.argv[2]), None, 0
ids = [e.experiment_id for e in client.search_experiments()]
while found < wanted:
    page = client.search_runs(ids, max_results=min(1000, wanted - found), page_token=token)
    found, token = found + len(page), page.token
    if not token:
        break
print(found)
"""


def fill(file: Path, runs: int, pairs: int) -> None:
    rng = np.random.default_rng(0)
    arms = runs // SEEDS
    inits = [f"init{k}" for k in range(max(1, arms // 10))]
    made: list[Made] = []
    for arm in range(arms):
        params = {f"group.key{k}": str(k) for k in range(pairs // 2 - 4)}
        params |= {"init": inits[arm % len(inits)], "activation": f"act{arm // len(inits)}"}
        mean = 0.9 - 0.0003 * arm
        for seed in range(SEEDS):
            value = mean + 0.01 * float(rng.normal())
            metrics = {f"diag/value{k}": float(k) for k in range(pairs // 2 - 1)}
            curve = [0.1 + (value - 0.1) * share for share in (0.0, 0.5, 0.8, 0.95, 1.0)]
            made.append(Made(seed=seed, params=params, metrics=metrics, curve=curve))
    write(file, made)


def measured(command: list[str], folder: Path) -> tuple[float, float, str]:
    """Seconds, bytes at the most, and what it printed."""
    # of all children so far the largest: each is measured by a process of its own
    code = (
        "import resource,subprocess,sys,time\nt=time.perf_counter()\n"
        "p=subprocess.run(sys.argv[1:],stdout=subprocess.PIPE,text=True)\n"
        "print(p.stdout,end='');print(time.perf_counter()-t,resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss,p.returncode)"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}
    done = subprocess.run(
        [sys.executable, "-c", code, *command], cwd=folder, capture_output=True, text=True, env=environment, check=True
    )
    *lines, last = done.stdout.splitlines()
    seconds, kilobytes, returned = last.split()
    if int(returned):
        raise RuntimeError(f"{command}: {done.stdout}{done.stderr}")
    return float(seconds), float(kilobytes) * 1024, "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="?", type=int, default=10_000)
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--searched", type=int, default=3000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        begun = time.perf_counter()
        file = empty(folder)
        fill(file, given.runs, given.pairs)
        size = file.stat().st_size / 1e6
        print(f"a store of {given.runs} runs with {given.pairs} parameters and metrics: {size:.0f} MB,"
              f" {time.perf_counter() - begun:.0f} s", flush=True)  # fmt: skip
        seconds, memory, said = measured([sys.executable, "-m", "initlab", "compare"], folder)
        print(said.splitlines()[0])
        print(f"compare: {given.runs} runs in {seconds:.1f} s, {memory / 1e9:.2f} GB", flush=True)
        searched = min(given.searched, given.runs)
        uri = f"sqlite:///{file}"
        theirs, held, count = measured([sys.executable, "-c", _SEARCH, uri, str(searched)], folder)
        print(f"MlflowClient.search_runs: {count} runs in {theirs:.1f} s, {held / 1e9:.2f} GB")
        print(f"ratio, a run: {(theirs / searched) / (seconds / given.runs):.1f}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"(this script itself held {peak:.2f} GB)")
    return 1 if seconds > SECONDS or memory > BYTES else 0


if __name__ == "__main__":
    sys.exit(main())
