"""`initlab.watch` in loops of other make: the profile of an own run of the same network, and a record to explain."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import initlab
from initlab.api import Watch
from initlab.errors import ConfigError
from initlab.run.train import run
from tests.cases import Recorder, experiment
from tests.cli.driver import initlab as command_line

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

STEPS = 14


class Recording:
    """initlab's own run of a small network: its profile, its first parameters and the batches that it trained on."""

    def __init__(self) -> None:
        self.batches: list[tuple[Tensor, Tensor]] = []
        inputs: list[Tensor] = []
        made: list[nn.Module] = []
        own = experiment(
            "data=digits", "model=mlp", "model.width=24", "model.depth=3", "activation=tanh", "optimizer=sgd",
            "optimizer.lr=0.1", "optimizer.momentum=0.0", f"trainer.max_steps={STEPS}", "probes.every=4",
            "probes.dead_share=false",
            "probes.histograms=false", "trainer.batch_size=64", "tracking=none",
        )  # fmt: skip
        task_loss = own.task.loss

        def keep(_model: nn.Module, args: Any) -> None:
            inputs.append(args[0].detach().clone())

        class Keeping(Recorder):
            def started(self, experiment: Any, prepared: Any, run_id: str, folder: Path | None) -> None:
                super().started(experiment, prepared, run_id, folder)
                made.append(copy.deepcopy(prepared.model))
                prepared.model.register_forward_pre_hook(keep)

        def loss(output: Tensor, target: Tensor) -> Tensor:
            if output.requires_grad and inputs:  # not in what is looked at before training
                self.batches.append((inputs[-1], target.detach().clone()))
            return task_loss(output, target)

        object.__setattr__(own.task, "loss", loss)  # a frozen dataclass
        self.profile = run(own, narrator=Keeping()).profile
        self.model = made[0]

    def rows(self) -> dict[tuple[int, str, str], float]:
        return table(self.profile.rows)


def table(rows: Any) -> dict[tuple[int, str, str], float]:
    kinds = (
        "act_mean",
        "act_std",
        "saturated",
        "act_grad_norm",
        "grad_norm",
        "weight_norm",
        "update_ratio",
        "grad_ratio",
    )
    return {(r.step, r.site, r.statistic): r.value for r in rows if r.statistic in kinds}


@pytest.fixture(scope="module")
def recording() -> Recording:
    found = Recording()
    assert len(found.batches) == STEPS
    return found


def same(mine: dict[tuple[int, str, str], float], own: dict[tuple[int, str, str], float], prefix: str = "") -> None:
    assert {(s, n.removeprefix(prefix), k) for s, n, k in mine} == set(own)
    for (step, site, kind), value in mine.items():
        assert value == pytest.approx(own[step, site.removeprefix(prefix), kind], rel=2e-4, abs=1e-6), (
            step,
            site,
            kind,
        )


