"""The coordinate check: under μP every layer moves by the same amount however wide the network is."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from initlab import activations, inits
from initlab.inits import coordinate_check
from initlab.spec import Batch, Initializer, StepKind
from tests.inits.networks import noise

WIDTHS = (64, 128, 256, 512, 1024)
BATCH = Batch(
    inputs=noise(64, 32), targets=torch.randint(10, (64,), generator=torch.Generator().manual_seed(2)),
    loss=F.cross_entropy,
)  # fmt: skip


def build(width: int) -> nn.Module:
    sizes = (32, width, width, width)
    hidden = [m for a, b in pairwise(sizes) for m in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*hidden, nn.Linear(width, 10))


def slopes(init: Initializer, kind: StepKind, steps: int = 5) -> dict[str, float]:
    lr = 0.1 if kind == "sgd" else 1e-3
    return coordinate_check(
        build, init, batch=BATCH, activation=activations.relu(), widths=WIDTHS, steps=steps, lr=lr, kind=kind
    )


@pytest.mark.parametrize("kind", ["sgd", "adaptive"])
@pytest.mark.parametrize("init", [inits.mup(), inits.spectral()], ids=["mup", "spectral"])
@pytest.mark.parametrize("steps", [1, 5])
def test_no_layer_moves_more_in_a_wider_network(init: Initializer, kind: StepKind, steps: int) -> None:
    found = slopes(init, kind, steps)
    assert len(found) == 4
    assert all(abs(slope) <= 0.1 for slope in found.values()), found


@pytest.mark.parametrize("kind", ["sgd", "adaptive"])
@pytest.mark.parametrize("init", [inits.he(), inits.xavier()], ids=["he", "xavier"])
def test_the_usual_schemes_fail_the_check(init: Initializer, kind: StepKind) -> None:
    assert max(abs(slope) for slope in slopes(init, kind).values()) > 0.3
