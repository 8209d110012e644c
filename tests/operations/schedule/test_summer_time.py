"""Two schedulers, as processes on one real database, over changes to and from summer time."""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.operations.schedule.summer_time import CHANGES, strike
from tests.study.postgres_server import Postgres, needed
from tests.study.study_cases import runs

pytestmark = [pytest.mark.process, pytest.mark.timeout(280)]


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    server = Postgres(needed())
    try:
        server.start()
        yield server
    finally:
        server.remove()


def test_each_time_that_is_due_is_begun_once(postgres: Postgres, tmp_path: Path) -> None:
    """In spring an hour is skipped, in autumn one comes twice; one of the schedulers is killed among them.

    All changes at once, each with schedulers of its own: most of the time they wait.
    """
    cases = [(f"{c.zone} {c.moment:%B}", c, None) for c in CHANGES]
    cases.append(("on PostgreSQL", CHANGES[0], postgres.create("schedule")))
    with ThreadPoolExecutor(len(cases)) as threads:
        found = {
            name: threads.submit(strike, change, tmp_path / name, random.Random(name), storage=storage, kill=True)
            for name, change, storage in cases
        }
        assert {name: doubts.result() for name, doubts in found.items()} == {name: [] for name, *_ in cases}


def test_the_firings_are_studies_each_recorded_once(tmp_path: Path) -> None:
    assert strike(CHANGES[1], tmp_path, random.Random(2), kill=False, kind="study") == []
    found = runs(tmp_path)
    parents = [r.data.tags["initlab.study"] for r in found if r.data.tags.get("initlab.kind") == "study"]
    assert len(parents) == len(set(parents)) == 3
    assert all(r.info.status == "FINISHED" for r in found)
