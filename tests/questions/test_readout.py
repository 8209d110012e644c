"""Question 10: in μP the last layer is not flat at step 1. Is that a fault?"""

from __future__ import annotations

import torch
from torch import nn

import initlab

X = torch.randn(128, 16, generator=torch.Generator().manual_seed(0))
Y = torch.randint(5, (128,), generator=torch.Generator().manual_seed(1))


def perceptron(width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(16, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 5))


def test_the_output_is_not_flat_before_training_and_that_is_expected() -> None:
    """microsoft/mup#42: it falls as 1/√width under μP; a readout of zeros has no such part."""
    plain = initlab.coordinate_check(perceptron, (X, Y), init="mup", steps=1)
    output = plain.rows()[-1]
    assert output["activation"] == "logits" and abs(output["slope before training"] + 0.5) < 0.1
    (note,) = [n for n in plain.notes if "output before training" in n]
    assert "expected under μP, and no fault" in note and "init.head=zero" in note and note in str(plain)

    zero = initlab.coordinate_check(perceptron, (X, Y), init="mup(head='zero')", steps=1)
    assert not any("output before training" in n for n in zero.notes)
    assert abs(zero.rows()[-1]["slope"]) < 0.1 and zero.rows()[-1]["verdict"] == "pass"

    usual = initlab.coordinate_check(perceptron, (X, Y), init="he", steps=1)
    assert not any("output before training" in n for n in usual.notes)
