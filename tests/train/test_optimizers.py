"""Groups of parameters: who decays, who has a learning rate of its own, and that the factories obey."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from initlab import activations, inits
from initlab.core.optimizer_step import stepper
from initlab.errors import ConfigError
from initlab.network.sites import describe
from initlab.run.prepare import prepare
from initlab.spec import InitContext, OptimizerFactory, Site, StepKind
from initlab.train import optimizers
from initlab.train.checkpoint import Checkpoints, State
from initlab.train.optimizers import adam, adamw, parameter_groups, rmsprop, sgd
from tests.cases import experiment, untracked
from tests.train.cohort.cohort_cases import check_cohort

FACTORIES: list[tuple[OptimizerFactory, StepKind, float]] = [
    (optimizers.sgd(lr=0.1, weight_decay=0.01), "sgd", 0.1),
    (optimizers.adam(lr=0.01, weight_decay=0.01), "adaptive", 0.01),
    (optimizers.adamw(lr=0.02), "adaptive", 0.02),
    (optimizers.rmsprop(lr=0.03, weight_decay=0.01), "adaptive", 0.03),
]


def network() -> nn.Module:
    return nn.Sequential(
        nn.Linear(4, 32), nn.BatchNorm1d(32), nn.PReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3)
    )


def test_weights_decay_and_nothing_else_does() -> None:
    model = network()
    decayed, others = parameter_groups(model, describe(model))
    assert [p.dim() for p in decayed["params"]] == [2, 2, 2] and "weight_decay" not in decayed
    assert others["weight_decay"] == 0.0 and len(others["params"]) == 6
    assert "lr_scale" not in decayed


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "rmsprop", "muon"])
def test_rates_are_divided_by_a_power_of_the_depth(name: str) -> None:
    """All rates of all groups, those of an initialiser's multipliers too; the rates that are recorded are these."""
    net = ("model=mlp", "model.depth=8", "model.width=16", "init=mup", f"optimizer={name}", "optimizer.lr=0.02")
    rates: list[list[float]] = []
    for power in ("0", "1", "0.5"):
        decided = experiment("data=digits", *net, f"optimizer.depth_power={power}")
        prepared = prepare(decided)
        groups = parameter_groups(prepared.model, prepared.sites, prepared.initialised.initializer.lr_scale)
        rates.append([g["lr"] for g in decided.optimizer(groups).param_groups])
    plain, whole, half = rates
    assert whole == [pytest.approx(r / 8) for r in plain] and half == [pytest.approx(r / 8**0.5) for r in plain]
    result, _ = untracked("data=digits", *net, "optimizer.depth_power=1", "trainer.max_steps=3", "probes=none")
    assert result.metrics["train/lr"] == pytest.approx(plain[0] / 8)


@pytest.mark.parametrize("model", ["cnn", "linear", "torchvision"])
def test_a_power_of_the_depth_needs_a_depth(model: str) -> None:
    with pytest.raises(ConfigError, match=rf"optimizer\.depth_power=1.*model\.depth .*model={model} has not"):
        experiment("data=digits", f"model={model}", "optimizer.depth_power=1")
    with pytest.raises(ConfigError, match=r"optimizer\.depth_power=1"):
        sgd(depth_power=1.0)([{"params": [torch.zeros(1, requires_grad=True)]}])
    assert experiment("data=digits", f"model={model}", "optimizer.depth_power=0") is not None


def test_the_depth_of_a_cohort_is_that_of_its_runs() -> None:
    cases = [("optimizer.lr=0.02",), ("optimizer.lr=0.05",)]
    check_cohort(cases, "optimizer=sgd", "optimizer.depth_power=1", "activation=tanh")


