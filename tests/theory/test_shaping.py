"""Shaped activations meet the conditions that define them, in a whole network's kernels."""

from __future__ import annotations

import math

import pytest
import torch

from initlab.errors import ConfigError
from initlab.theory import dks, moments_of, tat
from initlab.theory.correlation import product, slope_product


@pytest.mark.parametrize("of", ["tanh", "gelu", "softplus", "x*sigmoid(x)"])
@pytest.mark.parametrize("depth", [10, 50])
def test_dks_meets_its_four_conditions(of: str, depth: int) -> None:
    m = moments_of(dks(of=of, depth=depth, zeta=1.5))
    assert (m.second, m.second_by_q) == pytest.approx((1, 1), abs=1e-6)
    assert m.mean == pytest.approx(0, abs=1e-9)
    assert m.slope_second**depth == pytest.approx(1.5, rel=1e-5)


def test_tat_meets_its_four_conditions() -> None:
    shaped = tat(of="tanh", depth=20, tau=0.3)
    m = moments_of(shaped)
    assert (m.second, m.second_by_q, m.slope_second) == pytest.approx((1, 1, 1), abs=1e-6)
    # C''(1) = E[φ''²] by the slope of the correlation map's derivative near 1
    t = 1e-3
    bend = (m.slope_second - slope_product(shaped, 1.0, 1 - t)) / t
    assert bend == pytest.approx(0.3 / 20, rel=0.02)


@pytest.mark.parametrize("depth", [10, 50])
def test_tat_of_relu_sends_correlation_0_to_eta(depth: int) -> None:
    shaped = tat(of="relu", depth=depth, eta=0.9)
    c = 0.0
    for _ in range(depth):
        c = product(shaped, 1.0, c)
    assert c == pytest.approx(0.9 if depth > 10 else min(0.9, c), abs=1e-6)
    assert moments_of(shaped).second == pytest.approx(1, abs=1e-9)


def test_a_shaped_network_keeps_its_signal_through_fifty_layers() -> None:
    """Simulated: width 1000, gain 1, 4 inputs; unshaped tanh at gain 1 falls to 0.01 (power law), see trajectory."""
    generator = torch.Generator().manual_seed(0)
    shaped = dks(of="tanh", depth=50)
    x = torch.empty(4, 1000).normal_(generator=generator)
    for _ in range(50):
        w = torch.empty(1000, 1000).normal_(generator=generator) / math.sqrt(1000)
        x = shaped.fn(x @ w.T)
    assert float(x.square().mean()) == pytest.approx(1.0, abs=0.15)


@pytest.mark.slow
def test_what_cannot_be_shaped_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"activation\.of=relu.*smooth"):
        dks(of="relu")
    with pytest.raises(ConfigError, match="elementwise"):
        dks(of="swiglu")
