"""Activations that differ by layer, are learnt or change with time, through whole runs."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from initlab.activations import activations_of
from initlab.activations.mixtures import Homotopy
from initlab.core import seeds
from initlab.probes import ProfileLog
from initlab.run.prepare import prepare
from initlab.train import Checkpoints
from initlab.train.optimizers import parameter_groups
from tests.cases import experiment, untracked
from tests.train import test_loop
from tests.train.test_loop import Interrupted, equal

MLP = ("data=digits", "model=mlp", "model.depth=3", "model.width=32", "optimizer.lr=0.003")
MIXED = {
    "per_layer": ("activation=per_layer", "activation.layers=[tanh,gelu,relu]"),
    "alternate": ("activation=alternate", "activation.of=[relu,tanh]"),
    "blend": ("activation=blend", "activation.of=[relu,tanh,silu]"),
    "homotopy": ("activation=homotopy", "activation.start=identity", "activation.end=relu", "activation.until=0.5"),
    "expr": ("activation=expr", 'activation.f="x*tanh(softplus(x))"'),
}
NAMES = {
    "per_layer": ["tanh", "gelu", "relu"], "alternate": ["relu", "tanh", "relu"], "blend": ["blend"] * 3,
    "homotopy": ["homotopy"] * 3, "expr": ["x*tanh(softplus(x))"] * 3,
}  # fmt: skip


@pytest.mark.parametrize("name", MIXED)
def test_a_whole_run_learns_and_says_what_is_finite(name: str) -> None:
    result, told = untracked(*MLP, *MIXED[name], "trainer.epochs=6")
    assert result.status == "finished" and result.metrics["test/accuracy"] > 0.85
    for record in told.records:
        assert record.nonfinite == ()
        assert all(math.isfinite(v) for v in record.metrics.values())
    assert all(math.isfinite(v) for curve in result.profile.curves.values() for _, v in curve)
    found = activations_of(told.prepared.model, experiment(*MLP, *MIXED[name]).activation)
    assert [a.name for a in found.values()] == NAMES[name]


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_each_layer_finds_a_mixture_of_its_own(optimizer: str) -> None:
    _, told = untracked(*MLP, *MIXED["blend"], f"optimizer={optimizer}", "optimizer.lr=0.02", "trainer.epochs=4")
    keys = [f"blend_{part}/layers.{{}}.weight" for part in ("relu", "tanh", "silu")]
    rows = [r for r in told.records if keys[0].format(0) in r.metrics]
    assert len(rows) >= 10
    ends: list[list[float]] = []
    for i in range(3):
        curves = [[r.metrics[key.format(i)] for r in rows] for key in keys]
        # the first reading is after one update; the start itself is even
        assert [c[0] for c in curves] == pytest.approx([1 / 3] * 3, abs=0.02)
        assert all(sum(values) == pytest.approx(1, abs=1e-5) for values in zip(*curves, strict=True))
        assert max(abs(c[-1] - 1 / 3) for c in curves) > 0.005, "it has moved"
        ends.append([c[-1] for c in curves])
    assert ends[0] != pytest.approx(ends[2], abs=1e-3)
    mixes = [torch.softmax(p.detach(), 0) for n, p in told.prepared.model.named_parameters() if n.endswith("mix")]
    assert all(m.tolist() == pytest.approx(end, abs=0.05) for m, end in zip(mixes, ends, strict=True))


@pytest.mark.parametrize("until", [0.25, 0.5, 1.0])
def test_a_homotopy_ends_where_it_should(until: float) -> None:
    result, told = untracked(*MLP, *MIXED["homotopy"], f"activation.until={until}", "trainer.epochs=3")
    key = "homotopy/layers.2.weight"
    seen = {r.step: r.metrics[key] for r in told.records if key in r.metrics}
    assert seen == pytest.approx({step: min(1.0, step / result.steps / until) for step in seen})
    assert seen[0] == 0 and list(seen.values()) == sorted(seen.values())
    progress = float(told.prepared.model.get_submodule("activations.2").get_buffer("progress"))
    assert progress == pytest.approx((result.steps - 1) / result.steps)
    # what is evaluated at the end is the last activation, but for the last update's share of the way
    x = torch.linspace(-3, 3, 61)
    sent = told.prepared.model.get_submodule("activations.2")(x)
    assert torch.allclose(sent, torch.relu(x), atol=0.0 if until < 1 else 3 / result.steps + 1e-6)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "rmsprop"])
@pytest.mark.parametrize("name", ["blend", "homotopy"])
def test_weight_decay_leaves_them_alone(optimizer: str, name: str) -> None:
    """A step without any gradient: weights shrink, and the mixture and all other parameters stay as they are."""
    e = experiment(*MLP, *MIXED[name], f"optimizer={optimizer}", "optimizer.weight_decay=0.5", "optimizer.lr=1e-4")
    p = prepare(e)
    with torch.no_grad():
        for n, parameter in p.model.named_parameters():
            if n.endswith(("mix", "bias")):
                parameter.add_(torch.linspace(0.5, 1.5, parameter.numel()))
    for module in p.model.modules():
        if isinstance(module, Homotopy):
            module.set_progress(0.3)
    before = {n: v.clone() for n, v in p.model.state_dict().items()}
    optimised = e.optimizer(parameter_groups(p.model, p.sites))
    for parameter in p.model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimised.step()
    after = p.model.state_dict()
    shrunk = {n for n in after if not torch.equal(after[n], before[n])}
    assert shrunk == {n for n in after if n.endswith("weight")}
    assert all(float(after[n].norm()) < float(before[n].norm()) for n in shrunk)
    assert any(n.endswith("mix") for n in after) is (name == "blend")
    assert any(n.endswith("progress") for n in after) is (name == "homotopy")


def test_decay_changes_a_run_and_not_through_the_mixture() -> None:
    """Beside a loop of one's own that decays nothing but the weights, update by update."""
    overrides = (*MLP, *MIXED["blend"], "optimizer=sgd", "optimizer.momentum=0", "trainer.epochs=2", "probes=none")
    decay, lr = 0.05, 0.003
    _, told = untracked(*overrides, f"optimizer.weight_decay={decay}")
    p = prepare(experiment(*overrides))
    weights = {n for n, _ in p.model.named_parameters() if n.endswith("weight")}
    for epoch in range(2):
        order = torch.randperm(len(p.splits.train), generator=seeds.generator(0, "data", f"epoch{epoch}"))
        for index in order.split(64):
            p.model.zero_grad()
            x, y = p.splits.prepare(p.splits.train.x[index]), p.splits.train.y[index]
            nn.functional.cross_entropy(p.model(x), y).backward()
            with torch.no_grad():
                for n, parameter in p.model.named_parameters():
                    assert parameter.grad is not None
                    parameter.sub_(lr * (parameter.grad + (decay * parameter if n in weights else 0.0)))
    mine, theirs = p.model.state_dict(), told.prepared.model.state_dict()
    assert all(torch.allclose(mine[n], theirs[n], rtol=1e-4, atol=1e-6) for n in mine)


