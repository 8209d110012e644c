"""What is written by the tables directly is what MLflow's own `log_batch` writes."""

from __future__ import annotations

import contextlib
import math
import random
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from initlab.spec import Provenance
from initlab.tracking.store import bulk
from initlab.tracking.store.client import Store, connect
from initlab.tracking.store.embedded import link_datasets
from initlab.tracking.store.faults import StoreFaultError

#: without the run's own columns
_TABLES = {
    "metrics": "key, value, timestamp, step, is_nan", "latest_metrics": "key, value, timestamp, step, is_nan",
    "params": "key, value", "tags": "key, value",
}  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return connect(f"sqlite:///{tmp_path}/mlflow.db", workdir=tmp_path)


def runs(store: Store, count: int) -> list[str]:
    experiment = store.experiment("initlab")
    return [store.create_run(experiment, name="r", start_ms=1, tags={"initlab.uid": str(k)}) for k in range(count)]


def client(store: Store) -> Any:
    with store.client() as inner:
        return inner


def log_batch(store: Store, run: str, metrics: Any, params: dict[str, str], tags: dict[str, str]) -> None:
    from mlflow.entities import Metric, Param, RunTag

    client(store).log_batch(
        run, [Metric(*m) for m in metrics], [Param(*p) for p in params.items()], [RunTag(*t) for t in tags.items()]
    )


def rows(folder: Path, run: str) -> dict[str, list[Any]]:
    with contextlib.closing(sqlite3.connect(folder / "mlflow.db")) as database:
        return {
            table: sorted(database.execute(f"SELECT {columns} FROM {table} WHERE run_uuid = ?", (run,)).fetchall())
            for table, columns in _TABLES.items()
        }


@pytest.mark.parametrize("seed", range(5))
def test_the_rows_are_those_of_mlflow(store: Store, tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    ours, theirs = runs(store, 2)
    values = [0.5, -1e300, 1e-320, 0.0, -0.0, math.nan, math.inf, -math.inf, 3.0]
    for call in range(4):
        keys = [f"watch/layers.{k:02d}.weight/a b:c-{k}" for k in range(6)]
        # values that come again, steps that go back, the same step at another time
        metrics = [
            (draw.choice(keys), draw.choice(values), draw.choice([5, 6, 7]), draw.choice([0, 1, 2, 9]))
            for _ in range(40)
        ]
        params = {f"p{draw.randrange(5)}": "same" for _ in range(3)}
        tags = {f"t{draw.randrange(4)}": f"value {call}", "mlflow.note.content": "näher\nΩ"}
        assert bulk.write(client(store), ours, metrics=metrics, params=params, tags=tags)
        log_batch(store, theirs, metrics, params, tags)
        mine, other = rows(tmp_path, ours), rows(tmp_path, theirs)
        for table in _TABLES:
            assert repr([r for r in mine[table] if r[0] != "initlab.uid"]) == repr(
                [r for r in other[table] if r[0] != "initlab.uid"]
            ), table


def test_what_was_written_before_is_written_once(store: Store, tmp_path: Path) -> None:
    (run,) = runs(store, 1)
    metrics = [("loss", 1.0 / (k + 1), 5 + k, k) for k in range(700)]
    for _ in range(3):
        assert bulk.write(client(store), run, metrics=metrics, params={"a": "1"}, tags={"b": "2"})
    found = rows(tmp_path, run)
    assert len(found["metrics"]) == 700 and found["latest_metrics"] == [("loss", 1 / 700, 704, 699, 0)]
    assert [p.value for p in client(store).get_metric_history(run, "loss")] == [m[1] for m in metrics]


@pytest.mark.parametrize(
    ("params", "tags", "key"),
    [
        ({"lr": "0.2"}, {}, "loss"), ({}, {"mlflow.runName": "other"}, "loss"), ({}, {}, "not/../plain"),
        ({}, {}, "a,b"), ({}, {}, "k" * 251), ({"p": "v" * 6001}, {}, "loss"), ({"": "v"}, {}, "loss"),
    ],
    ids=["another value", "the name of the run", "dots", "a comma", "a long key", "a long value", "no key"],
)  # fmt: skip
def test_what_mlflow_has_to_judge_is_left_to_it(
    store: Store, tmp_path: Path, params: dict[str, str], tags: dict[str, str], key: str
) -> None:
    (run,) = runs(store, 1)
    store.log(run, params={"lr": "0.1"})
    before = rows(tmp_path, run)
    assert not bulk.write(client(store), run, metrics=[(key, 1.0, 5, 0)], params=params, tags=tags)
    assert rows(tmp_path, run) == before


def test_a_run_that_was_deleted_takes_nothing(store: Store, tmp_path: Path) -> None:
    (run,) = runs(store, 1)
    client(store).delete_run(run)
    with pytest.raises(StoreFaultError):
        store.log(run, metrics=[("loss", 1.0, 5, 0)])
    assert rows(tmp_path, run)["metrics"] == []


def test_a_failure_in_the_middle_leaves_nothing(store: Store, tmp_path: Path) -> None:
    (run,) = runs(store, 1)
    with contextlib.closing(sqlite3.connect(tmp_path / "mlflow.db")) as database, database:
        database.execute("DROP TABLE latest_metrics")
    with pytest.raises(StoreFaultError):
        store.log(run, metrics=[("loss", 1.0, 5, 0)], params={"a": "1"}, tags={"b": "2"})
    with contextlib.closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
        assert database.execute("SELECT count(*) FROM metrics").fetchone() == (0,)
        assert database.execute("SELECT count(*) FROM params").fetchone() == (0,)


def test_the_data_sets_of_the_runs_become_those_of_the_study(store: Store, tmp_path: Path) -> None:
    parent, *members = runs(store, 4)
    for k, run in enumerate(members):
        store.log(run, tags={"initlab.study": "s", "initlab.kind": "inspect" if k == 2 else "train"})
        name = ("digits", "mnist", "other")[k]
        store.log_dataset(run, Provenance(name=name, source="here", licence="MIT", digest=name * 4), profile="{}")
    for _ in range(2):  # the second time there is nothing to add
        assert link_datasets(tmp_path / "mlflow.db", "s", parent)
    found = client(store).get_run(parent).inputs.dataset_inputs
    assert sorted(i.dataset.name for i in found) == ["digits", "mnist"]
    assert all([(t.key, t.value) for t in i.tags] == [("mlflow.data.context", "training")] for i in found)
    assert not link_datasets(tmp_path / "empty.db", "s", parent), "tables of another version"
