"""The memory layout of images changes no result beyond rounding, and is chosen where it cannot break a network."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from initlab.run.prepare import prepare
from initlab.train.layout import Layout, decide
from tests.train.test_loop import Interrupted, experiment

QUICK = ("data=digits", "data.limit=400", "trainer.epochs=2", "data.augment=shift")
NETWORKS = [("model=cnn",), ("model=resnet",), ("model=convnet",), ("model=cnn", "activation=tanh", "init=orthogonal")]


@pytest.mark.parametrize("words", NETWORKS, ids=" ".join)
def test_weights_are_drawn_alike_and_training_agrees(words: tuple[str, ...]) -> None:
    last = prepare(experiment(*QUICK, *words, "trainer.channels_last=true"))
    first = prepare(experiment(*QUICK, *words, "trainer.channels_last=false"))
    assert last.layout.channels_last and not first.layout.channels_last
    assert any(
        p.is_contiguous(memory_format=torch.channels_last) and not p.is_contiguous()
        for p in last.model.parameters() if p.dim() == 4
    )  # fmt: skip
    for (name, a), (other, b) in zip(last.model.named_parameters(), first.model.named_parameters(), strict=True):
        assert name == other and torch.equal(a, b)
    ends = [Interrupted(None, *QUICK, *words, f"trainer.channels_last={k}").told() for k in ("true", "false", "auto")]
    assert ends[2] == ends[0], "auto is true on a CPU"
    for one, other in zip(ends[0], ends[1], strict=True):
        assert one[:2] == other[:2] and one[2].keys() == other[2].keys()
        if one[1] <= 3:  # later the rounding of sums has grown
            losses = [r[2][k] for r in (one, other) for k in ("val/loss",) if k in r[2]]
            assert losses[:1] == pytest.approx(losses[1:], rel=1e-4)


def test_a_run_in_this_layout_goes_on_bit_for_bit(tmp_path: Path) -> None:
    words = (*QUICK, "model=cnn", "trainer.channels_last=true")
    whole = Interrupted(None, *words)
    begun = Interrupted(tmp_path, *words, stop_after=5)
    assert begun.outcome.ending == "killed"
    rest = Interrupted(tmp_path, *words)
    assert all(torch.equal(rest.weights[k], v) for k, v in whole.weights.items())


class Viewing(nn.Module):
    """Flattens by `view`, which images with channels last do not allow."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x).view(len(x), -1)


@pytest.mark.parametrize(
    ("words", "own", "shape", "wanted"),
    [
        ((), False, (2, 1, 8, 8), Layout(channels_last=True, eval_batch=128)),
        ((), True, (2, 1, 8, 8), Layout(channels_last=False, eval_batch=128)),
        (("trainer.channels_last=false",), False, (2, 1, 8, 8), Layout(channels_last=False, eval_batch=128)),
        (("trainer.channels_last=true", "trainer.eval_batch_size=7"), True, (2, 1, 8, 8),
         Layout(channels_last=True, eval_batch=7)),
        (("trainer.channels_last=true",), False, (2, 64), Layout(channels_last=False, eval_batch=1024)),
    ],
    ids=["auto", "a network of one's own", "off", "on", "no images"],
)  # fmt: skip
def test_what_is_chosen(words: tuple[str, ...], own: bool, shape: tuple[int, ...], wanted: Layout) -> None:
    assert decide(experiment(*words).trainer, Viewing(), torch.zeros(shape), own=own) == wanted


def test_a_network_without_convolutions_keeps_its_layout() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    assert decide(experiment().trainer, model, torch.zeros(2, 1, 8, 8)) == Layout()


def test_a_network_of_ones_own_that_views_images_trains() -> None:
    model, layout = Viewing(), decide(experiment().trainer, Viewing(), torch.zeros(2, 1, 8, 8), own=True)
    model(layout.of(torch.zeros(2, 1, 8, 8)))
    with pytest.raises(RuntimeError, match="view"):
        model.to(memory_format=torch.channels_last)(Layout(channels_last=True).of(torch.zeros(3, 1, 8, 8)))
