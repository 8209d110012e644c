"""Servers that are slow or lie for a while: nothing is taken for delivered that is not, and no wait has no limit."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Sequence

from tests.reliability.clients import PATIENCE, ROOT, client
from tests.reliability.holding import violations
from tests.reliability.rounds import Bench, database, sent
from tests.reliability.rows import row
from tests.tracking.peers import peer
from tests.tracking.tracking_cases import QUIET

_SLOW = ("drip", "drip in the body", "silent")
_BUSY = ("429", "429 with Retry-After", "503", "502 of a proxy", "500 with HTML", "reset", "closes in mid-upload")
_LIES = (
    "login page", "empty body", "half a JSON", "wrong length", "broken chunks", "redirect elsewhere", "redirect loop",
    "another program", "huge body", "no HTTP",
)  # fmt: skip
#: limit of a call for `sync`, and what its start, the rest of its work and two busy cores may add to it, in seconds
_LIMIT, _REST = 3, 40.0


@row("server that drips or says nothing", rounds=12)
def slow(bench: Bench, draw: random.Random, name: str) -> tuple[int, list[str]]:
    """In mid-run, for a while or until the end."""
    return _misbehaved(bench, draw, name, _SLOW)


@row("server that is busy or breaks off", rounds=12)
def busy(bench: Bench, draw: random.Random, name: str) -> tuple[int, list[str]]:
    """In mid-run, for a while or until the end."""
    return _misbehaved(bench, draw, name, _BUSY)


@row("another program answers for the server", rounds=16)
def lies(bench: Bench, draw: random.Random, name: str) -> tuple[int, list[str]]:
    """In mid-run, for a while or until the end."""
    return _misbehaved(bench, draw, name, _LIES)


def _misbehaved(bench: Bench, draw: random.Random, name: str, ways: Sequence[str]) -> tuple[int, list[str]]:
    wrong: list[str] = []
    with peer(bench.server.port) as one, peer(behaviour="login page") as elsewhere:
        one.elsewhere = elsewhere.uri
        writer = client(bench.folder / name, one.uri)
        writer.until(lambda c: bool(c.uid))
        time.sleep(draw.uniform(0.0, 4.0))
        way = one.behaviour = draw.choice(ways)
        if draw.random() < 0.5:
            time.sleep(draw.uniform(0.2, 3.0))
            one.behaviour = "well"
        writer.end()
        if one.behaviour != "well":
            wrong += _synced(writer.workdir, said=way in _SLOW, uri=one.uri)
            one.behaviour = "well"
        sent(writer.workdir)
        if elsewhere.requests:
            wrong.append(f"{way}: something was sent to another host")
    found = violations(database(bench.server), writer, ends=("FINISHED",), exactly=True)
    return 1, [f"{way}: {w}" for w in [*wrong, *found]]


def _synced(workdir: object, *, said: bool, uri: str) -> list[str]:
    """What is wrong with a `sync` that cannot succeed: how long it takes, and what it says."""
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "initlab", "sync"], cwd=str(workdir), capture_output=True, text=True, check=False,
        env={**os.environ, **QUIET, "PYTHONPATH": str(ROOT), "MLFLOW_HTTP_REQUEST_TIMEOUT": str(_LIMIT)},
        timeout=PATIENCE,
    )  # fmt: skip
    seconds = time.monotonic() - begun
    wrong = [f"sync took {seconds:.0f} s"] if seconds > _LIMIT + _REST else []
    wrong += [f"sync ended with {done.returncode}: {done.stderr[-300:]}"] if done.returncode not in (0, 1) else []
    if done.returncode == 1 and said and f"waiting for {uri}" not in done.stderr:
        wrong.append("sync waited without a line")
    return wrong
