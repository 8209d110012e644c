"""Two imports of one study at once, from two copies of its folder, into one store."""

from __future__ import annotations

import random
import shutil
import threading
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

from sqlalchemy import create_engine, text

from tests.reliability.rounds import Bench, database
from tests.reliability.rows import row
from tests.reliability.studies import ARMS, NAME, SEEDS, initlab, leader

_PATIENCE = 200.0
_making = threading.Lock()


@row("two imports at once into a file", rounds=8)
def into_a_file(bench: Bench, draw: random.Random, name: str) -> tuple[int, list[str]]:
    """One of them is killed every other time, and given again."""
    workdir, uri = bench.embedded(name)
    return 1, _two(bench, draw, workdir, uri, uri)


@row("two imports at once into a server", rounds=8)
def into_a_server(bench: Bench, draw: random.Random, name: str) -> tuple[int, list[str]]:
    """One of them is killed every other time, and given again."""
    workdir = bench.folder / name
    workdir.mkdir()
    return 1, _two(bench, draw, workdir, bench.server.uri, database(bench.server))


def _two(bench: Bench, draw: random.Random, workdir: Path, uri: str, store: str) -> list[str]:
    source, name = _exported(bench), workdir.name
    copies = [Path(shutil.copytree(source, bench.folder / f"{name}-{n}")) for n in range(2)]
    # Optuna's record goes into one database for both
    words = [("import", f"from={c}", f"tracking.uri={uri}", f"as={name}") for c in copies]
    both = []
    for one in words:
        both.append(initlab(workdir, *one))
        time.sleep(draw.choice((0.0, draw.uniform(0.0, 1.5))))
    if draw.random() < 0.5:
        time.sleep(draw.uniform(0.0, 4.0))
        both[0].kill()
    said = [one.communicate(timeout=_PATIENCE)[0] for one in both]
    wrong = [s[-300:] for one, s in zip(both, said, strict=True) if one.returncode not in (0, -9) or "Traceback" in s]
    for one in words:
        again = initlab(workdir, *one)
        out, _ = again.communicate(timeout=_PATIENCE)
        wrong += [f"again: {out[-300:]}"] if again.returncode else []
    return [*wrong, *_doubts(store, name, source)]


def _exported(bench: Bench) -> Path:
    """A study of ARMS arms and SEEDS seeds, exported; made once."""
    home = bench.folder / "exported-study"
    with _making:
        if not (home / "out").is_dir():
            assert leader(home).wait(_PATIENCE) == 0
            one = initlab(home, "export", f"study={NAME}", "to=out")
            said, _ = one.communicate(timeout=_PATIENCE)
            assert one.returncode == 0, said
    return home / "out"


def _doubts(store: str, study: str, source: Path) -> list[str]:
    """What is wrong with the runs of `study` in the database `store`."""
    engine = create_engine(store)
    with closing(engine.connect()) as connection:
        found = connection.execute(
            text(
                "SELECT r.run_uuid, r.status, o.value FROM runs r JOIN tags s ON s.run_uuid = r.run_uuid"
                " JOIN tags o ON o.run_uuid = r.run_uuid WHERE s.key = 'initlab.study' AND s.value = :study"
                " AND o.key = 'initlab.origin' AND r.lifecycle_stage = 'active'"
            ),
            {"study": study},
        ).fetchall()
        points = {
            str(origin): connection.execute(
                text("SELECT count(*) FROM metrics WHERE run_uuid = :run"), {"run": run}
            ).scalar()
            for run, _, origin in found
        }
    engine.dispose()
    wrong = [f"run {o} is there {n} times" for o, n in Counter(str(o) for *_, o in found).items() if n > 1]
    wrong += [f"run {o} is {status}" for _, status, o in found if status != "FINISHED"]
    if len(points) != ARMS * SEEDS + 1:
        wrong.append(f"{len(points)} runs of {ARMS * SEEDS + 1}")
    for origin, count in points.items():
        there = len((source / "runs" / origin / "metrics.jsonl").read_text().splitlines())
        if there != count:
            wrong.append(f"run {origin} has {count} points of {there}")
    return wrong
