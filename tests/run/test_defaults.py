"""The defaults of speech and text reach what the README says, with data that every installation carries."""

from __future__ import annotations

import pytest

from tests.cases import untracked

pytestmark = pytest.mark.slow


def test_spoken_digits() -> None:
    result, told = untracked("task=speech", "init=he", "probes=none")
    assert told.prepared.splits.provenance.name == "fsdd_mfcc"
    assert result.metrics["test/accuracy"] >= 0.95


def test_language_model() -> None:
    """Four of the eight epochs; a trigram that is counted on the rest of the text has 2.47 bits a character."""
    result, told = untracked("task=text", "init=orthogonal", "probes=none", "trainer.epochs=4")
    assert told.prepared.splits.provenance.name == "python_topics"
    assert result.metrics["val/bits_per_char"] <= 2.35


@pytest.mark.parametrize("init", ["auto", "lsuv", "chrono", "recurrent", "log_prior", "metainit init.steps=5"])
def test_initialisers_that_look_at_data_know_tokens(init: str) -> None:
    small = ("model.hidden_size=16", "data.sequence_length=16", "trainer.max_steps=3", "trainer.epochs=1")
    result, told = untracked("task=text", *f"init={init}".split(), *small)
    assert result.status == "finished"
    assert told.records[0].metrics["val/loss"] < 6


@pytest.mark.parametrize(
    "arguments",
    [
        ("data=copy_memory", "data.length=20"),
        ("data=sequential_mnist", "data.pool=4", "model=gru"),
        ("data=adding", "data.length=20", "model=irnn", "init=irnn"),
        ("data=adding", "data.length=20", "model=rnn", "activation=gelu", "init=auto"),
    ],
    ids=",".join,
)
def test_synthetic_sequences(arguments: tuple[str, ...]) -> None:
    small = ("model.hidden_size=16", "trainer.max_steps=20", "trainer.epochs=1")
    result, told = untracked("task=synthetic", *arguments, *small)
    assert result.status == "finished"
    loss = [r.metrics["val/loss"] for r in told.records if "val/loss" in r.metrics]
    assert loss[-1] < loss[0]
    assert "gradient grows" not in str(result.findings)
