"""SIGTERM, kill -9, resume and sync on real processes and a real store."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from tests.cli.driver import LONG, initlab, training, wait_for

pytestmark = pytest.mark.process


def spool(folder: Path) -> Path | None:
    found = list((folder / ".initlab" / "spool").glob("*/records.jsonl"))
    return found[0].parent if found else None


def steps_written(folder: Path) -> int:
    place = spool(folder)
    if place is None:
        return -1
    lines = (place / "records.jsonl").read_bytes().splitlines()
    return int(json.loads(lines[-1])["step"]) if lines and lines[-1].endswith(b"}") else -1


def client(folder: Path) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")


def only_run(folder: Path) -> Any:
    runs = client(folder).search_runs([e.experiment_id for e in client(folder).search_experiments()])
    assert len(runs) == 1
    return runs[0]


def final_weights(folder: Path) -> dict[str, Any]:
    (path,) = (folder / "mlruns").rglob("checkpoints/last.safetensors")
    return {k: v for k, v in load_file(path).items() if k.startswith("model.")}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted")
    done = initlab(*LONG, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.xdist_group("endings")
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "kill -9"])
def test_a_killed_run_keeps_its_records_and_resumes_bit_for_bit(
    tmp_path: Path, uninterrupted: Path, how: signal.Signals
) -> None:
    with training(*LONG, cwd=tmp_path) as process:
        wait_for(lambda: steps_written(tmp_path) >= 300, process=process)
        process.send_signal(how)
        out, err = process.communicate(timeout=60)
    if how is signal.SIGTERM:
        assert process.returncode == 1, err
        assert "Next: python -m initlab resume=" in out
        assert spool(tmp_path) is None, "everything was delivered before the end"
    else:
        assert process.returncode == -signal.SIGKILL
        waiting = steps_written(tmp_path)
        synced = initlab("sync", cwd=tmp_path)
        assert synced.returncode == 0, synced.stderr
        assert spool(tmp_path) is None
        losses = client(tmp_path).get_metric_history(only_run(tmp_path).info.run_id, "train/loss")
        assert max(m.step for m in losses) >= waiting - 10
    run = only_run(tmp_path)
    assert (run.info.status, run.data.tags["initlab.status"]) == ("KILLED", "killed")
    run_id = run.info.run_id
    # every record up to the stop, none twice: the training records come every 10 updates, without a gap
    steps = [m.step for m in client(tmp_path).get_metric_history(run_id, "val/loss")]
    assert len(steps) == len(set(steps)) and steps[0] == 0

    resumed = initlab(f"resume={run_id}", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    run = only_run(tmp_path)
    assert (run.info.run_id, run.info.status) == (run_id, "FINISHED")
    mine, whole = final_weights(tmp_path), final_weights(uninterrupted)
    assert mine.keys() == whole.keys() and all(mine[k].equal(whole[k]) for k in whole)

    def history(folder: Path, key: str) -> list[tuple[int, float]]:
        found = client(folder).get_metric_history(only_run(folder).info.run_id, key)
        return sorted((m.step, m.value) for m in found)

    for key in ("train/loss", "val/accuracy", "watch/grad_norm/head.weight", "test/accuracy"):
        assert history(tmp_path, key) == history(uninterrupted, key), key


@pytest.mark.xdist_group("endings")
def test_resume_refuses_what_would_be_another_run_and_what_does_not_exist(uninterrupted: Path) -> None:
    run_id = only_run(uninterrupted).info.run_id
    other = initlab(f"resume={run_id}", "init=xavier", cwd=uninterrupted)
    assert other.returncode == 2 and "init: cannot be changed when a run is resumed" in other.stderr
    unknown = initlab("resume=0123456789", cwd=uninterrupted)
    assert unknown.returncode == 2 and "0123456789" in unknown.stderr and "Traceback" not in unknown.stderr
    assert only_run(uninterrupted).info.status == "FINISHED"