def test_a_plain_loop_has_the_profile_of_an_own_run(recording: Recording) -> None:
    model = copy.deepcopy(recording.model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with initlab.watch(model, optimizer, every=4, classes=10, track=False) as seen:
        for x, y in recording.batches:
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            seen.log(loss=loss)
    same(table(seen.profile.rows), recording.rows())
    assert seen.steps == STEPS and seen.outlook is not None and seen.outlook.verdict == "trainable"
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_watching_changes_no_bit(recording: Recording) -> None:
    losses: dict[bool, list[float]] = {True: [], False: []}
    for watched in (True, False):
        model = nn.Sequential(copy.deepcopy(recording.model), nn.Dropout(0.2))
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        torch.manual_seed(0)
        seen = initlab.watch(model, optimizer, every=2, track=False) if watched else None
        for x, y in recording.batches:
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses[watched].append(float(loss.detach()))
        if seen is not None:
            seen.close()
    assert losses[True] == losses[False]


class Functional(nn.Module):
    """The recorded network, with functions for activations."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.inner = model

    def forward(self, x: Tensor) -> Tensor:
        linear = [m for m in self.inner.modules() if isinstance(m, nn.Linear)]
        x = x.flatten(1)
        for layer in linear[:-1]:
            x = torch.tanh(layer(x))
        return linear[-1](x)


def test_functions_are_watched_like_modules(recording: Recording) -> None:
    model = Functional(copy.deepcopy(recording.model))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with initlab.watch(model, optimizer, every=4, track=False) as seen:
        for x, y in recording.batches:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
    same(table(seen.profile.rows), recording.rows(), prefix="inner.")


@pytest.mark.slow
def test_lightning(recording: Recording) -> None:
    lightning = pytest.importorskip("lightning")
    from initlab.integrations.lightning import WatchCallback

    class Module(lightning.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.net = copy.deepcopy(recording.model)

        def training_step(self, batch: Any, index: int) -> Tensor:
            del index
            return F.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    callback = WatchCallback("net", every=4, classes=10, track=False)
    trainer = lightning.Trainer(
        max_epochs=1, callbacks=[callback], logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, accelerator="cpu",
    )  # fmt: skip
    trainer.fit(Module(), torch.utils.data.DataLoader(recording.batches, batch_size=None))
    assert callback.watch is not None
    same(table(callback.watch.profile.rows), recording.rows())


@pytest.mark.slow
def test_transformers_trainer(recording: Recording, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    from initlab.integrations.transformers import WatchCallback

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = copy.deepcopy(recording.model)

        def forward(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
            logits = self.net(x)
            return {"loss": F.cross_entropy(logits, labels), "logits": logits}

    batches = [{"x": x, "labels": y} for x, y in recording.batches]
    model = Model()
    callback = WatchCallback(every=4, classes=10, track=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    trainer = transformers.Trainer(
        model=model, train_dataset=batches, data_collator=lambda rows: rows[0], callbacks=[callback],
        optimizers=(optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 1.0)),
        args=transformers.TrainingArguments(
            output_dir=str(tmp_path), per_device_train_batch_size=1, num_train_epochs=1, report_to=[], use_cpu=True,
            save_strategy="no", disable_tqdm=True, max_grad_norm=0.0, logging_strategy="no",
        ),
    )  # fmt: skip
    trainer._get_train_sampler = lambda *_: torch.utils.data.SequentialSampler(batches)
    trainer.train()
    assert callback.watch is not None
    same(table(callback.watch.profile.rows), recording.rows(), prefix="net.")


@pytest.mark.slow
@pytest.mark.process
def test_keras(tmp_path: Path) -> None:
    """In a process of its own: the backend is chosen when keras is imported."""
    import importlib.util
    import subprocess
    import sys

    if importlib.util.find_spec("keras") is None:
        pytest.skip("keras is not installed")

    program = """
import numpy as np, keras
from initlab.integrations.keras import WatchCallback
model = keras.Sequential([keras.layers.Input((20,)), keras.layers.Dense(32, activation="tanh"),
                          keras.layers.Dense(32, activation="tanh"), keras.layers.Dense(4)])
model.compile(optimizer="sgd", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
callback = WatchCallback(every=5, classes=4, track=False)
rng = np.random.default_rng(0)
x, y = rng.normal(size=(128, 20)).astype("float32"), rng.integers(4, size=128)
model.fit(x, y, batch_size=16, verbose=0, callbacks=[callback])
rows = callback.watch.profile.rows
seen = {r.site for r in rows if r.statistic == "act_std"}
print(callback.watch.steps, sorted({r.statistic for r in rows if r.site})[:4], len(seen))
"""
    import os

    out = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env={**os.environ, "KERAS_BACKEND": "torch"}, check=True,
        capture_output=True, text=True, timeout=300,
    ).stdout  # fmt: skip
    assert out.strip().splitlines()[-1] == "8 ['act_grad_norm', 'act_mean', 'act_std', 'grad_norm'] 2"


# ------------------------------------------------------------------ the record
def train(seen: Watch, model: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 12) -> None:
    for i in range(steps):
        x = torch.randn(64, 32, generator=torch.Generator().manual_seed(i))
        loss = F.cross_entropy(model(x), torch.randint(4, (64,), generator=torch.Generator().manual_seed(i)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seen.log(loss=loss)


def deep(fn: Callable[[], nn.Module], depth: int = 24) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(*[m for _ in range(depth) for m in (nn.Linear(32, 32), fn())], nn.Linear(32, 4))


@pytest.mark.process
def test_a_run_of_its_own_is_explained(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from initlab.cli.main import main

    model = deep(nn.Sigmoid)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with initlab.watch(model, optimizer, classes=4, name="mine", params={"lr": 0.1}) as seen:
        train(seen, model, optimizer)
    assert [f.name for f in seen.findings][:1] == ["vanishing"]
    assert main(["explain", "run=last"]) == 0
    told = capsys.readouterr().out
    assert "vanish" in told and "initlab.initialize(model, 'he'" in told and "python -m initlab init" not in told
    assert main(["explain", "run=last", "--try"]) == 2


@pytest.mark.process
def test_an_active_mlflow_run_gets_the_records(workdir: Path) -> None:
    import mlflow

    uri = f"sqlite:///{workdir / 'theirs.db'}"
    mlflow.set_tracking_uri(uri)
    try:
        model = deep(nn.Tanh, 4)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        with mlflow.start_run() as theirs:
            with initlab.watch(model, optimizer, classes=4) as seen:
                train(seen, model, optimizer)
            assert seen.run_id == theirs.info.run_id
            assert mlflow.active_run() is not None, "their run stays open"
        stored = mlflow.get_run(theirs.info.run_id)
    finally:
        mlflow.set_tracking_uri(None)
    assert stored.data.tags["initlab.kind"] == "train" and stored.data.tags["initlab.status"] == "finished"
    assert stored.data.metrics["train/loss"] > 0 and math.isfinite(stored.data.metrics["watch/diag/grad_norm"])
    assert not (workdir / "mlflow.db").exists()


# ------------------------------------------------------------------ what cannot be
def test_what_cannot_be_watched_is_said() -> None:
    with pytest.raises(ConfigError, match=r"model=str: must be a torch\.nn\.Module"):
        initlab.watch("net")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="every=0"):
        initlab.watch(nn.Linear(2, 2), every=0)


def test_a_loss_that_is_not_finite_is_a_divergence() -> None:
    model = deep(nn.Tanh, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with initlab.watch(model, optimizer, classes=4, track=False) as seen:
        train(seen, model, optimizer, 3)
        seen.log(loss=float("nan"))
    assert "diverged" in [f.name for f in seen.findings]
    empty = initlab.watch(model, optimizer, track=False)
    assert empty.close() == () and repr(empty).startswith("<watch of Sequential: 0 updates")


def test_a_network_that_cannot_be_watched_is_trained_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of the look is a warning: the loop that is watched goes on."""

    class Once(nn.Module):
        """Refuses to be called twice on one batch, as the look does."""

        def __init__(self) -> None:
            super().__init__()
            self.inner, self.busy = deep(nn.Tanh, 2), False

        def forward(self, x: Tensor) -> Tensor:
            if type(x) is Tensor and len(self._forward_pre_hooks) > 1:
                raise ValueError("not while it is looked at")
            return self.inner(x)

    model = Once()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    seen = initlab.watch(model, optimizer, classes=4, track=False)
    with pytest.warns(UserWarning, match="this training is not watched"):
        train(seen, model, optimizer, 3)
    assert seen.close() == () and not model._forward_pre_hooks


@pytest.mark.process
def test_a_program_that_forgets_to_close(tmp_path: Path) -> None:
    import subprocess
    import sys

    program = """
import torch, initlab
from torch import nn
net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
step = torch.optim.SGD(net.parameters(), lr=0.1)
seen = initlab.watch(net, step, classes=2)
for _ in range(3):
    step.zero_grad()
    net(torch.randn(8, 4)).square().mean().backward()
    step.step()
"""
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True, timeout=300)
    done = command_line("explain", "run=last", cwd=tmp_path)
    assert done.returncode == 0 and "finished after 3 updates" in done.stdout, done.stderr
