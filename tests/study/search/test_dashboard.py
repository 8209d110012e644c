"""What Optuna's dashboard and MLflow show of a study beside its trials and runs."""

from __future__ import annotations

from pathlib import Path

import optuna
import optuna_dashboard
import pytest
from mlflow import MlflowClient

from initlab.study.search.dashboard import name_metrics, save_note
from tests.cli.driver import initlab

TINY = ("data=digits", "data.limit=200", "model=mlp", "model.width=16", "trainer.epochs=1", "tracking.report=false")


def test_a_long_note_is_read_as_it_was_written_and_replaced(tmp_path: Path) -> None:
    study = optuna.create_study(storage=f"sqlite:///{tmp_path}/studies.db", directions=["maximize", "minimize"])
    name_metrics(study, ("val/accuracy", "val/loss"))
    assert study.metric_names == ["val/accuracy", "val/loss"]
    for text in ("x" * 5000 + "end", "short ξ", ""):
        save_note(study, text)
        assert optuna_dashboard.get_note(study) == text


@pytest.mark.process
def test_a_study_tells_the_dashboard_and_its_own_run_has_its_data(tmp_path: Path) -> None:
    done = initlab("-m", *TINY, "init=he,xavier", "study.name=two", cwd=tmp_path, timeout=200)
    assert done.returncode == 0, done.stderr
    study = optuna.load_study(study_name="two", storage=f"sqlite:///{tmp_path}/.initlab/studies.db")
    assert study.metric_names == ["val/accuracy"]
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name("initlab").experiment_id])
    (parent,) = (r for r in runs if r.data.tags["initlab.kind"] == "study")
    note = optuna_dashboard.get_note(study)
    assert note.startswith("2 arms: 2 complete") and parent.info.run_id in note
    of_children = {i.dataset.digest for r in runs if r is not parent for i in r.inputs.dataset_inputs}
    assert [i.dataset.digest for i in parent.inputs.dataset_inputs] == list(of_children) and len(of_children) == 1
    # the same command again trains nothing, and adds nothing
    again = initlab("-m", *TINY, "init=he,xavier", "study.name=two", cwd=tmp_path, timeout=200)
    assert again.returncode == 0, again.stderr
    assert len(client.get_run(parent.info.run_id).inputs.dataset_inputs) == 1
    assert optuna_dashboard.get_note(study) == note
