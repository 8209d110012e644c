"""`initlab register`: the network of a study's best arm in MLflow's registry, loaded and asked as anybody would."""

from __future__ import annotations

from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
from mlflow import MlflowClient

from initlab.config import compose, experiment
from initlab.run.prepare import prepare
from tests.cli.driver import initlab

pytestmark = [pytest.mark.process, pytest.mark.timeout(300), pytest.mark.xdist_group("register")]
SMALL = ("data=digits", "model=mlp", "model.width=32", "trainer.epochs=3", "tracking.report=false", "probes=none")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a study of two arms, one of which does not learn, and a run without checkpoints."""
    place = tmp_path_factory.mktemp("register")
    for arguments in (
        ("-m", "init=he,zeros", "replicas=3", "study.name=two", *SMALL),
        ("init=xavier", "trainer.checkpoint=false", *SMALL),
    ):
        done = initlab(*arguments, cwd=place, timeout=200)
        assert done.returncode == 0, done.stderr
    return place


# MLflow warns of its own type hints when it is imported
@pytest.mark.filterwarnings("ignore:.*Any type hint:UserWarning")
def test_the_winner_of_a_study_answers_as_it_did_in_training(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    done = initlab("register", "study=two", "as=digits", "alias=champion", cwd=folder, timeout=200)
    assert done.returncode == 0, done.stderr
    assert "models:/digits/1, alias champion" in done.stdout and "init=he" in done.stdout
    uri = f"sqlite:///{folder}/mlflow.db"
    client = MlflowClient(uri)
    version = client.get_model_version_by_alias("digits", "champion")
    run = client.get_run(version.run_id)
    study = client.search_runs([run.info.experiment_id], "tags.`initlab.study` = 'two' and tags.`initlab.arm` != ''")
    of_arm = sorted(
        r.data.metrics["val/accuracy"] for r in study if r.data.tags["initlab.arm"] == run.data.tags["initlab.arm"]
    )
    assert len(of_arm) == 3 and run.data.params["init"] == "he"
    tags = version.tags
    assert tags["initlab.run"] == version.run_id and tags["initlab.study"] == "two" and tags["init"] == "he"
    assert tags["initlab.arm"] == run.data.tags["initlab.arm"] and "over 3 seeds" in tags["initlab.score"]
    assert (
        "best of 2 arms" in tags["initlab.chosen"]
        and f"median seed {run.data.params['seed']}" in tags["initlab.chosen"]
    )
    assert "predicted before training" in version.description and "study `two`" in version.description
    logged = client.get_logged_model(version.source.rpartition("/")[2])
    assert logged.source_run_id == version.run_id and str(logged.status) == "READY"
    assert {m.key: m.value for m in logged.metrics}["test/accuracy"] == run.data.metrics["test/accuracy"]

    # real test digits, through both ways of loading, give the score that was recorded
    seed = int(run.data.params["seed"])
    splits = prepare(experiment(compose([*SMALL, f"seed={seed}"]), overrides=SMALL)).splits
    x, y = splits.prepare(splits.test.x), splits.test.y
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.chdir(tmp_path)
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    try:
        network = mlflow.pytorch.load_model("models:/digits@champion")
        served = mlflow.pyfunc.load_model(f"models:/digits/{version.version}")
    finally:
        mlflow.set_tracking_uri(before)
    with torch.no_grad():
        answers = network(x)
    assert float((answers.argmax(1) == y).double().mean()) == pytest.approx(run.data.metrics["test/accuracy"])
    assert np.allclose(served.predict(x[:7].numpy()), answers[:7].numpy(), atol=1e-5)


def test_a_run_becomes_the_next_version_under_its_own_name(folder: Path) -> None:
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    (experiment_id,) = [e.experiment_id for e in client.search_experiments() if e.name == "initlab"]
    run = client.search_runs([experiment_id], "params.init = 'he'", max_results=1)[0]
    for number in ("1", "2"):
        done = initlab("register", f"run={run.info.run_id[:8]}", cwd=folder, timeout=200)
        assert done.returncode == 0 and f"models:/initlab-digits-mlp/{number}" in done.stdout, done.stderr
    version = client.get_model_version("initlab-digits-mlp", "2")
    assert version.run_id == run.info.run_id and version.tags["initlab.chosen"] == "one run, named"


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (("run=last",), "left no checkpoint to register; train it with trainer.checkpoint=true"),
        ((), "name one run or one study"),
        (("run=last", "study=two"), "name one run or one study"),
        (("study=three",), "three: no such study"),
        (("study=two", "as=a/b"), "may hold no '/' and ':'"),
        (("study=two", "alias=1"), "alias=1"),
    ],
)
def test_what_cannot_be_registered_is_refused_by_name(folder: Path, typed: tuple[str, ...], said: str) -> None:
    done = initlab("register", *typed, cwd=folder)
    assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr, done.stderr
