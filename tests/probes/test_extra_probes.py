"""Probes of third parties: read every layer, change no number, and are refused by name where they are wrong."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from types import ModuleType

import pytest
import torch
from torch import Tensor

from initlab import config
from initlab.errors import ConfigError, InitlabError
from initlab.spec import LayerReading, Probe
from tests.cases import experiment, untracked

SMALL = ("data=digits", "model=mlp", "model.width=16", "trainer.max_steps=24", "probes.every=5")
TRUSTED = "config.targets=[lab_of_probes]"


def rank_and_noise() -> Probe:
    """Draws random numbers, which must not reach the training."""

    def probe(layer: LayerReading) -> Mapping[str, Tensor]:
        torch.randn(7)
        return {"rank": torch.linalg.matrix_rank(layer.weight.float()), "mean_square": layer.received.square().mean()}

    return probe


def gradients() -> Probe:
    def probe(layer: LayerReading) -> Mapping[str, Tensor]:
        assert layer.weight_gradient is not None and layer.gradient is not None
        return {"norm_of_dw": layer.weight_gradient.norm(), "norm_of_dh": layer.gradient.norm()}

    return probe


def returning(found: object) -> object:
    return lambda: lambda layer: found


def writer() -> object:
    return lambda layer: {"one": layer.weight.mul_(0.5).sum()}


def in_need(*, power: int) -> Probe:
    raise AssertionError(power)


@pytest.fixture(autouse=True)
def lab() -> Iterator[ModuleType]:
    """A package of a third party."""
    module = ModuleType("lab_of_probes")
    for function in (rank_and_noise, gradients, writer, in_need):
        setattr(module, function.__name__, function)
    wrong = {"number": 3, "vector": {"v": torch.ones(2)}, "taken": {"grad_norm": torch.ones(())}, "name": {"A b": 1}}
    for name, found in wrong.items():
        setattr(module, name, returning(found))
    sys.modules["lab_of_probes"] = module
    yield module
    del sys.modules["lab_of_probes"]


def test_rows_and_metrics_and_the_same_losses() -> None:
    probed, told = untracked(*SMALL, TRUSTED, "probes.extra=[lab_of_probes.rank_and_noise,lab_of_probes.gradients]")
    _, plain = untracked(*SMALL, "probes=none")
    losses = [[r.metrics["train/loss"] for r in t.records if "train/loss" in r.metrics] for t in (told, plain)]
    assert losses[0] == losses[1] and len(losses[0]) >= 2
    assert {f"rank/{s}" for s in ("layers.0.weight", "layers.1.weight", "head.weight")} <= {
        k for r in told.records for k in r.metrics
    }
    by = {(r.step, r.site, r.statistic): r.value for r in probed.profile.rows}
    steps = {step for step, _, statistic in by if statistic == "rank"}
    assert steps == {*range(10), 10, 15, 20}
    for step, site, statistic in by:
        if statistic == "norm_of_dw":
            assert by[step, site, "norm_of_dw"] == pytest.approx(by[step, site, "grad_norm"], rel=1e-6)
            assert by[step, site, "norm_of_dh"] == pytest.approx(by[step, site, "act_grad_norm"], rel=1e-6)


def test_it_reads_where_everything_else_is_off() -> None:
    off = ("probes.activations=false", "probes.gradients=false", "probes.updates=false")
    probed, _ = untracked(*SMALL, *off, TRUSTED, "probes.extra=[lab_of_probes.gradients]")
    assert {r.statistic for r in probed.profile.rows} >= {"norm_of_dw", "norm_of_dh"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("number", "must return a mapping of statistics, not int"),
        ("vector", "v must be a tensor of one number"),
        ("taken", "initlab measures grad_norm itself"),
        ("name", "'A b' is no name of a statistic"),
        ("writer", r"wrote to a tensor of the training at layers\.0\.weight"),
    ],
)
def test_a_wrong_probe_is_refused_by_name(name: str, message: str) -> None:
    with pytest.raises(InitlabError, match=rf"probe \w+: {message}"):
        untracked(*SMALL, TRUSTED, f"probes.extra=[lab_of_probes.{name}]")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("os.system", "or a package that you name"),
        ("initlab.inits.he", "is no probe"),
        ("torch.nn.ReLU", "is no probe"),
        ("lab_of_probes.nothing", "cannot be imported"),
        ("lab_of_probes.in_need", r"called without arguments.*'power'"),
        ("lab_of_probes.gradients,lab_of_probes.gradients", "is named twice"),
    ],
)
def test_names_that_are_refused(names: str, message: str) -> None:
    with pytest.raises(ConfigError, match=rf"probes\.extra=.*{message}") as refusal:
        experiment(TRUSTED, f"probes.extra=[{names}]")
    assert refusal.value.key == "probes.extra"


def test_a_package_that_nobody_named_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"config\.targets=\[lab_of_probes\] where you trust it"):
        experiment("probes.extra=[lab_of_probes.gradients]")


def test_a_configuration_saved_without_the_key_is_the_same_arm() -> None:
    composed = config.compose(list(SMALL))
    now = config.experiment(composed, overrides=SMALL)
    from omegaconf import open_dict

    with open_dict(composed):
        del composed.probes.extra
    before = config.experiment(composed, overrides=SMALL)
    assert before.extra_probes == now.extra_probes == () and before.arm == now.arm