@pytest.mark.parametrize(("factory", "kind", "lr"), FACTORIES, ids=["sgd", "adam", "adamw", "rmsprop"])
def test_a_multiplier_reaches_the_optimiser(factory: OptimizerFactory, kind: StepKind, lr: float) -> None:
    model = network()
    sites = describe(model)

    def lr_scale(site: Site, step: StepKind) -> float:
        return (0.5 if step == "sgd" else 0.25) if site.name == "3.weight" else 1.0

    optimizer = factory(parameter_groups(model, sites, lr_scale))
    rate = {id(p): g["lr"] for g in optimizer.param_groups for p in g["params"]}
    assert len(rate) == len(list(model.parameters())) and len(optimizer.param_groups) == 3
    for name, parameter in model.named_parameters():
        expected = lr * ({"sgd": 0.5, "adaptive": 0.25}[kind] if name == "3.weight" else 1.0)
        assert rate[id(parameter)] == pytest.approx(expected), name
    assert not any("lr_scale" in g for g in optimizer.param_groups)


def test_rates_of_mup() -> None:
    """Twice the base width: the table of Tensor Programs V, by hand."""
    model = nn.Sequential(nn.Linear(5, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 3))
    sites = describe(model, torch.zeros(2, 5))
    used = inits.apply(
        model, sites, inits.mup(base_width=64), context=InitContext(activation=activations.relu()), seed=0
    ).initializer
    expected = {
        "0.weight": (2.0, 1.0), "0.bias": (2.0, 1.0), "2.weight": (1.0, 0.5), "2.bias": (2.0, 1.0),
        "4.weight": (0.5, 0.5), "4.bias": (1.0, 1.0),
    }  # fmt: skip
    assert used.lr_scale is not None
    assert {s.name: (used.lr_scale(s, "sgd"), used.lr_scale(s, "adaptive")) for s in sites} == expected


def test_without_multipliers_one_step_is_the_same_as_before() -> None:
    def step(groups: bool) -> list[torch.Tensor]:
        torch.manual_seed(0)
        model = network()
        given = parameter_groups(model, describe(model), (lambda _s, _k: 1.0) if groups else None)
        optimizer = optimizers.adam(lr=0.1, weight_decay=0.1)(given)
        model(torch.ones(3, 4)).square().mean().backward()
        optimizer.step()
        return [p.detach() for p in model.parameters()]

    assert all(torch.equal(a, b) for a, b in zip(step(True), step(False), strict=True))


@pytest.mark.parametrize("make", [sgd, adam, adamw, rmsprop])
def test_the_short_way_to_an_update_gives_the_same_numbers(make: Callable[..., OptimizerFactory]) -> None:
    ends: list[list[torch.Tensor]] = []
    for short in (False, True):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
        x = torch.randn(8, 4)
        optimizer = make(lr=0.01, weight_decay=0.1)(parameter_groups(model, describe(model, x)))
        update = stepper(optimizer) if short else optimizer.step
        for _ in range(5):
            optimizer.zero_grad()
            model(x).square().sum().backward()
            update()
        ends.append([p.detach().clone() for p in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))


def test_an_optimizer_of_ones_own_is_asked_itself() -> None:
    class Mine(torch.optim.SGD):
        asked = 0

        def step(self, closure: Any = None) -> Any:
            self.asked += 1
            return super().step(closure)

    weight = torch.ones(2, requires_grad=True)
    optimizer = Mine([weight], lr=0.1)
    weight.sum().backward()
    stepper(optimizer)()
    assert optimizer.asked == 1 and torch.allclose(weight, torch.tensor(0.9))


def test_groups_that_are_treated_alike_are_one_and_older_checkpoints_fit(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
    x = torch.randn(8, 4)
    groups = parameter_groups(model, describe(model, x))
    assert [len(adamw(weight_decay=w)(groups).param_groups) for w in (0.0, 0.1)] == [1, 2]
    older = torch.optim.Adam([{k: v for k, v in g.items() if k not in ("matrices", "tables")} for g in groups])
    for _ in range(3):
        older.zero_grad()
        model(x).square().sum().backward()
        older.step()
    kept = Checkpoints(tmp_path)
    kept.save_last(model, older, State(step=3))
    kept.settle()  # it is written beside the training
    newer = adam()(groups)
    Checkpoints(tmp_path).load_last(model, newer)
    for parameter in model.parameters():
        assert torch.equal(older.state[parameter]["exp_avg_sq"], newer.state[parameter]["exp_avg_sq"])
        assert newer.state[parameter]["step"] == 3
