"""A signal that leaves the range of floating point is predicted to do so, and raises nothing."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from initlab import predict
from initlab.activations import parse_activation
from initlab.theory.state import State, within_moments


@pytest.mark.parametrize("variance", [1e-320, 1e-301, 1e160, 1e299, math.inf])
def test_squared_relu_has_no_moments_out_of_range(variance: float) -> None:
    assert not within_moments(parse_activation("squared_relu"), variance)


@pytest.mark.parametrize("size", [1e160, math.inf])
def test_a_state_out_of_range_has_a_variance_and_a_correlation(size: float) -> None:
    state = State(size, math.inf, math.inf)
    assert state.variance == math.inf
    assert state.c == 1.0


def _plain(gain: float, depth: int = 30, width: int = 32) -> nn.Sequential:
    torch.manual_seed(0)
    square = parse_activation("squared_relu")
    layers: list[nn.Module] = []
    for _ in range(depth):
        linear = nn.Linear(width, width)
        nn.init.normal_(linear.weight, 0.0, gain / width**0.5)
        nn.init.zeros_(linear.bias)
        layers += [linear, square.make()]
    return nn.Sequential(*layers, nn.Linear(width, 2))


@pytest.mark.parametrize(("gain", "end"), [(3.0, math.inf), (0.1, 0.0)])
def test_a_signal_that_explodes_or_dies_is_predicted(gain: float, end: float) -> None:
    torch.manual_seed(1)
    said = predict(_plain(gain), torch.randn(8, 32), activation="squared_relu")
    assert said.depth == 30
    assert said.layers[-1].q == end
    assert not any(math.isnan(row.q) or math.isnan(row.c) for row in said.layers)
    assert said.stable is False
    assert not math.isnan(said.log_q_sd)
    assert said.trainable_depth == 0.0
