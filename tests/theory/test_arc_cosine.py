"""Closed forms of activations with one slope on either side of 0, against the quadrature that knows nothing of them."""

# pyright: reportPrivateUsage=false
from __future__ import annotations

import pytest

from initlab.theory import correlation
from tests.oracles import activation as activation_of

KIN = ("relu", "leaky_relu", "identity", "abs")


@pytest.mark.parametrize("name", KIN)
@pytest.mark.parametrize("q", [1e-3, 0.7, 30.0])
@pytest.mark.parametrize("c", [-0.99, -0.3, 0.0, 0.6, 1 - 1e-6])
def test_closed_forms_are_what_quadrature_finds(name: str, q: float, c: float) -> None:
    activation = activation_of(name)
    assert correlation._two_slopes(activation.fn) is not None
    quadrature = correlation._expect
    scale = quadrature(activation, q, 1.0, slope=False)
    assert correlation.product(activation, q, c) == pytest.approx(
        quadrature(activation, q, c, slope=False), abs=1e-9 * scale
    )
    assert correlation.slope_product(activation, q, c) == pytest.approx(
        quadrature(activation, q, c, slope=True), abs=1e-9
    )
    gap = quadrature(activation, q, c, slope=False, squared_gap=True)
    assert correlation.squared_gap(activation, q, c) == pytest.approx(gap, rel=1e-7)


@pytest.mark.parametrize("name", ["tanh", "gelu", "elu", "hardtanh", "relu6", "softsign", "hardshrink", "sin"])
def test_what_bends_elsewhere_is_left_to_quadrature(name: str) -> None:
    assert correlation._two_slopes(activation_of(name).fn) is None
