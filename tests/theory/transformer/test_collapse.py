"""Collapse of rank and gradient exponents against the reference's figures, measured on 256 to 1024 features."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from initlab import activations
from initlab.theory.transformer import (
    Attention,
    Norm,
    Perceptron,
    Stream,
    StreamState,
    angle,
    attention_only,
    attention_only_limit,
    recursion,
    uniform,
)
from tests.theory.transformer.figures import figures, needs_figures


def start(cosine: float, length: int) -> torch.Tensor:
    return cosine + (1 - cosine) * torch.eye(length, dtype=torch.float64)


def averaging(v_a: float, *, causal: bool = False) -> Attention:
    return Attention(q2=0.0, k2=0.0, v2=v_a, o2=1.0, heads=4, head=64, scale=0.125, causal=causal)


def post_norm(perceptron: Perceptron, *, v_a: float, skip: float = 1.0, depth: int = 40) -> Stream:
    """Post-norm blocks whose stream enters the attention's sum with factor `skip`."""
    net = uniform(
        depth=depth, width=512, norm=Norm(eps=0.0), norm_at="post", attention=averaging(v_a), perceptron=perceptron
    )
    return replace(
        net,
        branches=tuple(replace(b, kept2=skip**2) if isinstance(b.inner, Attention) else b for b in net.branches),
    )


def blocks(net: Stream, gram: torch.Tensor) -> tuple[StreamState, ...]:
    return recursion(net, gram)[::2]


TANH = Perceptron(activation=activations.tanh(), in2=9.0, out2=1.0)


@needs_figures
def test_attention_alone_with_residual() -> None:
    for row in figures("collapse")["noci"][:3]:
        alpha2 = 1 / row["L"] if row["alpha2"] == "1/L" else 1.0
        found = attention_only(row["L"], branch2=alpha2, value_gain2=1.0, cosine=0.1, length=32)
        assert found.cosine == pytest.approx(row["rho_pred"], abs=1e-4)
        assert found.mean_square == pytest.approx(row["m_pred"], rel=1e-4)
        assert found.cosine == pytest.approx(row["rho_meas"], abs=0.02)
    limit = figures("collapse")["noci"][3]["limit_alpha2_1_over_L"]
    assert attention_only_limit(value_gain2=1.0, cosine=0.1, length=32) == pytest.approx(limit, abs=1e-4)


def test_the_closed_form_is_the_recursion() -> None:
    net = uniform(depth=8, width=64, attention=averaging(0.7), perceptron=replace(TANH, out2=0.0), factor2=0.3)
    found = blocks(net, start(0.2, 16))[-1]
    closed = attention_only(8, branch2=0.3, value_gain2=0.7, cosine=0.2, length=16)
    assert found.cosine == pytest.approx(closed.cosine, rel=1e-9)
    assert found.mean_square == pytest.approx(closed.mean_square, rel=1e-9)


@needs_figures
def test_critical_residual_strength() -> None:
    row = figures("collapse")["critical"]
    found = angle(TANH.activation, in2=row["s1_sq"], out2=row["s2_sq"], value_gain2=row["v_a"])
    assert found.second == pytest.approx(row["V"], rel=1e-3)
    # the reference integrated φ'² by a rule that is 0.2 % off here
    assert found.slope == pytest.approx(row["chi"], rel=3e-3)
    assert found.kappa == pytest.approx(row["kappa"], rel=3e-3)
    assert found.critical == pytest.approx(row["a_c"], rel=3e-3)
    for factor, key in ((0.5, "0.5ac"), (1.0, "1ac"), (2.0, "2ac")):
        states = blocks(post_norm(TANH, v_a=row["v_a"], skip=factor * row["a_c"]), start(0.5, row["T"]))
        seen = [states[10].cosine, states[40].cosine]
        assert seen == pytest.approx(row["rho_block10_40"][key]["pred"], abs=2e-3)
        assert seen == pytest.approx(row["rho_block10_40"][key]["D512"], abs=row["tol"])


def test_the_critical_strength_divides_the_phases() -> None:
    """Just below it 1 - ρ falls at the predicted rate, just above it does not fall at all."""
    near = angle(TANH.activation, in2=9.0, out2=1.0, value_gain2=0.25)
    for factor in (0.9, 1.1):
        skip = factor * near.critical
        states = blocks(post_norm(TANH, v_a=0.25, skip=skip, depth=30), start(1 - 1e-5, 32))
        rate = math.log((1 - states[12].cosine) / (1 - states[4].cosine)) / 8
        predicted = angle(TANH.activation, in2=9.0, out2=1.0, value_gain2=0.25, skip2=skip**2).exponent
        assert rate == pytest.approx(predicted, abs=0.01)
        assert (rate < 0) == (factor < 1)


@needs_figures
def test_post_norm_relu_always_collapses() -> None:
    relu = Perceptron(activation=activations.relu(), in2=2.0, out2=1.0)
    assert angle(relu.activation, in2=2.0, out2=1.0, value_gain2=1.0).critical == math.inf
    row = figures("collapse")["relu_post_full"]
    states = blocks(post_norm(relu, v_a=1.0, depth=12), start(0.1, 32))
    seen = [1 - states[i].cosine for i in (1, 3, 6, 12)]
    assert seen == pytest.approx(row["one_minus_rho_blocks_1_3_6_12_pred"], rel=0.08)
    assert seen == pytest.approx(row["D1024"], rel=0.05)


@needs_figures
def test_gradient_exponent_needs_both_modes() -> None:
    row = figures("collapse")["gradient_log_per_block_L20"]
    critical = figures("collapse")["critical"]
    skip = critical["a_c"] / 2
    found = angle(TANH.activation, in2=9.0, out2=1.0, value_gain2=0.25, skip2=skip**2)
    assert found.log_gradient(20, 32) / 20 == pytest.approx(row["two_mode_pred"], abs=0.003)
    assert math.log(found.incoherent) == pytest.approx(row["incoherent_only"], abs=0.06)
    states = blocks(post_norm(TANH, v_a=0.25, skip=skip), start(0.5, 32))
    walked = math.log(states[20].gradient / states[40].gradient) / 20
    assert walked == pytest.approx(row["two_mode_pred"], abs=0.003)
    assert walked == pytest.approx(row["D512"], abs=0.05)
