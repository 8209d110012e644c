"""The loop: the same numbers with probes and without, after a stop, against a bare loop, and when it diverges."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from initlab import activations, inits
from initlab.core import seeds
from initlab.network import sites
from initlab.probes import DeadUnits, Observer, ProfileLog
from initlab.run.prepare import prepare
from initlab.spec import InitContext, Record
from initlab.train import Checkpoints, Outcome, train
from initlab.train.run import Run
from tests.cases import QUICK, experiment, untracked


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    return {k: v.detach().clone() for k, v in model.state_dict().items()}


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def losses(records: list[Record]) -> list[float]:
    return [r.metrics["train/loss"] for r in records if "train/loss" in r.metrics]


MODELS = [
    ("model=mlp", "model.norm=batch"),
    ("model=cnn",),
    ("model=resnet", "model.depth=8", "model.width=4"),
]


@pytest.mark.parametrize("model", MODELS, ids=lambda m: m[0])
def test_probes_change_no_bit(model: tuple[str, ...]) -> None:
    base = ("data=digits", "data.limit=300", *model, "trainer.epochs=2", "data.augment=shift")
    _, with_probes = untracked(*base, "probes=full")
    _, without = untracked(*base, "probes=none")
    assert losses(with_probes.records) == losses(without.records)
    assert equal(weights_of(with_probes.prepared.model), weights_of(without.prepared.model))
    assert any(k.startswith("grad_norm/") for r in with_probes.records for k in r.metrics)
    assert not any(k.startswith("grad_norm/") for r in without.records for k in r.metrics)


def test_two_arms_under_one_seed_see_the_same_batches() -> None:
    seen: list[list[Tensor]] = []
    for init in ("he", "orthogonal"):
        prepared = prepare(experiment(*QUICK, f"init={init}"))
        order = torch.randperm(len(prepared.splits.train), generator=seeds.generator(0, "data", "epoch0"))
        seen.append([prepared.splits.train.x[order[:64]], prepared.splits.val.x])
    assert all(torch.equal(a, b) for a, b in zip(*seen, strict=True))


def test_against_a_bare_loop() -> None:
    """The same network, batches, initial weights and optimiser in plain PyTorch give the same weights."""
    e = experiment(*QUICK, "optimizer=sgd")
    _, recorder = untracked(*QUICK, "optimizer=sgd")
    prepared = prepare(e)
    model, splits = prepared.model, prepared.splits
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, fused=True)
    for epoch in range(2):
        order = torch.randperm(len(splits.train), generator=seeds.generator(0, "data", f"epoch{epoch}"))
        for index in order.split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(splits.prepare(splits.train.x[index])), splits.train.y[index]).backward()
            optimizer.step()
    assert equal(weights_of(model), weights_of(recorder.prepared.model))


class Interrupted:
    """Runs the loop with a folder for checkpoints and a stop after so many updates."""

    def __init__(self, folder: Path | None, *overrides: str, stop_after: int | None = None) -> None:
        e = experiment(*overrides)
        p = prepare(e)
        checkpoints = Checkpoints(folder)
        state = checkpoints.peek()
        profile = ProfileLog(checkpoints.profile_path, offset=state.profile_offset if state else 0)
        asked = 0

        def stop() -> bool:
            nonlocal asked
            asked += 1
            return stop_after is not None and asked > stop_after

        names = frozenset(s.name for s in p.sites)
        steps = train(
            Run(
                model=p.model, task=e.task, splits=p.splits, sites=p.sites, optimizer=e.optimizer, layout=p.layout,
                lr_schedule=e.lr_schedule, settings=e.trainer, seed=e.seed, metric_sites=names, profile=profile,
                observer=Observer(p.model, p.sites, settings=e.probes, activation=e.activation),
                dead=DeadUnits(p.model, p.sites, e.activation), checkpoints=checkpoints, stop=stop,
            )
        )  # fmt: skip
        self.records: list[Record] = []
        while True:
            try:
                self.records.append(next(steps))
            except StopIteration as end:
                self.outcome: Outcome = end.value
                break
        self.weights = weights_of(p.model)
        self.profile = profile.profile()
        profile.close()

    def told(self) -> list[tuple[int, int, dict[str, float]]]:
        """What the records say, without the clock."""
        return [
            (r.serial, r.step, {k: v for k, v in r.metrics.items() if not k.startswith("throughput")})
            for r in self.records
        ]


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "rmsprop"])
@pytest.mark.parametrize("at", [1, 13, 20, 29])
def test_resuming_continues_bit_for_bit(tmp_path: Path, optimizer: str, at: int) -> None:
    overrides = (
        "data=digits", "model=cnn", "trainer.epochs=3", "data.augment=shift", f"optimizer={optimizer}",
        "lr_schedule=cosine", "probes.every=7", "data.limit=600",
    )  # fmt: skip
    whole = Interrupted(None, *overrides)
    first = Interrupted(tmp_path, *overrides, stop_after=at)
    assert (first.outcome.ending, first.outcome.steps) == ("killed", at)
    rest = Interrupted(tmp_path, *overrides)
    assert rest.outcome.ending == "finished"
    assert equal(whole.weights, rest.weights)
    assert [*first.told(), *rest.told()] == whole.told()
    assert rest.profile.rows == whole.profile.rows


def test_a_crash_loses_at_most_what_came_after_the_last_checkpoint(tmp_path: Path) -> None:
    """Without any goodbye: the second epoch's checkpoint is there, and records after it are made again with the same
    serial numbers, so that a tracker can tell them from new ones."""
    overrides = (*QUICK, "trainer.epochs=4", "data.limit=600")
    whole = Interrupted(None, *overrides)
    Interrupted(tmp_path, *overrides, stop_after=20)
    rest = Interrupted(tmp_path, *overrides)
    told = {serial: (step, metrics) for serial, step, metrics in whole.told()}
    assert all(told[serial] == (step, metrics) for serial, step, metrics in rest.told())
    assert equal(whole.weights, rest.weights)


def test_divergence_is_a_result() -> None:
    result, recorder = untracked(*QUICK, "optimizer=sgd", "optimizer.lr=1e12", "init=normal", "init.std=3")
    assert result.status == "diverged" and result.diverged_step is not None
    # what led to it stands first
    assert [f.name for f in result.findings][:2] == ["exploding", "diverged"]
    assert all(math.isfinite(v) for r in recorder.records for v in r.metrics.values())
    assert any("train/loss" in r.nonfinite for r in recorder.records)
    # the step is exact: the loss there is the first that is not finite
    again = prepare(experiment(*QUICK, "optimizer=sgd", "optimizer.lr=1e12", "init=normal", "init.std=3"))
    optimizer = torch.optim.SGD(again.model.parameters(), lr=1e12, momentum=0.9)
    order = torch.randperm(len(again.splits.train), generator=seeds.generator(0, "data", "epoch0"))
    for step, index in enumerate(order.split(64)):
        loss = nn.functional.cross_entropy(
            again.model(again.splits.prepare(again.splits.train.x[index])), again.splits.train.y[index]
        )
        if not math.isfinite(float(loss.detach())):
            assert step == result.diverged_step
            return
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    pytest.fail("the bare loop did not diverge")


def test_early_stopping_and_the_best_weights() -> None:
    result, recorder = untracked(*QUICK, "trainer.epochs=40", "trainer.early_stopping=2", "optimizer.lr=0.05")
    assert result.status == "stopped"
    curve = [v for _, v in result.profile.curves["val/accuracy"]][1:]
    best = max(range(len(curve)), key=lambda i: curve[i])
    assert len(curve) - 1 - best == 2
    assert len(recorder.records) == recorder.records[-1].serial + 1


def test_limits() -> None:
    result, _ = untracked(*QUICK, "trainer.max_steps=7")
    assert result.steps == 7
    result, _ = untracked(*QUICK, "trainer.fast_dev_run=true")
    assert result.steps == 2


@pytest.mark.parametrize("option", ["precision=bf16", "clip_grad_norm=0.5", "channels_last=true", "deterministic=true"])
def test_options_train(option: str) -> None:
    result, _ = untracked("data=digits", "model=cnn", "trainer.epochs=3", f"trainer.{option}")
    assert result.metrics["val/accuracy"] > 0.7


def test_clipping_bounds_the_update_and_the_probe_sees_the_norm_before() -> None:
    overrides = (*QUICK, "optimizer=sgd", "optimizer.momentum=0", "optimizer.lr=1.0", "trainer.max_steps=1")
    e = experiment(*overrides, "trainer.clip_grad_norm=0.01", "tracking=none")
    before = prepare(e)
    start = weights_of(before.model)
    _, recorder = untracked(*overrides, "trainer.clip_grad_norm=0.01")
    end = weights_of(recorder.prepared.model)
    moved = math.sqrt(sum(float((end[k] - start[k]).square().sum()) for k in start))
    assert moved == pytest.approx(0.01, rel=1e-3)
    norm = next(r.metrics["diag/grad_norm"] for r in recorder.records if "diag/grad_norm" in r.metrics)
    assert norm > 0.05


def test_weight_decay_spares_biases_norms_and_activations() -> None:
    from initlab.train.optimizers import parameter_groups

    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.PReLU(), nn.Linear(4, 2))
    described = sites.describe(model, torch.randn(3, 4))
    inits.apply(model, described, inits.he(), context=InitContext(activation=activations.relu()), seed=0)
    decayed, spared = parameter_groups(model, described)
    assert {id(p) for p in decayed["params"]} == {id(model[0].weight), id(model[3].weight)}
    assert spared["weight_decay"] == 0.0 and len(spared["params"]) == 5


def test_the_weights_of_a_run_that_ended_at_its_best_are_kept_once(tmp_path: Path) -> None:
    words = ("data=digits", "data.limit=600", "model=mlp", "optimizer.lr=0.003")
    for epochs in range(1, 6):
        folder = tmp_path / str(epochs)
        folder.mkdir()
        whole = Interrupted(folder, *words, f"trainer.epochs={epochs}")
        at_best = whole.outcome.best_step == whole.outcome.steps
        kept = [k for k in load_file(folder / "last.safetensors") if k.startswith("model.")]
        assert (kept == []) is at_best
        again = Interrupted(folder, *words, f"trainer.epochs={epochs}")
        assert equal(again.weights, whole.weights) and again.outcome.steps == whole.outcome.steps
        if at_best:
            return
    pytest.fail("no run of 1 to 5 epochs ended at its best")
