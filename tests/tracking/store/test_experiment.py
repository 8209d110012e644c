"""The experiment of the runs: as typed, else as MLflow's environment variables say, else initlab."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from initlab.errors import ConfigError
from initlab.spec import TrackingSettings
from initlab.tracking import experiment_name, resolve_experiment
from initlab.tracking.store.client import connect
from tests.cli.driver import initlab

NAME, ID = "MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID"
TINY = ["data=digits", "model=linear", "trainer.epochs=1", "probes=none", "tracking.report=false"]


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in (NAME, ID, "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    yield


def test_what_is_given_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(NAME, "theirs")
    monkeypatch.setenv(ID, "7")
    given = TrackingSettings(experiment="mine")
    assert resolve_experiment(given, workdir=tmp_path) == (given, "")
    assert experiment_name(given) == "mine"


def test_the_name_and_the_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert resolve_experiment(TrackingSettings(), workdir=tmp_path)[0].experiment == "initlab"
    monkeypatch.setenv(NAME, " ")
    assert experiment_name(TrackingSettings()) == "initlab"
    monkeypatch.setenv(NAME, "theirs")
    monkeypatch.setenv(ID, "7")  # MLflow takes the name where both are set
    settings, told = resolve_experiment(TrackingSettings(), workdir=tmp_path)
    assert settings.experiment == experiment_name(TrackingSettings()) == "theirs"
    assert told == f"experiment theirs ({NAME})"


def test_the_id_is_looked_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(ID, "7")
    with pytest.raises(ConfigError, match=rf"{ID}=7: is no experiment of .*, it has none; or set {NAME}, or neither"):
        resolve_experiment(TrackingSettings(), workdir=tmp_path)
    assert not list(tmp_path.iterdir())  # no store was made for it
    number = connect(f"sqlite:///{tmp_path / 'mlflow.db'}", workdir=tmp_path).experiment("known")
    with pytest.raises(ConfigError, match=rf"it has {number} \(known\), 0 \(Default\)"):
        resolve_experiment(TrackingSettings(), workdir=tmp_path)
    monkeypatch.setenv(ID, number)
    settings, told = resolve_experiment(TrackingSettings(), workdir=tmp_path)
    assert settings.experiment == "known" and told == f"experiment known ({ID}={number})"
    with pytest.raises(ConfigError, match=r"is looked up in the store, and tracking\.offline=true"):
        resolve_experiment(TrackingSettings(offline=True), workdir=tmp_path)
    assert resolve_experiment(TrackingSettings(enabled=False), workdir=tmp_path)[1] == ""


def runs(folder: Path) -> dict[str, list[str]]:
    """Names of the runs by experiment."""
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        rows = database.execute(
            "SELECT e.name, r.name FROM runs r JOIN experiments e ON e.experiment_id = r.experiment_id"
        ).fetchall()
    found: dict[str, list[str]] = {}
    for experiment, name in rows:
        found.setdefault(experiment, []).append(name)
    return {k: sorted(v) for k, v in found.items()}


@pytest.mark.process
def test_the_command_line_obeys_and_says_so(tmp_path: Path) -> None:
    def type_in(*words: str) -> str:
        done = initlab(*words, cwd=tmp_path, **{NAME: "it's, theirs"})
        assert done.returncode == 0, done.stderr
        return done.stderr

    assert f"tracking: experiment it's, theirs ({NAME})" in type_in(*TINY)
    assert NAME not in type_in(*TINY, "tracking.experiment=mine")
    assert NAME in type_in("-m", *TINY, "init=he,xavier", "study.name=s")
    found = runs(tmp_path)
    assert sorted(found) == ["it's, theirs", "mine"]
    # a run, the study and its two arms
    assert len(found["it's, theirs"]) == 4 and "s" in found["it's, theirs"]
    # the plan says it: a worker elsewhere records there too
    plan = (tmp_path / ".initlab" / "studies" / "s" / "plan.json").read_text()
    assert "tracking.experiment='it" in plan