@pytest.mark.slow
@pytest.mark.parametrize("at", [1, 10, 14, 23])
@pytest.mark.parametrize("name", ["homotopy", "blend"])
def test_resuming_continues_bit_for_bit(tmp_path: Path, name: str, at: int) -> None:
    """Stopped at the start, in and after the homotopy's way of 15 of the 30 updates, within an epoch and at its end."""
    overrides = (*MLP, *MIXED[name], "trainer.epochs=3", "data.limit=640", "probes.every=4", "lr_schedule=cosine")
    whole = Interrupted(None, *overrides)
    first = Interrupted(tmp_path, *overrides, stop_after=at)
    assert (first.outcome.ending, first.outcome.steps) == ("killed", at)
    rest = Interrupted(tmp_path, *overrides)
    assert rest.outcome.ending == "finished" and rest.outcome.steps == whole.outcome.steps
    assert equal(whole.weights, rest.weights)
    assert [*first.told(), *rest.told()] == whole.told()
    assert rest.profile.rows == whole.profile.rows
    if name == "homotopy":
        total = whole.outcome.steps
        assert float(first.weights["activations.0.progress"]) == pytest.approx((at - 1) / total)
        assert float(rest.weights["activations.0.progress"]) == pytest.approx((total - 1) / total)


class _DiedError(Exception):
    """Stands for a process that is gone between two updates."""


def test_a_crash_after_a_checkpoint_makes_the_same_homotopy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Updates after the last checkpoint are made again, each at the progress that it had."""
    overrides = (*MLP, *MIXED["homotopy"], "trainer.epochs=3", "data.limit=640", "trainer.checkpoint_every=5")
    whole = Interrupted(None, *overrides)
    own = Homotopy.set_progress

    def dies(self: Homotopy, share: float) -> None:
        if round(share * whole.outcome.steps) == 18:
            raise _DiedError
        own(self, share)

    opened: list[ProfileLog] = []

    def opens(path: Path | None, *, offset: int) -> ProfileLog:
        opened.append(ProfileLog(path, offset=offset))
        return opened[-1]

    with monkeypatch.context() as patched:
        patched.setattr(Homotopy, "set_progress", dies)
        patched.setattr(test_loop, "ProfileLog", opens)
        with pytest.raises(_DiedError):
            Interrupted(tmp_path, *overrides)
    opened[0].close()  # as the system would
    saved = Checkpoints(tmp_path).peek()
    assert saved is not None and 0 < saved.step < 18
    rest = Interrupted(tmp_path, *overrides)
    assert equal(whole.weights, rest.weights)
    told = {serial: (step, metrics) for serial, step, metrics in whole.told()}
    assert rest.records and all(told[serial] == (step, metrics) for serial, step, metrics in rest.told())
