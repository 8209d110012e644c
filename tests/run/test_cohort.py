"""Runs that train together: records, findings and artifacts of each are those of a run on its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from initlab.errors import ConfigError
from initlab.run.cohort import Cohorts, Entry, train_stacked
from initlab.run.train import run
from initlab.spec import Record, RunResult
from tests.cases import Recorder, experiment

pytestmark = pytest.mark.process

BASE = (
    "data=digits", "data.limit=200", "model=mlp", "model.width=16", "model.depth=3", "trainer.epochs=2",
    "trainer.batch_size=32", "trainer.log_every=5", "tracking.system_metrics=false", "device=cpu",
)  # fmt: skip
CASES = (
    ("init=he", "activation=relu", "seed=0"),
    ("init=xavier", "activation=tanh", "seed=1"),
    ("init=normal", "init.std=1e-6", "activation=relu", "seed=0"),
    ("init=he", "activation=relu", "seed=2", "optimizer.lr=1e30"),
)


def entry(*overrides: str, stop: Callable[[], bool] = lambda: False, narrator: Any = None, group: int = 0) -> Entry:
    return Entry(experiment=experiment(*overrides), narrator=narrator or Recorder(), stop=stop, group=group)


def by_name(workdir: Path) -> dict[tuple[str, str, str, str], Any]:
    client = MlflowClient(f"sqlite:///{workdir / 'mlflow.db'}")
    found = client.search_runs([e.experiment_id for e in client.search_experiments()])
    keys = ("init", "activation", "optimizer.lr")
    return {(*(r.data.params[k] for k in keys), r.data.tags["seed"]): r for r in found}  # type: ignore[misc]


def history(workdir: Path, run_id: str, key: str) -> list[tuple[int, float]]:
    client = MlflowClient(f"sqlite:///{workdir / 'mlflow.db'}")
    return [(m.step, m.value) for m in client.get_metric_history(run_id, key)]


def artifacts(workdir: Path, run_id: str) -> set[str]:
    client, found, folders = MlflowClient(f"sqlite:///{workdir / 'mlflow.db'}"), set[str](), [""]
    while folders:
        for item in client.list_artifacts(run_id, folders.pop() or None):
            if item.is_dir:
                folders.append(item.path)
            else:
                found.add(item.path)
    return found


def test_each_has_the_record_of_a_run_on_its_own(tmp_path: Path) -> None:
    together, apart = tmp_path / "together", tmp_path / "apart"
    found = train_stacked([entry(*BASE, *c) for c in CASES], cohorts=Cohorts(setting=8), workdir=together)
    for case, result in zip(CASES, found, strict=True):
        assert isinstance(result, RunResult), result
        single = run(experiment(*BASE, *case), workdir=apart)
        assert result.status == single.status
        assert [f.name for f in result.findings] == [f.name for f in single.findings]
        assert result.metrics.keys() == single.metrics.keys()
        assert result.outlook == single.outlook
        assert result.tracking_note == ""
    one, other = by_name(together), by_name(apart)
    assert one.keys() == other.keys() and len(one) == len(CASES)
    for name, mine in one.items():
        theirs = other[name]
        assert mine.info.status == theirs.info.status
        assert mine.data.params == theirs.data.params
        assert mine.data.metrics.keys() == theirs.data.metrics.keys()
        same = ("initlab.verdict", "initlab.status", "initlab.arm", "initlab.outlook", "diverged_step")
        assert [mine.data.tags.get(t) for t in same] == [theirs.data.tags.get(t) for t in same]
        assert artifacts(together, mine.info.run_id) == artifacts(apart, theirs.info.run_id)
        for key in mine.data.metrics:
            if "throughput" in key or "seconds" in key:
                continue
            a, b = (history(w, r.info.run_id, key) for w, r in ((together, mine), (apart, theirs)))
            assert [s for s, _ in a] == [s for s, _ in b], key
            assert [v for _, v in a] == pytest.approx([v for _, v in b], rel=2e-3, abs=2e-3), key


def test_what_cannot_be_stacked_is_left_out(tmp_path: Path) -> None:
    """A network of another kind, one of its own shape, and all others of the group of one that was left out."""
    cnn = (*(o for o in BASE if not o.startswith("model.")), "model=cnn")
    entries = [
        entry(*cnn, "tracking=none", group=1),
        entry(*cnn, "seed=1", "tracking=none", group=1),
        entry(*BASE, "model.width=8", "tracking=none", group=2),
        entry(*BASE, "tracking=none", group=3),
        entry(*BASE, "seed=1", "tracking=none", group=3),
    ]
    cohorts = Cohorts(setting=4)
    found = train_stacked(entries, cohorts=cohorts, workdir=tmp_path)
    assert [type(f) for f in found] == [type(None)] * 3 + [RunResult] * 2
    assert cohorts.stacks
    assert train_stacked(entries, cohorts=Cohorts(setting="off"), workdir=tmp_path) == [None] * 5


def test_an_error_ends_one_run_alone(tmp_path: Path) -> None:
    class Failing(Recorder):
        def record(self, record: Record, total: int) -> None:
            super().record(record, total)
            if record.step >= 5:
                raise ValueError("no more")

    entries = [
        entry(*BASE, "activation=relu", group=0),
        entry(*BASE, "activation=tanh", group=1, narrator=Failing()),
        entry(*BASE, "init=irnn", group=2),
        entry(*BASE, "activation=relu", "seed=1", group=3),
    ]
    found = train_stacked(entries, cohorts=Cohorts(setting=4), workdir=tmp_path)
    assert isinstance(found[0], RunResult) and isinstance(found[3], RunResult)
    assert isinstance(found[1], ValueError)
    assert isinstance(found[2], ConfigError)
    runs = {k[1] + k[3]: r for k, r in by_name(tmp_path).items()}
    assert {k: r.info.status for k, r in runs.items()} == {"relu0": "FINISHED", "relu1": "FINISHED", "tanh0": "FAILED"}
    assert runs["tanh0"].data.tags["initlab.error"] == "ValueError: no more"


def test_one_that_is_asked_to_stop_is_killed_and_the_others_go_on(tmp_path: Path) -> None:
    stops = [lambda: False, lambda: True, lambda: False]
    entries = [entry(*BASE, f"seed={i}", stop=stop, group=i) for i, stop in enumerate(stops)]
    found = train_stacked(entries, cohorts=Cohorts(setting=4), workdir=tmp_path)
    assert [f.status for f in found if isinstance(f, RunResult)] == ["finished", "killed", "finished"]
    assert {k[3]: r.info.status for k, r in by_name(tmp_path).items()} == {
        "0": "FINISHED", "1": "KILLED", "2": "FINISHED",
    }  # fmt: skip


def test_a_cohort_is_no_larger_than_asked_and_begins_nothing_after_a_stop(tmp_path: Path) -> None:
    folders: list[int] = []

    class Counting(Recorder):
        def started(self, *arguments: Any) -> None:
            folders.append(1)

        def finished(self, *arguments: Any) -> None:
            folders.append(-1)

    entries = [entry(*BASE, f"seed={i}", "tracking=none", group=i, narrator=Counting()) for i in range(6)]
    found = train_stacked(
        entries, cohorts=Cohorts(setting=2), workdir=tmp_path, stop=lambda: sum(f > 0 for f in folders) >= 4
    )
    assert max(sum(folders[:i]) for i in range(len(folders) + 1)) == 2
    assert [isinstance(f, RunResult) for f in found] == [True] * 4 + [False] * 2


def test_auto_obeys_its_calibration(tmp_path: Path) -> None:
    entries = [entry(*BASE, f"seed={i}", "tracking=none", group=i) for i in range(3)]
    cohorts = Cohorts(setting="auto")
    found = train_stacked(entries, cohorts=cohorts, workdir=tmp_path)
    assert [isinstance(f, RunResult) for f in found] == [cohorts.stacks] * 3
    (measured,) = cohorts._faster.values()  # pyright: ignore[reportPrivateUsage]
    assert measured == cohorts.stacks
