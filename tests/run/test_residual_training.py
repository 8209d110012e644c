"""Residual networks without norms, as deep as they come: who trains them, and what was said of it beforehand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from initlab.run.prepare import foresee, prepare
from initlab.spec import RunResult
from tests.cases import Recorder, experiment, untracked

pytestmark = pytest.mark.slow

DEEP = ("data=digits", "model=resnet", "model.depth=110", "model.width=8", "model.norm=none", "model.branch_scale=true")
SGD = ("optimizer=sgd", "probes=none", "trainer.test_with=last")


def trained(init: str, *overrides: str) -> tuple[RunResult, Recorder]:
    return untracked(*DEEP, *SGD, f"init={init}", *overrides)


def loss_before_training(recorder: Recorder) -> float:
    return next(r.metrics["val/loss"] for r in recorder.records if "val/loss" in r.metrics)


@pytest.mark.parametrize("seed", [0, 1])
def test_fixup_trains_110_layers_without_norms(seed: int) -> None:
    """Zhang, Dauphin & Ma, ICLR 2019.

    python -m initlab data=digits model=resnet model.depth=110 model.width=8 model.norm=none model.branch_scale=true
        optimizer=sgd optimizer.lr=0.05 trainer.epochs=6 trainer.test_with=last probes=none tracking=none init=fixup

    Measured, single-threaded, on the CPU, 5 to 7 s a run: test accuracy 0.928, 0.928 and 0.978 of seeds 0, 1 and 2
    (a tenth is chance), from a loss of ln 10 exactly. With init=he the loss is 3.0e4, 5.1e4 and 2.1e5, and not
    finite after the first update.
    """
    result, recorder = trained("fixup", "optimizer.lr=0.05", "trainer.epochs=6", f"seed={seed}")
    assert loss_before_training(recorder) == pytest.approx(math.log(10), abs=1e-6)
    assert result.status == "finished" and result.metrics["test/accuracy"] > 0.8


@pytest.mark.parametrize("lr", [0.05, 0.01, 0.001])
def test_he_does_not(lr: float) -> None:
    """Each sum doubles the mean square: 54 of them."""
    result, recorder = trained("he", f"optimizer.lr={lr}", "trainer.epochs=6")
    assert loss_before_training(recorder) > 1e4
    assert result.status == "diverged" and result.diverged_step is not None and result.diverged_step <= 5
    assert [f.name for f in result.findings][:2] == ["exploding", "diverged"]


def test_it_was_said_before_the_first_step() -> None:
    made = [prepare(experiment(*DEEP, f"init={init}")) for init in ("he", "fixup")]
    he, fixup = (foresee(replace(p, context=replace(p.context, training=None))) for p in made)
    assert he.outlook.verdict == "untrainable"
    assert any("the loss before training" in reason for reason in he.outlook.reasons)
    assert fixup.outlook.verdict == "trainable" and fixup.outlook.score > he.outlook.score
    assert foresee(made[1]).outlook.score > foresee(made[0]).outlook.score
    chosen = prepare(experiment(*DEEP, "init=auto")).initialised
    assert chosen.initializer.name in ("torch_default", "residual_scaled", "fixup")
