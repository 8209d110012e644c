"""What holds on a GPU alone; skipped where there is none."""

from __future__ import annotations

import pytest
import torch

from initlab.probes import ProfileLog
from initlab.run.assemble import training_loop
from initlab.run.prepare import prepare
from initlab.train import Checkpoints, train
from initlab.train.ranks import ALONE
from tests.train.test_loop import Interrupted, experiment

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

ON_GPU = ("data=digits", "model=cnn", "device=cuda", "trainer.epochs=2", "data.limit=400")


@pytest.mark.parametrize("words", [(), ("trainer.precision=bf16",), ("model=mlp",)], ids=" ".join)
def test_the_host_does_not_wait_between_updates(words: tuple[str, ...]) -> None:
    told = experiment(*ON_GPU, "trainer.batch_size=16", "trainer.log_every=100000", "probes=none", *words)
    asked = 0

    def stop() -> bool:  # asked before every update
        nonlocal asked
        asked += 1
        torch.cuda.set_sync_debug_mode("error" if 1 < asked <= 15 else "default")
        return asked > 15

    loop = training_loop(
        told, prepare(told), profile=ProfileLog(), checkpoints=Checkpoints(None), stop=stop, ranks=ALONE
    )
    try:
        assert len(list(train(loop))) >= 1
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert asked == 16


def test_losses_agree_with_those_of_a_cpu() -> None:
    here, there = Interrupted(None, *ON_GPU).told(), Interrupted(None, *ON_GPU, "device=cpu").told()
    assert [r[:2] for r in here] == [r[:2] for r in there]
    assert here[0][2]["val/loss"] == pytest.approx(there[0][2]["val/loss"], rel=1e-3)


@pytest.mark.parametrize("words", [("trainer.precision=bf16",), ("trainer.compile=true",)], ids=" ".join)
def test_a_run_learns(words: tuple[str, ...]) -> None:
    told = Interrupted(None, *ON_GPU, "trainer.epochs=8", *words).told()
    assert max(r[2].get("val/accuracy", 0.0) for r in told) > 0.7
