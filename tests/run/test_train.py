"""One whole run against a real embedded store: what is recorded, and how it ends when something breaks."""

from __future__ import annotations

import json
import math
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pyarrow.parquet as pq
import pytest
import torch

from initlab.errors import ConfigError
from initlab.run.train import run
from initlab.spec import RunResult
from tests.cases import Recorder, experiment

SMALL = ("data=digits", "model=cnn", "trainer.epochs=2", "optimizer.lr=0.005")


def client(folder: Path) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunResult]:
    folder = tmp_path_factory.mktemp("finished")
    name = "<script>alert(1)</script>"
    return folder, run(experiment(*SMALL, f"tracking.run_name='{name}'"), workdir=folder)


@pytest.fixture(scope="module")
def record(finished: tuple[Path, RunResult]) -> Any:
    folder, result = finished
    return client(folder).get_run(result.run_id)


pytestmark = [pytest.mark.process, pytest.mark.xdist_group("run")]


def test_params_tags_and_dataset(finished: tuple[Path, RunResult], record: Any) -> None:
    params, tags = record.data.params, record.data.tags
    assert (params["task"], params["data"], params["model"], params["init"], params["activation"]) == (
        "image", "digits", "cnn", "he", "relu",
    )  # fmt: skip
    assert params["optimizer.lr"] == "0.005" and params["data.shots"] == "null"
    assert record.info.status == "FINISHED" and tags["initlab.status"] == "finished"
    assert tags["initlab.arm"] == experiment(*SMALL).arm and tags["seed"] == "0"
    assert tags["initlab.verdict"] and tags["mlflow.note.content"].startswith("**he-relu-cnn-digits-s0**")
    (dataset,) = record.inputs.dataset_inputs
    assert dataset.dataset.name == "digits" and dataset.dataset.digest
    assert json.loads(dataset.dataset.profile) == {"train": 1294, "val": 144, "test": 359}
    assert record.data.metrics["optimizer.lr"] == 0.005


def test_metrics_are_those_of_the_result_and_finite(finished: tuple[Path, RunResult], record: Any) -> None:
    folder, result = finished
    for key in ("test/accuracy", "val/accuracy", "train/loss"):
        assert record.data.metrics[key] == pytest.approx(result.metrics[key])
    for key in ("grad_norm/conv1.weight", "act_std/dense.weight", "dead/conv2.weight", "saturated/conv3.weight",
                "update_ratio/head.weight", "diag/grad_ratio"):  # fmt: skip
        assert math.isfinite(record.data.metrics[f"watch/{key}"])
    assert record.data.metrics["throughput/samples_per_s"] > 0
    history = client(folder).get_metric_history(result.run_id, "val/loss")
    assert [m.step for m in history] == [0, 21, 42]
    assert [m.timestamp for m in history] == sorted(m.timestamp for m in history)


def test_artifacts(finished: tuple[Path, RunResult]) -> None:
    folder, result = finished
    (place,) = (folder / "mlruns").rglob(f"{result.run_id}/artifacts")
    names = {p.relative_to(place).as_posix() for p in place.rglob("*") if p.is_file()}
    assert {
        "config.yaml", "environment.json", "sites.json", "profile.parquet", "report.html", "report.json",
        "checkpoints/best.safetensors", "checkpoints/last.safetensors", "figures/loss_curves.svg",
        "figures/gradient_norm.svg",
        "figures/activation_std.svg", "figures/weight_histograms.svg", "figures/activation_histograms.svg",
    } <= names  # fmt: skip
    table = pq.read_table(place / "profile.parquet").to_pydict()
    assert {"grad_norm", "act_std", "dead", "unit_spread", "val/loss"} <= set(table["statistic"])
    assert len(table["step"]) == len(result.profile.rows) + sum(len(c) for c in result.profile.curves.values())
    page = (place / "report.html").read_text(encoding="utf-8")
    assert "<h1>&lt;script&gt;" in page, "the name of the run, escaped"
    assert "http://" not in page and "https://" not in page and "<script" not in page
    assert len(page) < 3_000_000
    for figure in place.glob("figures/*.svg"):
        assert ElementTree.parse(figure).getroot().tag.endswith("svg") and figure.stat().st_size > 5_000
    assert not (folder / ".initlab" / "spool").exists() or not list((folder / ".initlab" / "spool").iterdir())


def test_a_crash_ends_the_run_failed_with_its_records(finished: tuple[Path, RunResult]) -> None:
    folder, _ = finished
    decided = experiment(*SMALL)

    def breaks(step: int, total: int) -> float:
        if step == 15:
            raise RuntimeError("the power supply melted")
        return 1.0

    recorder = Recorder()
    with pytest.raises(RuntimeError, match="melted"):
        run(replace(decided, lr_schedule=breaks), workdir=folder, narrator=recorder)
    store = client(folder)
    (failed,) = store.search_runs([e.experiment_id for e in store.search_experiments()], "status = 'FAILED'")
    assert failed.data.tags["initlab.status"] == "failed" and "melted" in failed.data.tags["initlab.error"]
    steps = [m.step for m in store.get_metric_history(failed.info.run_id, "train/loss")]
    assert steps == [r.step for r in recorder.records if "train/loss" in r.metrics] == [10]


def test_bad_input_writes_nothing(workdir: Path) -> None:
    with pytest.raises(ConfigError):
        run(experiment("data=digits", "data.shots=100000"), workdir=workdir)
    assert list(workdir.iterdir()) == []


def test_the_process_keeps_its_settings(workdir: Path) -> None:
    threads = torch.get_num_threads()
    run(experiment(*SMALL, "tracking=none", "trainer.fast_dev_run=true", "threads=2", "trainer.deterministic=true"))
    assert torch.get_num_threads() == threads and not torch.are_deterministic_algorithms_enabled()
    assert float(torch.tensor(1e-40) * 1.0) > 0, "denormal numbers are back"


def test_the_model_is_logged_on_request_and_loads_without_pickle(workdir: Path) -> None:
    recorder = Recorder()
    wanted = (
        "data=digits",
        "model=cnn",
        "trainer.fast_dev_run=true",
        "tracking.log_model=true",
        "tracking.report=false",
    )
    result = run(experiment(*wanted), workdir=workdir, narrator=recorder)
    (place,) = (workdir / "mlruns").rglob(f"{result.run_id}/artifacts/model")
    assert (place / "MLmodel").exists() and not list(place.rglob("*.pth")) and not list(place.rglob("*.pkl"))
    model = recorder.prepared.model
    x = recorder.prepared.splits.prepare(recorder.prepared.splits.test.x[:5])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow.pytorch

        loaded = mlflow.pytorch.load_model(str(place))
    assert torch.allclose(loaded(x), model.eval()(x), atol=1e-6)
