"""c* and ξ_c of activations whose second derivative jumps, against a double sum cut at the jump on both lines."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from initlab.activations import parse_activation
from initlab.spec import Activation
from initlab.theory import meanfield
from initlab.theory.correlation import kinks_of, squared_gap

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(60)
_FINE = (0.25, 0.5, 1, 1.5, 2, 3, 4, 5, 6, 8)


def _line(cuts: list[float]) -> tuple[np.ndarray, np.ndarray]:
    borders = np.unique(np.clip(np.concatenate([np.arange(-9, 9.5, 1.0), cuts]), -9, 9))
    half, middle = np.diff(borders)[:, None] / 2, (borders[:-1, None] + borders[1:, None]) / 2
    z = middle + half * _NODES
    return z.ravel(), (half * _WEIGHTS * np.exp(-z * z / 2) / math.sqrt(2 * math.pi)).ravel()


def _gap(activation: Activation, q: float, c: float, kink: float = 0.0) -> float:
    """E[(φ(u₁) - φ(u₂))²] of a function with one kink."""
    s, root = math.sqrt((1 - c) * (1 + c)), math.sqrt(q)

    def phi(h: np.ndarray) -> np.ndarray:
        return activation.fn(torch.from_numpy(h)).numpy()

    at = kink / root
    total = 0.0
    for z1, w1 in zip(*_line([at, *(at + sign * s * m for m in _FINE for sign in (-1, 1))]), strict=True):
        z2, w2 = _line([(at - c * z1) / s, z1 * (1 - c) / s])
        total += w1 * float(w2 @ (phi(np.array([root * z1])) - phi(root * (c * z1 + s * z2))) ** 2)
    return total


@pytest.mark.parametrize("name", ["softsign", "elu", "celu", "selu", "leaky_relu", "isrlu"])
@pytest.mark.parametrize(("q", "c"), [(0.08, 0.86), (0.08, 1 - 1e-4), (1.5, 0.99), (4.0, 0.5)])
def test_squared_gap_is_that_of_the_cut_double_sum(name: str, q: float, c: float) -> None:
    activation = parse_activation(name)
    assert squared_gap(activation, q, c) == pytest.approx(_gap(activation, q, c), rel=1e-4)


def test_softsign_just_above_criticality() -> None:
    found = meanfield(parse_activation("softsign"), sigma_w=1.4, sigma_b=0.05)
    assert found.c_star == pytest.approx(0.8582595, abs=1e-6)
    assert found.xi_c == pytest.approx(104.2768, rel=1e-5)


@pytest.mark.parametrize(("name", "at"), [("softsign", (0.0,)), ("elu", (0.0,)), ("tanh", ()), ("gelu", ())])
def test_jumps_of_the_second_derivative_are_found(name: str, at: tuple[float, ...]) -> None:
    activation = parse_activation(name)
    assert kinks_of(activation.fn, activation.kinks) == pytest.approx(at, abs=1e-6)
