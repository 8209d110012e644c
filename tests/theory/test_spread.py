"""The predicted spread of ln q at the last layer, against random networks."""

from __future__ import annotations

import math

import pytest
import torch

from initlab.activations import parse_activation
from initlab.spec import LayerPrediction
from initlab.theory.meanfield import q_map
from initlab.theory.spread import log_q_spread


def _row(i: int, q: float, sw2: float, sb2: float) -> LayerPrediction:
    return LayerPrediction(
        site=f"{i}", order=i, sigma_w2=sw2, sigma_b2=sb2, q=q, mean=0.0, c=1.0,
        log10_gradient=0.0, saturated=0.0, chi=1.0,
    )  # fmt: skip


def _predicted(name: str, sigmas2: tuple[float, float], width: int, depth: int) -> float:
    sw2, sb2 = sigmas2
    activation, q, rows = parse_activation(name), sw2 + sb2, []
    for i in range(depth):
        rows.append((_row(i, q, sw2, sb2), activation, width))
        q = q_map(activation, q, sigma_w2=sw2, sigma_b2=sb2)
    return log_q_spread(rows)


def _measured(name: str, sigmas2: tuple[float, float], width: int, depth: int) -> float:
    (sw2, sb2), draws = sigmas2, 1200
    fn, g = parse_activation(name).fn, torch.Generator().manual_seed(7)
    x = torch.ones(draws, width)
    for i in range(depth):
        # rows of independent networks: given x, W x has independent entries N(0, σ_w² ‖x‖²/n)
        scale = (sw2 * x.square().mean(1, keepdim=True) + sb2).sqrt()
        h = scale * torch.randn(draws, width, generator=g)
        x = fn(h) if i < depth - 1 else h
    return float(x.square().mean(1).log().std())


@pytest.mark.parametrize("width", [50, 200])
@pytest.mark.parametrize("depth", [5, 20])
@pytest.mark.parametrize(
    ("name", "sigmas2"),
    [("relu", (2.0, 0.0)), ("tanh", (1.5, 0.0)), ("tanh", (1.5, 0.1)), ("erf", (1.5, 0.05)), ("gelu", (1.5, 0.3))],
)
def test_spread_is_that_of_random_networks(name: str, sigmas2: tuple[float, float], width: int, depth: int) -> None:
    measured = _measured(name, sigmas2, width, depth)
    assert _predicted(name, sigmas2, width, depth) == pytest.approx(measured, rel=0.15)


def test_relu_adds_five_by_n_a_layer_and_two_by_n_at_the_last() -> None:
    assert _predicted("relu", (2.0, 0.0), 100, 11) == pytest.approx(math.sqrt(0.52), rel=1e-6)


def test_one_layer_has_the_spread_of_its_own_units() -> None:
    assert _predicted("tanh", (1.0, 0.0), 100, 1) == pytest.approx(math.sqrt(0.02))
