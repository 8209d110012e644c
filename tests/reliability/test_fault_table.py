"""One strike or two of each row of the fault table (docs/reliability.md); benchmarks/reliability.py has hundreds."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from initlab.tracking.store.client import connect
from tests.reliability import rounds, rows
from tests.reliability.clients import client
from tests.reliability.holding import violations

# one pair of servers for all
pytestmark = [pytest.mark.process, pytest.mark.timeout(280), pytest.mark.xdist_group("reliability")]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[rounds.Bench]:
    folder = tmp_path_factory.mktemp("reliability")
    template = folder / "template"
    template.mkdir()
    connect(f"sqlite:///{template}/mlflow.db", workdir=template)
    with rounds.bench(folder, template / "mlflow.db") as made:
        yield made


def test_what_is_lost_or_doubled_is_noticed(bench: rounds.Bench) -> None:
    workdir, uri = bench.embedded("noticed")
    one = client(workdir, uri, records=30)
    one.end()
    assert one.closed and violations(uri, one, ends=("FINISHED",), exactly=True) == [
        "the last artifact is not there as it was"  # it says 30, and not as many as in a round
    ]
    for harm, sign in (
        ("INSERT INTO metrics SELECT key, value, timestamp + 1, run_uuid, step, is_nan FROM metrics WHERE step = 3",
         "train/loss: 1 points doubled"),
        ("DELETE FROM metrics WHERE step = 7 AND key = 'watch/diag/grad_norm'",
         "watch/diag/grad_norm: a gap in 30 points"),
        ("UPDATE metrics SET value = 9 WHERE step = 5", "train/loss: a value is another"),
        ("DELETE FROM metrics WHERE step = 29", "30 records were acknowledged, 29 arrived"),
        ("UPDATE runs SET status = 'RUNNING'", "ended as RUNNING"),
    ):  # fmt: skip
        with closing(sqlite3.connect(workdir / "mlflow.db")) as connection, connection:
            connection.execute(harm)
        assert sign in violations(uri, one, ends=("FINISHED",), exactly=True), harm


@pytest.mark.parametrize("row", list(rows.table()))
def test_every_record_is_there_once(row: str, bench: rounds.Bench) -> None:
    try:
        struck, wrong = rows.table()[row].strike(bench, random.Random(row), row.replace(" ", "-").replace(",", ""))
    except PermissionError as error:
        pytest.skip(str(error))
    assert struck > 0 and wrong == []
