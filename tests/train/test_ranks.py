"""One run in two processes, started by torchrun: what it learns, and what it leaves, against one process alone."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from mlflow import MlflowClient
from safetensors.torch import load_file

from initlab.train.ranks import Ranks
from tests.cli.driver import environment, initlab
from tests.cli.forkserver import Forked

pytestmark = [pytest.mark.process, pytest.mark.timeout(240), pytest.mark.xdist_group("ranks")]
#: 1,294 examples in batches of 64 leave a last one of 14; of 35 one of 34; three ranks would not share them evenly
COMMON = ("data=digits", "model=mlp", "model.width=32", "trainer.epochs=2", "tracking.report=false", "device=cpu")


def start(*arguments: str, cwd: Path, processes: int = 2) -> subprocess.Popen[str]:
    return Forked(
        [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={processes}", "--standalone",
         "--no-python", sys.executable, "-m", "initlab", *arguments],
        cwd=cwd, env=environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def torchrun(*arguments: str, cwd: Path, processes: int = 2) -> tuple[int, str]:
    process = start(*arguments, cwd=cwd, processes=processes)
    out, _ = process.communicate(timeout=200)
    return process.returncode, out


def recorded(workdir: Path) -> list[Any]:
    client = MlflowClient(f"sqlite:///{workdir / 'mlflow.db'}")
    runs = client.search_runs([e.experiment_id for e in client.search_experiments()], max_results=100)
    return sorted(runs, key=lambda r: r.info.start_time)


def weights(workdir: Path, run: Any) -> dict[str, torch.Tensor]:
    (file,) = (workdir / "mlruns").rglob(f"{run.info.run_id}/artifacts/checkpoints/last.safetensors")
    last = {k.removeprefix("model."): v for k, v in load_file(file).items() if k.startswith("model.")}
    return last or load_file(file.with_name("best.safetensors"))


@pytest.mark.parametrize("size", [1, 2, 3, 14, 64])
@pytest.mark.parametrize("world", [1, 2, 3, 8])
def test_shares_are_the_batch_and_their_weights_its_mean(size: int, world: int) -> None:
    values = torch.arange(size, dtype=torch.float64) ** 2
    ranks = [Ranks(rank=r, world=world) for r in range(world)]
    mine = [values[r.rows(size)] for r in ranks]
    counted = [v for v, r in zip(mine, ranks, strict=True) if r.weight(size) > 0]
    assert torch.equal(torch.cat(counted), values)
    assert all(len(v) > 0 for v in mine)
    mean = sum(float(v.mean()) * r.weight(size) for v, r in zip(mine, ranks, strict=True)) / world
    assert mean == pytest.approx(float(values.mean()))


@pytest.mark.parametrize(
    ("extra", "processes"),
    [
        (("optimizer=sgd", "trainer.batch_size=35", "trainer.until=train/loss<=2.1"), 2),
        (("data.augment=shift", "trainer.clip_grad_norm=0.5"), 3),
    ],
)
def test_several_processes_learn_what_one_learns(workdir: Path, extra: tuple[str, ...], processes: int) -> None:
    alone = initlab(*COMMON, *extra, cwd=workdir)
    assert alone.returncode == 0, alone.stderr
    code, out = torchrun(*COMMON, *extra, "trainer=ddp", "trainer.epochs=2", cwd=workdir, processes=processes)
    assert code == 0, out
    one, several = recorded(workdir)
    assert one.data.tags["initlab.arm"] == several.data.tags["initlab.arm"]
    assert several.info.status == "FINISHED"
    same = {k for k in one.data.metrics if not k.startswith(("throughput", "system/", "watch/act_", "watch/diag/act"))}
    assert {"train/loss", "train/accuracy", "val/loss", "test/accuracy"} <= same <= set(several.data.metrics)
    for key in ("train/loss", "val/loss", "train/accuracy", "test/accuracy"):
        assert several.data.metrics[key] == pytest.approx(one.data.metrics[key], rel=1e-3), key
    assert several.data.metrics.get("until/step") == one.data.metrics.get("until/step")
    assert ("until/step" in one.data.metrics) == any("until" in o for o in extra)
    first, second = weights(workdir, one), weights(workdir, several)
    assert first.keys() == second.keys()
    for key, value in first.items():
        assert torch.allclose(value, second[key], atol=2e-4, rtol=1e-3), key


def test_a_run_that_was_stopped_goes_on_in_several_processes(workdir: Path) -> None:
    long = ("trainer=ddp", *COMMON[:-3], "trainer.epochs=300", "tracking.report=false", "device=cpu", "probes=none")
    process = start(*long, cwd=workdir)
    deadline = time.monotonic() + 90
    while not list((workdir / ".initlab" / "spool").glob("*/checkpoints/last.safetensors")):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=120)
    (run,) = recorded(workdir)
    assert run.info.status == "KILLED", out
    (file,) = (workdir / "mlruns").rglob(f"{run.info.run_id}/artifacts/checkpoints/last.json")
    step = json.loads(file.read_text())["step"]
    assert 0 < step < 300 * 21
    code, out = torchrun("trainer.ddp=true", f"resume={run.info.run_id}", f"trainer.max_steps={step + 50}", cwd=workdir)
    assert code == 0, out
    (run,) = recorded(workdir)
    assert run.info.status == "FINISHED" and f"after {step + 50} updates" in out


def test_ranks_agree_that_a_run_diverged(workdir: Path) -> None:
    code, out = torchrun(*COMMON, "trainer=ddp", "optimizer=sgd", "optimizer.lr=1e12", cwd=workdir)
    assert code != 0 and "diverged" in out
    (run,) = recorded(workdir)
    assert run.data.tags["initlab.status"] == "diverged" and math.isfinite(float(run.data.tags["diverged_step"]))


def test_what_cannot_be_shared_is_refused_once(workdir: Path) -> None:
    outside = initlab(*COMMON, "trainer=ddp", cwd=workdir)
    assert outside.returncode == 2 and "torchrun --nproc-per-node=N" in outside.stderr
    for arguments, part in (
        ((*COMMON,), "trainer.ddp=true trains one run in them"),
        (("trainer=ddp", *COMMON, "model.norm=batch"), "batch norm over several processes needs GPUs"),
        (("trainer=ddp", "task=text", "device=cpu"), "trains in one process"),
    ):
        code, out = torchrun(*arguments, cwd=workdir)
        assert code != 0 and out.count(f"{part}") == 1, out
    study = initlab("-m", *COMMON, "trainer=ddp", "init=he,xavier", cwd=workdir)
    assert study.returncode == 2 and "trainer.ddp" in study.stderr
    # what was refused before the first update was not recorded, or is not left running
    assert not (workdir / "mlflow.db").exists() or all(r.info.status == "FAILED" for r in recorded(workdir))
