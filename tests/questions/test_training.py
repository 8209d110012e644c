"""What people ask about training itself; each test names its source."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import initlab
from initlab.errors import ConfigError
from tests.cli.driver import initlab as command
from tests.questions.networks import images, perceptron


def test_the_loss_is_exactly_ln_10() -> None:
    """pytorch-nin-cifar10#1: a network that its learning rate has killed."""
    torch.manual_seed(0)
    x, y = images(256)
    model = perceptron(64, 6, nn.ReLU)
    initlab.initialize(model, "he", example=x)
    step = torch.optim.SGD(model.parameters(), lr=3.0, momentum=0.9)
    with initlab.watch(model, step, classes=10, track=False) as seen:
        for _ in range(60):
            loss = F.cross_entropy(model(x), y)
            step.zero_grad()
            loss.backward()
            step.step()
            seen.log(loss=loss)
    assert not float(loss.detach()) < math.log(10) - 0.02
    found = {f.name: f for f in seen.findings}
    assert {"updates_too_large", "diverged"} & set(found)
    named = found.get("updates_too_large") or found["diverged"]
    assert any(o.startswith("optimizer.lr=") for r in named.remedies for o in r.overrides)


class _Block(nn.Module):
    """A residual branch whose last module is a norm, or a ReLU behind it."""

    def __init__(self, *, cut: bool) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(16, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 16), nn.BatchNorm1d(16),
            *([nn.ReLU()] if cut else []),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


def test_gamma_zero_in_the_last_norm_will_it_learn() -> None:
    """tensorpack#420, sonnet#185: yes; it is dead only where a ReLU follows inside of the branch."""
    torch.manual_seed(0)
    x, y = torch.randn(32, 16), torch.randint(3, (32,))
    model = nn.Sequential(_Block(cut=False), _Block(cut=False), nn.Linear(16, 3))
    initlab.initialize(model, "zero_gamma", example=x, data=[(x, y)])
    last = model[0].body[4]  # type: ignore[index, union-attr]
    assert isinstance(last, nn.BatchNorm1d) and not bool(last.weight.detach().any())
    step = torch.optim.SGD(model.parameters(), lr=0.1)
    losses = []
    for _ in range(30):
        loss = F.cross_entropy(model(x), y)
        step.zero_grad()
        loss.backward()
        step.step()
        losses.append(float(loss.detach()))
    assert bool(last.weight.detach().any()) and losses[-1] < 0.7 * losses[0]
    cut = nn.Sequential(_Block(cut=True), _Block(cut=True), nn.Linear(16, 3))
    with pytest.raises(ConfigError, match="no slope at zero"):
        initlab.initialize(cut, "zero_gamma", example=x, data=[(x, y)])


@pytest.mark.process
@pytest.mark.timeout(200)
def test_several_seeds_a_trial_mean_and_deviation(tmp_path: Path) -> None:
    """hydra#1969, optuna#433; mlflow#3762, wandb#5634."""
    words = ("data=digits", "data.limit=300", "model=mlp", "trainer.epochs=1", "study.name=seeds")
    done = command("-m", *words, "init=he,zeros", "replicas=3", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    told = command("compare", "study=seeds", cwd=tmp_path)
    assert told.returncode == 0, told.stdout + told.stderr
    head, *rows = told.stdout.splitlines()[1:4]
    assert head.split()[:5] == ["rank", "init", "n", "mean", "sd"]
    assert [row.split()[1:3] for row in rows] == [["he", "3"], ["zeros", "3"]]


def test_gradients_by_layer_without_clutter_in_my_own_loop(tmp_path: Path) -> None:
    """Lightning#21589, #1462: they are in the profile; of 60 layers a spread become metrics."""
    x, y = images(32)
    model = perceptron(8, 60, nn.Tanh)
    step = torch.optim.Adam(model.parameters())
    with initlab.watch(model, step, classes=10, track=False, workdir=tmp_path) as seen:
        for _ in range(3):
            loss = F.cross_entropy(model(x), y)
            step.zero_grad()
            loss.backward()
            step.step()
            seen.log(loss=loss)
    layers = {r.site for r in seen.profile.rows if r.statistic == "grad_norm" and r.site}
    assert len(layers) == 61
    assert list(tmp_path.iterdir()) == []
