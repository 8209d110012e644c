"""What is read by plain SQL is what MLflow's client reads, from a file and from a server."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from initlab import tracking
from initlab.errors import ConfigError
from initlab.spec import TrackingSettings
from initlab.tracking.read import runs
from initlab.tracking.read.records import Found
from initlab.tracking.store.client import connect
from tests.compare.stores import EVERY, Made, grid, write
from tests.tracking.tracking_cases import Server

pytestmark = pytest.mark.process

GRID = grid({("he", "relu"): [0.9, 0.8], ("he", "tanh"): [0.7, 0.75], ("zeros", "relu"): [0.1, 0.1]})
HERE = TrackingSettings()


def by_client(workdir: Path, uri: str, *, studies: tuple[str, ...] = (), words: str = "") -> Found:
    return runs._from_client(connect(uri, workdir=workdir), studies, (), words, ())  # pyright: ignore[reportPrivateUsage]


def fill(store: Path) -> None:
    """Two studies, runs of none, and what is to be left out."""
    write(store, GRID, study="one", space="init activation")
    write(
        store,
        [Made(seed=0, params={"init": "he"}, curve=(0.1, 0.2), status=s) for s in ("failed", "killed")],
        study="two",
    )
    write(store, [Made(seed=3, params={"init": "lsuv", "activation": "relu"}, curve=(0.1, 0.6))])
    aside = ({"initlab.tuning": "true"}, {"initlab.stray": "trained again"}, {"initlab.kind": "inspect"})
    write(store, [Made(seed=9, params={"init": "he"}, curve=(0.1, 0.2), tags=tags) for tags in aside], study="one")


@pytest.mark.parametrize("studies", [(), ("one",), ("one", "two")])
def test_a_file_is_read_as_the_client_reads_it(workdir: Path, store: Path, studies: tuple[str, ...]) -> None:
    fill(store)
    found = tracking.read_runs(HERE, workdir=workdir, studies=studies)
    assert found.runs == by_client(workdir, found.uri, studies=studies).runs
    assert len(found.runs) == {(): 9, ("one",): 6, ("one", "two"): 8}[studies]
    assert found.studies == ("one", "two") and set(found.parents) == set(studies or ("one", "two"))
    assert all(r.params["data"] == "digits" and "val/accuracy" in r.metrics for r in found.runs)


@pytest.mark.parametrize(
    ("words", "count"),
    [
        ("params.init = 'he'", 6),
        ('params.init != "he"', 3),
        ("params.init LIKE 'z%' AND tags.seed = '1'", 1),
        ("params.init ILIKE 'HE'", 6),
        ("metrics.`val/accuracy` >= 0.75", 3),
        ("metrics.`val/accuracy` >= 0.75 and params.activation = 'tanh'", 1),
        ("attributes.status = 'FINISHED'", 7),
        ("attributes.run_name = 'run-3'", 1),
        ("tags.`initlab.study` = 'two'", 2),
        ("params.absent != 'x'", 0),
        ("attributes.start_time > 1699999999999", 9),
    ],
)
def test_a_filter_means_what_it_means_to_mlflow(workdir: Path, store: Path, words: str, count: int) -> None:
    fill(store)
    found = tracking.read_runs(HERE, workdir=workdir, words=words)
    assert found.runs == by_client(workdir, found.uri, words=words).runs
    assert len(found.runs) == count


@pytest.mark.parametrize("words", ["foo", "params.init == 'he'", "params.a = 'x' OR params.b = 'y'", "metrics.x = 'a'"])
def test_a_filter_that_is_none_is_refused(workdir: Path, store: Path, words: str) -> None:
    with pytest.raises(ConfigError, match=r"^filter="):
        tracking.read_runs(HERE, workdir=workdir, words=words)


def test_a_store_is_read_without_a_query_a_run_and_without_being_touched(
    workdir: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real: Callable[..., sqlite3.Connection] = sqlite3.connect

    def asked() -> int:
        statements: list[str] = []

        def traced(*arguments: Any, **options: Any) -> sqlite3.Connection:
            connection = real(*arguments, **options)
            connection.set_trace_callback(statements.append)
            return connection

        with monkeypatch.context() as patch:
            patch.setattr(runs.sqlite3, "connect", traced)
            found = tracking.read_runs(HERE, workdir=workdir)
            tracking.read_curves(found, found.runs, "val/accuracy", workdir=workdir)
        return len(statements)

    write(store, GRID, study="one")
    few = asked()
    write(store, [Made(seed=s, params={"init": f"i{s}"}, curve=(0.1, 0.2)) for s in range(300)], study="many")
    before = store.read_bytes()
    assert asked() == few
    assert store.read_bytes() == before
    assert sorted(p.name for p in workdir.iterdir()) == ["mlflow.db"]


def test_curves_are_the_client_s_histories(workdir: Path, store: Path) -> None:
    fill(store)
    found = tracking.read_runs(HERE, workdir=workdir)
    curves, why = tracking.read_curves(found, found.runs, "val/accuracy", workdir=workdir)
    client = MlflowClient(found.uri)
    for run in found.runs:
        history = client.get_metric_history(run.run_id, "val/accuracy")
        assert curves[run.run_id] == tuple((m.step, m.value) for m in sorted(history, key=lambda m: m.step))
    assert why == "" and len(curves) == 9


def test_of_two_values_at_a_step_the_later_counts(workdir: Path, store: Path) -> None:
    write(store, [Made(seed=0, params={"init": "he"}, curve=(0.1, 0.2))])
    found = tracking.read_runs(HERE, workdir=workdir)
    with sqlite3.connect(store) as database:
        database.execute(
            "INSERT INTO metrics (key, value, timestamp, run_uuid, step, is_nan)"
            " VALUES ('val/accuracy', 0.3, 999, ?, ?, 0)",
            (found.runs[0].run_id, EVERY),
        )
    database.close()
    curves, _ = tracking.read_curves(found, found.runs, "val/accuracy", workdir=workdir)
    assert curves[found.runs[0].run_id] == ((0, 0.1), (EVERY, 0.3))


def test_what_is_no_number_is_no_metric(workdir: Path, store: Path) -> None:
    write(
        store, [Made(seed=0, params={"init": "he"}, metrics={"val/accuracy": 0.5, "val/loss": 1.7976931348623157e308})]
    )
    (run,) = tracking.read_runs(HERE, workdir=workdir).runs
    assert run.metrics == {"val/accuracy": 0.5}


@pytest.fixture
def served(tmp_path: Path, no_runs: Path) -> Iterator[Server]:
    home = tmp_path / "server"
    home.mkdir()
    shutil.copyfile(no_runs, home / "mlflow.db")
    fill(home / "mlflow.db")
    server = Server(home)
    try:
        server.start()
        yield server
    finally:
        server.kill()


@pytest.mark.timeout(240)
def test_a_server_gives_the_same_page_by_page(served: Server, workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = TrackingSettings(uri=served.uri)
    file = TrackingSettings(uri=f"sqlite:///{served.database}")
    monkeypatch.setattr(runs, "_PAGE", 2)
    monkeypatch.setattr(runs, "_POINTS", 4)
    for studies, words in (((), ""), (("one",), ""), (("one", "two"), "params.init = 'he'")):
        remote = tracking.read_runs(there, workdir=workdir, studies=studies, words=words)
        local = tracking.read_runs(file, workdir=workdir, studies=studies, words=words)
        # who serves the artifacts is another place
        plain = [
            [(r.run_id, r.status, r.params, r.tags, r.metrics, r.start_ms) for r in f.runs] for f in (remote, local)
        ]
        assert plain[0] == plain[1] and remote.runs
        assert remote.studies == local.studies or studies
    remote = tracking.read_runs(there, workdir=workdir)
    curves, why = tracking.read_curves(remote, remote.runs, "val/accuracy", workdir=workdir)
    local = tracking.read_runs(file, workdir=workdir)
    assert why == "" and curves == tracking.read_curves(local, local.runs, "val/accuracy", workdir=workdir)[0]
    with pytest.raises(ConfigError, match=r"^filter="):
        tracking.read_runs(there, workdir=workdir, words="foo")
    served.kill()
    with pytest.raises(ConfigError, match="did not answer"):
        tracking.read_runs(there, workdir=workdir)
    assert tracking.read_curves(remote, remote.runs, "val/accuracy", workdir=workdir)[1].endswith("did not answer")
