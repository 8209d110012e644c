"""CPU and memory of a run: beside its records, at the end at least, and never of a study's runs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mlflow import MlflowClient

from initlab.run.system import INTERVAL, SystemMonitor
from tests.cli.driver import initlab

TINY = ("data=digits", "data.limit=200", "model=mlp", "model.width=16", "trainer.epochs=1", "tracking.report=false")


def test_a_sample_is_taken_when_the_last_one_is_old() -> None:
    now = [0.0]
    monitor = SystemMonitor(torch.device("cpu"), clock=lambda: now[0])
    assert monitor.due() == {}
    now[0] = INTERVAL
    sample = monitor.due()
    assert set(sample) == {
        "system/cpu_utilization_percentage", "system/system_memory_usage_percentage",
        "system/system_memory_usage_megabytes", "system/process_cpu_percentage", "system/process_memory_megabytes",
    }  # fmt: skip
    assert 0 <= sample["system/system_memory_usage_percentage"] <= 100
    # this process has torch in its memory, and less than the machine has in use
    assert sample["system/process_memory_megabytes"] > 50
    assert monitor.due() == {}, "not again before the time is over"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_memory_of_a_gpu() -> None:
    device = torch.device("cuda")
    held = torch.zeros(64, 1024, 1024, device=device)  # 256 MiB
    sample = SystemMonitor(device).sample()
    used = sample[f"system/gpu_{torch.cuda.current_device()}_memory_usage_megabytes"]
    assert used > held.numel() * 4 / 1e6
    assert 0 < sample[f"system/gpu_{torch.cuda.current_device()}_memory_usage_percentage"] <= 100


@pytest.mark.process
def test_single_runs_have_them_and_runs_of_a_study_have_not(tmp_path: Path) -> None:
    for arguments in ((), ("tracking.system_metrics=false", "seed=7"), ("-m", "init=he,xavier")):
        typed = (*arguments[:1], *TINY, *arguments[1:]) if arguments[:1] == ("-m",) else (*TINY, *arguments)
        done = initlab(*typed, cwd=tmp_path, timeout=200)
        assert done.returncode == 0, done.stderr
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    (experiment,) = (e for e in client.search_experiments() if e.name == "initlab")
    sampled = {
        r.info.run_name: [k for k in r.data.metrics if k.startswith("system/")]
        for r in client.search_runs([experiment.experiment_id])
        if r.data.tags["initlab.kind"] == "train"
    }
    assert len(sampled["he-relu-mlp-digits-s0"]) == 5
    assert sampled["he-relu-mlp-digits-s7"] == []
    assert sampled["he-s0"] == sampled["xavier-s0"] == [], "and their names say what differs"
