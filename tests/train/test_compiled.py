"""`trainer.compile` changes the speed of a run and its rounding; what cannot be compiled trains without."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from initlab.errors import ConfigError
from initlab.probes import ProfileLog
from initlab.run.assemble import training_loop
from initlab.run.prepare import prepare
from initlab.train.checkpoint import Checkpoints
from initlab.train.compiled import compiled
from initlab.train.ranks import Ranks
from tests.train.test_loop import Interrupted, experiment

pytestmark = [
    pytest.mark.process,  # the compiler
    pytest.mark.slow,
    pytest.mark.timeout(280),
    pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler"),
]

QUICK = ("data=digits", "data.limit=300", "trainer.epochs=2", "probes.every=3")


@pytest.mark.parametrize("words", [("model=mlp",), ("model=cnn",), ("model=mlp", "model.norm=batch")], ids=" ".join)
def test_losses_agree_with_those_of_a_plain_run(words: tuple[str, ...]) -> None:
    plain = Interrupted(None, *QUICK, *words).told()
    fast = Interrupted(None, *QUICK, *words, "trainer.compile=true").told()
    assert [r[:2] for r in plain] == [r[:2] for r in fast]
    for (_, _, a), (_, _, b) in zip(plain, fast, strict=True):
        assert a.keys() == b.keys()
        for key in a.keys() & {"train/loss", "val/loss"}:
            assert a[key] == pytest.approx(b[key], rel=1e-3)


def test_a_compiled_run_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    words = (*QUICK, "model=mlp", "trainer.compile=true")
    whole = Interrupted(None, *words)
    assert Interrupted(tmp_path, *words, stop_after=5).outcome.ending == "killed"
    rest = Interrupted(tmp_path, *words)
    assert all(torch.equal(rest.weights[k], v) for k, v in whole.weights.items())


def test_a_network_that_cannot_be_compiled_trains_without(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a machine without a compiler."""
    from torch._inductor import config

    monkeypatch.setattr(config.cpp, "cxx", ("/nowhere/g++",))
    monkeypatch.setattr(config, "force_disable_caches", True)
    model = nn.Sequential(nn.Linear(5, 3), nn.Tanh())
    assert compiled(model, torch.zeros(7, 5)) is model
    said = capsys.readouterr().err
    assert "initlab: trainer.compile: the network cannot be compiled and trains without: " in said
    assert all(p.grad is None for p in model.parameters())


def test_an_error_of_the_network_itself_is_not_hidden() -> None:
    with pytest.raises(RuntimeError, match="shapes"):
        compiled(nn.Linear(4, 2), torch.zeros(3, 5))


def test_several_processes_do_not_compile() -> None:
    told = experiment(*QUICK, "model=mlp", "trainer.compile=true")
    with pytest.raises(ConfigError, match="one process"):
        training_loop(
            told, prepare(told), profile=ProfileLog(), checkpoints=Checkpoints(None), stop=lambda: False,
            ranks=Ranks(world=2),
        )  # fmt: skip


def test_a_compilation_that_fails_leaves_the_averages_of_batch_norm(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> object:
        def program(_x: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("no compiler")

        return program

    monkeypatch.setattr(torch, "compile", refuse)
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)).train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    assert compiled(model, torch.randn(8, 4), precision="fp32") is model
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
