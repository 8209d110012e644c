"""Before a study begins, its arms are looked at: by the worker that waits, or by the leader itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from initlab import config as configuration
from initlab.errors import ConfigError
from initlab.study.workers import checks, worker_pool
from initlab.study.workers.checks import Checks, facts
from tests.study.study_cases import TINY

pytestmark = pytest.mark.process

ARMS = [[*TINY, f"init={init}"] for init in ("he", "xavier", "uniform")]


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> Iterator[worker_pool.WorkerPool]:
    """One worker that waits, for this test alone."""
    spares = worker_pool.WorkerPool()
    spares.ensure(1, threads=1)
    monkeypatch.setattr(checks, "POOL", spares)
    yield spares
    spares.end_unused()


def looked_at(arms: list[list[str]]) -> list[checks.Facts]:
    with Checks() as found:
        for overrides in arms:
            found.add(configuration.compose(overrides), overrides)
            found.collect()
        return found.all()


def test_a_worker_finds_what_the_leader_would(waiting: worker_pool.WorkerPool) -> None:
    assert waiting.ask({"look": {"config": {}, "overrides": []}}) == {}  # it is there, and this is no configuration
    found = looked_at(ARMS)
    assert found == [facts(configuration.compose(o), o) for o in ARMS]
    assert [f.params["init"] for f in found] == ["he", "xavier", "uniform"]
    assert found[0].epochs == 2 and found[0].monitor == "val/accuracy" and not found[0].ddp


def test_without_a_worker_the_leader_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "POOL", worker_pool.WorkerPool())
    assert looked_at(ARMS[:1]) == [facts(configuration.compose(ARMS[0]), ARMS[0])]


def test_a_worker_that_dies_costs_nothing(waiting: worker_pool.WorkerPool) -> None:
    (process,) = waiting._waiting  # pyright: ignore[reportPrivateUsage]
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert len(looked_at(ARMS)) == 3


def test_what_is_wrong_is_told_of_its_arm(waiting: worker_pool.WorkerPool) -> None:
    arms = [ARMS[0], [*ARMS[1], "trainer.epochs=0"], ARMS[2]]
    with Checks() as found:
        for overrides in arms:
            found.add(configuration.compose(overrides), overrides)
        with pytest.raises(ConfigError, match=r"trainer\.epochs"):
            found.all()
        assert len(found.known) == 1


def test_the_leader_of_a_study_does_not_import_torch() -> None:
    code = "import sys, initlab.study.command, initlab.study.results.parent; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
