"""Recall by class and the confusion matrix, against scikit-learn and through a whole run."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlflow import MlflowClient
from sklearn.metrics import confusion_matrix as reference
from sklearn.metrics import recall_score

from initlab.report import recall
from initlab.report.confusion import confusion_matrix
from initlab.run.train import run
from tests.cases import QUICK, Recorder, experiment, untracked
from tests.report.svg import check


def test_counts_and_recall_are_those_of_scikit_learn() -> None:
    result, told = untracked(*QUICK)
    model, splits = told.prepared.model.eval(), told.prepared.splits
    answers = model(splits.prepare(splits.test.x)).argmax(1)
    # the last weights are the model's own again; the run's are those of its best epoch
    best = max(told.records, key=lambda r: r.metrics.get("val/accuracy", 0.0))
    if best.step == result.steps:
        assert [list(r) for r in result.confusion] == reference(splits.test.y, answers).tolist()
        shares = recall_score(splits.test.y, answers, average=None)
        assert [result.metrics[f"test/recall/{n}"] for n in splits.class_names] == pytest.approx(list(shares))
    right = sum(result.confusion[i][i] for i in range(10))
    assert right / len(splits.test) == pytest.approx(result.metrics["test/accuracy"])
    assert [sum(r) for r in result.confusion] == splits.test.y.bincount().tolist()


def test_a_class_without_examples_has_no_recall() -> None:
    assert recall(((3, 1), (0, 0)), ("a", "b")) == {"a": 0.75}


@pytest.mark.process
def test_the_figure_is_kept_and_shown(workdir: Path) -> None:
    run(experiment(*QUICK, "tracking.report=true"), workdir=workdir, narrator=Recorder())
    client = MlflowClient(f"sqlite:///{workdir / 'mlflow.db'}")
    (tracked,) = client.search_runs(["1"])
    assert 0 <= tracked.data.metrics["watch/test/recall/0"] <= 1
    (picture,) = (workdir / "mlruns").rglob("figures/confusion.svg")
    assert picture.stat().st_size > 5_000
    (page,) = (workdir / "mlruns").rglob("report.html")
    assert "Confusion matrix of the test part" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("classes", [2, 35, 120])
def test_any_number_of_classes_can_be_drawn(classes: int) -> None:
    counts = [[i * j % 7 for j in range(classes)] for i in range(classes)]
    check(confusion_matrix(counts, [f"c{i}" for i in range(classes)]))
