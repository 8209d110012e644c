"""What is said of a trained network, against what can be known otherwise, and that looking changes nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from initlab import config as configuration
from initlab.network.state import preserve_state
from initlab.probes.interpret import PATH, interpret
from initlab.run.prepare import prepare
from initlab.run.train import run
from initlab.spec import Experiment, Interpretation
from initlab.train.evaluate import evaluate
from initlab.train.layout import Layout

pytestmark = pytest.mark.timeout(120)


def experiment(*typed: str) -> Experiment:
    overrides = ["data=digits", "model=mlp", "model.width=32", "trainer.epochs=4", "tracking=none", *typed]
    return configuration.experiment(configuration.compose(overrides), overrides=overrides)


def looked(*typed: str) -> tuple[Interpretation, Any]:
    result = run(experiment("probes=interpret", *typed))
    assert result.interpretation is not None
    return result.interpretation, result


@pytest.fixture(scope="module")
def healthy() -> tuple[Interpretation, Any]:
    return looked("model.depth=3")


def test_training_is_the_same_with_and_without_it(healthy: tuple[Interpretation, Any]) -> None:
    plain = run(experiment("model.depth=3"))
    assert plain.interpretation is None
    kept = {k for k in plain.metrics if not k.startswith("throughput")}
    assert {k: plain.metrics[k] for k in kept} == {k: healthy[1].metrics[k] for k in kept}


def test_looking_changes_nothing() -> None:
    told = experiment("model.norm=batch", "model.depth=2")
    prepared = prepare(told)
    before = {k: v.clone() for k, v in prepared.model.state_dict().items()}
    start = {k: torch.zeros_like(p) for k, p in prepared.model.named_parameters()}
    state = torch.get_rng_state()
    prepared.model.train()
    interpret(prepared.model, prepared.sites, prepared.splits, told.task, start)
    assert prepared.model.training and torch.equal(torch.get_rng_state(), state)
    after = prepared.model.state_dict()
    assert all(torch.equal(v, after[k]) for k, v in before.items())


def test_distances_and_the_ends_of_the_path(healthy: tuple[Interpretation, Any]) -> None:
    told = experiment("model.depth=3")
    prepared = prepare(told)
    seen = interpret(
        prepared.model, prepared.sites, prepared.splits, told.task,
        {k: p.detach() / 2 for k, p in prepared.model.named_parameters()},
    )  # fmt: skip
    for distance, cosine in seen.travelled.values():
        assert distance == pytest.approx(1.0) and cosine == pytest.approx(1.0)
    with preserve_state(prepared.model):
        score = evaluate(prepared.model, told.task, prepared.splits, prepared.splits.val, layout=Layout(eval_batch=500))
    at_end = next(p for p in seen.path if p[0] == 1.0)
    assert at_end[1:] == pytest.approx((score.loss, score.accuracy), rel=1e-4)
    trained, result = healthy
    by_alpha = {a: (loss, accuracy) for a, loss, accuracy in trained.path}
    assert set(by_alpha) == set(PATH) and by_alpha[1.0][0] < by_alpha[0.0][0]
    assert by_alpha[1.0][1] == pytest.approx(result.metrics["val/accuracy"], abs=0.02)


def test_a_linear_probe_finds_what_is_there(healthy: tuple[Interpretation, Any]) -> None:
    seen, result = healthy
    by_place = {(p.moment, p.order): p for p in seen.linear}
    inputs = by_place["init", -1]
    # the input is the same before and after, and a linear classifier of digits is known to do about so well
    assert inputs.accuracy == by_place["end", -1].accuracy and 0.85 < inputs.accuracy < 1
    last = max(order for moment, order in by_place if moment == "end")
    # the network's own head is a linear classifier of that layer
    assert by_place["end", last].accuracy > result.metrics["val/accuracy"] - 0.03
    assert all(len(p.by_class) == 10 and min(p.by_class) > 0.5 for p in seen.linear if p.moment == "end")


def test_a_signal_that_is_gone_cannot_be_read_off() -> None:
    seen, _ = looked("init=normal", "init.std=0.001", "model.depth=6", "optimizer.lr=1e-7")
    deep = [p for p in seen.linear if p.moment == "init"]
    assert deep[0].accuracy > 0.85
    zero, _ = looked("init=zeros", "model.depth=3")
    assert all(p.accuracy < 0.2 for p in zero.linear if p.order >= 0)


def test_units_are_the_most_and_the_least_active(healthy: tuple[Interpretation, Any]) -> None:
    seen, _ = healthy
    by_site: dict[str, list[float]] = {}
    for unit in seen.units:
        assert 0 <= unit.active <= 1
        by_site.setdefault(unit.site, []).append(unit.mean)
    assert len(by_site) == 3 and all(v == sorted(v, reverse=True) and len(v) == 6 for v in by_site.values())


def test_filters_are_images_of_the_first_layer() -> None:
    seen, _ = looked("trainer.epochs=1")
    assert seen.filters is not None and seen.filters.shape == (32, 1, 8, 8)


def test_what_has_no_one_answer_an_example_has_distances_alone() -> None:
    typed = ["task=text", "model.hidden_size=16", "trainer.max_steps=3", "tracking=none", "probes=interpret"]
    result = run(configuration.experiment(configuration.compose(typed), overrides=typed))
    seen = result.interpretation
    assert seen is not None and seen.travelled and not seen.linear and not seen.path


@pytest.mark.slow
def test_speech_is_looked_at_as_well() -> None:
    typed = ["task=speech", "trainer.max_steps=20", "tracking=none", "probes=interpret"]
    told = configuration.experiment(configuration.compose(typed), overrides=typed)
    seen = run(replace(told, seed=1)).interpretation
    assert seen is not None and seen.linear and seen.units and seen.filters is None
