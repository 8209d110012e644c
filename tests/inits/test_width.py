"""The coordinate check: under μP every layer moves by the same amount however wide the network is."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import initlab
from tests.inits.networks import noise

Kind = Literal["sgd", "adam"]
WIDTHS = (64, 128, 256, 512, 1024)
BATCH = (noise(64, 32), torch.randint(10, (64,), generator=torch.Generator().manual_seed(2)))


def build(width: int) -> nn.Module:
    sizes = (32, width, width, width)
    hidden = [m for a, b in pairwise(sizes) for m in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*hidden, nn.Linear(width, 10))


def slopes(init: str, kind: Kind, steps: int = 5) -> dict[str, float]:
    lr = 0.1 if kind == "sgd" else 1e-3
    found = initlab.coordinate_check(
        build, BATCH, init=init, widths=WIDTHS, steps=steps, lr=lr, optimizer=kind, loss=F.cross_entropy
    )
    return {m.name: m.slope.mean for m in found.modules}


@pytest.mark.parametrize("kind", ["sgd", "adam"])
@pytest.mark.parametrize("init", ["mup(head='small')", "spectral"])
@pytest.mark.parametrize("steps", [1, 5])
def test_no_layer_moves_more_in_a_wider_network(init: str, kind: Kind, steps: int) -> None:
    found = slopes(init, kind, steps)
    assert len(found) >= 4
    assert all(abs(slope) <= 0.1 for slope in found.values()), found


@pytest.mark.parametrize("kind", ["sgd", "adam"])
@pytest.mark.parametrize("init", ["he", "xavier"])
def test_the_usual_schemes_fail_the_check(init: str, kind: Kind) -> None:
    assert max(abs(slope) for slope in slopes(init, kind).values()) > 0.3
