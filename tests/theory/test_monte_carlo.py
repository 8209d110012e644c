"""Twelve activations that nobody has catalogued, written as formulas: what theory says, and networks of width 2048."""

from __future__ import annotations

import math
from functools import cache

import pytest
import torch
from torch import Tensor

from initlab import theory
from initlab.activations.naming import parse_activation
from initlab.run.inspect import inspect
from initlab.spec import InspectSettings
from initlab.theory import MeanField, meanfield
from initlab.theory.finite_width import log_q_variance
from tests.cases import experiment

pytestmark = pytest.mark.slow

WIDTH, DEPTH, EXAMPLES, SEEDS = 2048, 20, 64, 4

#: the fixed point q = 1 of the forward gain attracts
STABLE = (
    "tanh(x) + 0.1*x",  # odd, unbounded
    "x/(1 + x**2)",  # odd, bounded, falls off
    "sign(x)*log1p(abs(x))",  # odd, unbounded, bent at 0
    "exp(-abs(x))",  # even, bounded, a kink
    "x**2/(1 + x**2)",  # even, bounded
    "max(min(x, 1), 0.2*x - 0.2)",  # piecewise linear, two kinks
    "x*relu(1 - abs(x)/3)",  # zero outside of an interval
    "cos(x) - x/2",  # neither odd nor even
)
#: it repels, and there is a critical point that attracts
REPAIRED = ("x*sigmoid(3*x)", "relu(x)*erf(x)")
#: it repels, and there is none
HOPELESS = ("sqrt(1 + x**2) - 1", "relu(x)**1.5")


def field_at_gain(formula: str) -> MeanField:
    activation = parse_activation(formula)
    return meanfield(activation, sigma_w=theory.gain(activation), sigma_b=0.0)


@cache
def mean_squares() -> dict[str, Tensor]:
    """Formula → mean square of h, (seeds, layers), of networks with matrices; the first layer's inputs have 1."""
    activations = {f: parse_activation(f) for f in STABLE}
    gains = {f: theory.gain(a) for f, a in activations.items()}
    rows: dict[str, list[list[float]]] = {f: [] for f in STABLE}
    for seed in range(SEEDS):
        g = torch.Generator().manual_seed(seed)
        x = torch.empty(EXAMPLES, WIDTH).normal_(generator=g)
        x = x / x.square().mean(1, keepdim=True).sqrt()
        w = torch.empty(WIDTH, WIDTH)
        hs = {f: x @ w.normal_(0, WIDTH**-0.5, generator=g).T for f in STABLE}
        for f in STABLE:
            rows[f].append([float(hs[f].square().mean())])
        for _ in range(DEPTH - 1):
            w.normal_(0, WIDTH**-0.5, generator=g)
            for f, a in activations.items():
                hs[f] = gains[f] * a.fn(hs[f]) @ w.T
                rows[f][-1].append(float(hs[f].square().mean()))
    return {f: torch.tensor(r) for f, r in rows.items()}


# one worker: the networks are drawn once
@pytest.mark.xdist_group("mean squares")
@pytest.mark.parametrize("formula", STABLE)
def test_the_forward_gain_keeps_the_second_moment(formula: str) -> None:
    """1 ± 5 % through layer 20, in the mean over four networks.

    One network's ln q has the variance κ/N · (1 + χ_q² + χ_q⁴ + ...) with κ = E[φ⁴]/E[φ²]² - 1: for these formulas a
    standard deviation of 4 % at most, and of 2 % in the mean.
    """
    field = field_at_gain(formula)
    assert field.stable and field.q_star == pytest.approx(1.0, rel=1e-6)
    spread = log_q_variance(parse_activation(formula), 1.0, WIDTH) / (1 - field.chi_q**2)
    assert math.sqrt(spread / SEEDS) < 0.02, "or the tolerance below says nothing"
    assert mean_squares()[formula].mean(0).tolist() == pytest.approx([1.0] * DEPTH, abs=0.05)


def walk(formula: str, *, sigma_w: float, sigma_b: float, q: float, networks: int = 400) -> list[float]:
    """Mean square by layer, in the mean over networks of width 2048 that one input of mean square `q` at layer 1 sees.

    Given a layer, the next one's pre-activations are independent and N(0, σ_w²‖φ‖²/N + σ_b²): for one input that is the
    law of the network exactly, without its matrices. What a stable point lets through at χ_q = 0.97 needs the mean over
    hundreds of networks: the ln q of one has a standard deviation of 0.2 at layer 20.
    """
    fn, g = parse_activation(formula).fn, torch.Generator().manual_seed(0)
    scale = torch.full((networks, 1), q)
    found: list[float] = []
    for _ in range(DEPTH):
        h = torch.empty(networks, WIDTH).normal_(generator=g) * scale.sqrt()
        found.append(float(h.square().mean()))
        scale = sigma_w**2 * fn(h).square().mean(1, keepdim=True) + sigma_b**2
    return found


@pytest.mark.parametrize("formula", [*REPAIRED, *HOPELESS])
def test_an_unstable_fixed_point_is_left_on_both_sides(formula: str) -> None:
    field = field_at_gain(formula)
    assert not field.stable and field.chi_q > 1
    sigma_w = theory.gain(parse_activation(formula))
    below, above = (walk(formula, sigma_w=sigma_w, sigma_b=0.0, q=q) for q in (0.8, 1.25))
    assert below[-1] < 0.8 * below[0] and above[-1] > 1.25 * above[0]


def advice(formula: str) -> str:
    """What `inspect` says of a network with the formula at the forward gain."""
    said = inspect(
        experiment(
            "data=digits", "model=mlp", "model.depth=4", "model.width=64", "init=he", "activation=expr",
            f"activation.f='{formula}'", "tracking=none",
        ),
        InspectSettings(examples=32, jacobian=False, ntk_examples=0, gradient_quotient=False),
    )  # fmt: skip
    return "\n".join(said.advice)


@pytest.mark.parametrize("formula", REPAIRED)
def test_inspect_says_unstable_and_recommends_a_point_that_holds(formula: str) -> None:
    said = advice(formula)
    assert "is unstable (χ_q = " in said
    point = theory.critical_point(parse_activation(formula))
    assert point is not None and point.stable and point == theory.stable_critical_point(parse_activation(formula))
    assert f"stable critical point σ_w = {point.sigma_w:.6g}, σ_b = {point.sigma_b:g}" in said
    path = walk(formula, sigma_w=point.sigma_w, sigma_b=point.sigma_b, q=point.q_star)
    assert path == pytest.approx([point.q_star] * DEPTH, rel=0.10)
    field = meanfield(parse_activation(formula), sigma_w=point.sigma_w, sigma_b=point.sigma_b)
    assert field.stable and field.phase == "critical" and field.chi_1 == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("formula", HOPELESS)
def test_inspect_says_unstable_and_recommends_nothing_where_nothing_holds(formula: str) -> None:
    said = advice(formula)
    assert "is unstable (χ_q = " in said and "stable critical point" not in said
    assert theory.stable_critical_point(parse_activation(formula)) is None


@pytest.mark.parametrize("formula", STABLE[:3])
def test_inspect_calls_a_stable_one_stable(formula: str) -> None:
    assert "unstable" not in advice(formula)
