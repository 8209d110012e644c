"""Gaussian moments and gains against constants computed elsewhere, closed forms, and Monte Carlo."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from initlab import activations
from initlab.errors import ConfigError
from initlab.spec import Activation
from initlab.theory import gain, gaussian_mean, moments

# E[φ], E[φ²], E[φ'²] under N(0, 1); 160-point Gauss-Hermite and a composite rule agree to 1e-14 on the smooth ones
CONSTANTS = {
    "identity": (0.0, 1.0, 1.0),
    "relu": (0.39894228040143267, 0.5, 0.5),
    "elu": (0.16052057, 0.64494542, 0.66810200),
    "selu": (0.0, 1.0, 1.07157499),
    "gelu": (0.28209479177387814, 0.42522148, 0.45585087),
    "silu": (0.20662096, 0.35577552, 0.37948235),
    "tanh": (0.0, 0.39429449, 0.46440290),
    "sigmoid": (0.5, 0.29337904, 0.04483624),
    "softplus": (0.80605918, 0.92124591, 0.29337904),
}
GAINS = {
    "relu": math.sqrt(2),
    "tanh": 1.592537,
    "sigmoid": 1.846229,
    "gelu": 1.533530,
    "silu": 1.676532,
    "elu": 1.245198,
    "selu": 1.0,
    "softplus": 1.041867,
}


def named(name: str) -> Activation:
    made = getattr(activations, name)()
    assert isinstance(made, Activation)
    return made


@pytest.mark.parametrize("name", CONSTANTS)
def test_moments_reproduce_the_constants(name: str) -> None:
    activation = named(name)
    m = moments(activation.fn, kinks=activation.kinks)
    assert (m.mean, m.second, m.slope_second) == pytest.approx(CONSTANTS[name], abs=1e-8)


@pytest.mark.parametrize("name", GAINS)
def test_forward_gain(name: str) -> None:
    assert gain(named(name)) == pytest.approx(GAINS[name], abs=1e-6)


@pytest.mark.parametrize("q", [0.01, 0.3, 1.0, 7.0, 100.0])
def test_closed_forms_at_any_variance(q: float) -> None:
    relu, sine = named("relu"), Activation(name="sin", make=torch.nn.Identity, fn=torch.sin)
    m = moments(relu.fn, kinks=relu.kinks, q=q)
    assert (m.mean, m.second, m.slope_second) == pytest.approx((math.sqrt(q / (2 * math.pi)), q / 2, 0.5), rel=1e-12)
    s = moments(sine.fn, q=q)
    assert s.second == pytest.approx((1 - math.exp(-2 * q)) / 2, rel=1e-9)
    assert s.slope_second == pytest.approx((1 + math.exp(-2 * q)) / 2, rel=1e-9)


def test_quadrature_against_monte_carlo() -> None:
    z = torch.empty(2_000_000, dtype=torch.float64).normal_(generator=torch.Generator().manual_seed(0))
    for name in ("gelu", "silu", "tanh", "elu"):
        activation = named(name)
        expected = float((activation.fn(z) ** 2).mean())
        assert moments(activation.fn, kinks=activation.kinks).second == pytest.approx(expected, rel=5e-3)


def test_a_kink_is_found_where_none_was_declared() -> None:
    def shifted(x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x - 0.3)

    exact = 0.3 * 0.0 + math.exp(-0.045) / math.sqrt(2 * math.pi) - 0.3 * 0.5 * math.erfc(0.3 / math.sqrt(2))
    assert gaussian_mean(shifted, kinks=(0.3,)) == pytest.approx(exact, abs=1e-14)
    assert gaussian_mean(shifted) == pytest.approx(exact, abs=1e-14)
    # what a rule without adaptation makes of it
    nodes, weights = (torch.from_numpy(a) for a in np.polynomial.hermite_e.hermegauss(100))
    assert abs(float((weights * shifted(nodes)).sum()) / math.sqrt(2 * math.pi) - exact) > 1e-5


def test_torch_gain_and_its_absence() -> None:
    assert gain(named("tanh"), "torch") == pytest.approx(5 / 3)
    assert gain(activations.leaky_relu(negative_slope=0.2), "torch") == pytest.approx(math.sqrt(2 / 1.04))
    with pytest.raises(ConfigError, match="torch has no gain for gelu"):
        gain(named("gelu"), "torch")
    with pytest.raises(ConfigError, match="no forward gain"):
        gain(Activation(name="nothing", make=torch.nn.Identity, fn=torch.zeros_like))
