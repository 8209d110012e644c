"""Gaussian moments of the catalogue against figures computed once by composite Gauss-Legendre of another make."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest
import torch

from initlab import activations as A
from initlab.spec import Activation
from initlab.theory.quadrature import moments, moments_of

#: E[φ], E[φ²], E[φ'²] for h ~ N(0, 1): 64-point Gauss-Legendre panels broken at the kinks, two panelings agreeing to
#: 2e-14; the smooth ones agree with 160-point Gauss-Hermite to 1e-15. Ten digits of 15.
FIGURES: dict[str, tuple[Activation, float, float, float]] = {
    "identity": (A.identity(), 0, 1, 1),
    "relu": (A.relu(), 0.3989422804, 0.5, 0.5),
    "leaky_relu_0.01": (A.leaky_relu(negative_slope=0.01), 0.3949528576, 0.50005, 0.50005),
    "leaky_relu_0.1": (A.leaky_relu(negative_slope=0.1), 0.3590480524, 0.505, 0.505),
    "leaky_relu_0.2": (A.leaky_relu(negative_slope=0.2), 0.3191538243, 0.52, 0.52),
    "prelu_0.25": (A.prelu(), 0.2992067103, 0.53125, 0.53125),
    "rrelu_eval_0.2291667": (A.rrelu(), 0.3075180078, 0.5262586806, 0.5262586806),
    "relu6": (A.relu6(), 0.3989422802, 0.4999999981, 0.499999999),
    "squared_relu": (A.squared_relu(), 0.5, 1.5, 2),
    "squared_leaky_relu": (A.squared_leaky_relu(), 0.625, 1.59375, 2.125),
    "golu": (A.golu(), 0.258856122780777, 0.31963435305090176, 0.3475001486002479),
    "xielu": (A.xielu(), 0.5284164578132449, 1.7355151357425043, 2.0703353493298624),
    "poly_relu": (A.poly_relu(), 0.5656089470680994, 2.2754272897809615, 3.3522648723600126),
    "elu": (A.elu(), 0.1605205723, 0.6449454175, 0.6681020012),
    "elu_0.5": (A.elu(alpha=0.5), 0.2797314263, 0.5362363544, 0.5420255003),
    "selu": (A.selu(), 0, 1, 1.071574992),
    "celu_2": (A.celu(alpha=2.0), 0.09817994984, 0.7493624897, 0.7615782919),
    "gelu": (A.gelu(), 0.2820947918, 0.4252214826, 0.4558508656),
    "gelu_tanh": (A.gelu_tanh(), 0.2820385881, 0.425193711, 0.455817846),
    "silu": (A.silu(), 0.2066209641, 0.3557755198, 0.3794823516),
    "quick_gelu_1.702": (A.quick_gelu(), 0.2823305528, 0.4219528069, 0.4495492005),
    "mish": (A.mish(), 0.2404038884, 0.4523421924, 0.4790837584),
    "softplus": (A.softplus(), 0.8060591833, 0.9212459089, 0.2933790359),
    "hardswish": (A.hardswish(), 0.1662167007, 0.3315673751, 0.3585315172),
    "hardsigmoid": (A.hardsigmoid(), 0.5, 0.2776390911, 0.02770278344),
    "hardtanh": (A.hardtanh(), 0, 0.516058551, 0.6826894921),
    "tanh": (A.tanh(), 0, 0.3942944904, 0.4644029024),
    "lecun_tanh": (A.lecun_tanh(), 0, 0.7504302763, 0.8039891133),
    "sigmoid": (A.sigmoid(), 0.5, 0.2933790359, 0.04483624135),
    "logsigmoid": (A.logsigmoid(), -0.8060591833, 0.9212459089, 0.2933790359),
    "erf": (A.erf(), 0, 0.4645590544, 0.5694100347),
    "arctan": (A.arctan(), 0, 0.4497009164, 0.5),
    "softsign": (A.softsign(), 0, 0.1830140213, 0.2276713404),
    "sin": (A.sin(), 0, 0.4323323584, 0.5676676416),
    "sin_w0_30": (A.sin(w0=30.0), 0, 0.5, 450),
    "cos": (A.cos(), 0.6065306597, 0.5676676416, 0.4323323584),
    "snake_1": (A.snake(), 0.4323323584, 1.307374291, 1.499832269),
    "tanhshrink": (A.tanhshrink(), 0, 0.1828834712, 0.2529918832),
    "softshrink_0.5": (A.softshrink(), 0, 0.4192785201, 0.6170750775),
    "hardshrink_0.5": (A.hardshrink(), 0, 0.9691404042, 0.6170750775),
    "abs": (A.abs(), 0.7978845608, 1, 1),
    "gaussian": (A.gaussian(), 0.7071067812, 0.5773502692, 0.1924500897),
}
#: those of which the figures come from a quadrature of their own: the file has them under transformers, to fewer digits
LATER = ("golu", "xielu", "poly_relu", "squared_leaky_relu")
every = pytest.mark.parametrize("name", FIGURES)


@every
def test_moments(name: str) -> None:
    activation, mean, second, slope = FIGURES[name]
    m = moments_of(activation)
    assert (m.mean, m.second, m.slope_second) == pytest.approx((mean, second, slope), rel=1e-8, abs=1e-9)


def oracle() -> Path:
    data = os.environ.get("INITLAB_DATA")
    shared = Path(data).parent if data else Path(__file__).parents[3] / "shared"
    return shared / "oracles" / "constants.json"


@pytest.mark.skipif(not oracle().exists(), reason="the file of constants is not here; its figures are copied above")
def test_moments_to_all_digits() -> None:
    stored = json.loads(oracle().read_text(encoding="utf-8"))["activations"]
    assert set(stored) == set(FIGURES) - set(LATER)
    for name in stored:
        activation = FIGURES[name][0]
        m = moments_of(activation)
        expected = tuple(stored[name][key] for key in ("E_phi", "E_phi2", "E_dphi2", "E_dphi4"))
        found = (m.mean, m.second, m.slope_second, m.slope_fourth)
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-9), name


@pytest.mark.parametrize("q", [0.25, 1.0, 4.0])
def test_closed_forms(q: float) -> None:
    erf = moments(A.erf().fn, q=q)
    assert erf.second == pytest.approx(2 / math.pi * math.asin(2 * q / (1 + 2 * q)), abs=1e-10)
    assert erf.slope_second == pytest.approx(4 / math.pi / math.sqrt(1 + 4 * q), abs=1e-10)
    assert moments(A.sin().fn, q=q).second == pytest.approx((1 - math.exp(-2 * q)) / 2, abs=1e-10)
    assert moments(A.gelu().fn, q=q).mean == pytest.approx(q / math.sqrt(2 * math.pi * (1 + q)), abs=1e-10)
    assert moments(A.gaussian().fn, q=q).mean == pytest.approx(1 / math.sqrt(1 + q), abs=1e-10)
    star = moments(A.star_relu().fn, q=q)
    assert star.mean == pytest.approx(0.8944 * q / 2 - 0.4472, abs=1e-10)


def test_star_relu_is_standardised() -> None:
    m = moments_of(A.star_relu(scale=2 / math.sqrt(5), bias=-1 / math.sqrt(5)))
    assert (m.mean, m.variance) == pytest.approx((0, 1), abs=1e-10)


# ------------------------------------------------------------------ several units
WIDE = {
    "glu": A.glu(), "geglu": A.geglu(), "swiglu": A.swiglu(), "reglu": A.reglu(), "crelu": A.crelu(),
    "powlu": A.powlu(),
    "maxmin": A.maxmin(), "maxout-2": A.maxout(), "maxout-3": A.maxout(pieces=3), "maxout-5": A.maxout(pieces=5),
}  # fmt: skip


@pytest.mark.parametrize("q", [0.3, 1.0, 5.0])
@pytest.mark.parametrize("activation", WIDE.values(), ids=WIDE.keys())
def test_moments_of_several_units_against_samples(activation: Activation, q: float) -> None:
    """400,000 units sent: mean, mean square, and the squared Jacobian by a random projection of its rows."""
    received, sent = activation.units
    groups, rows = 60, 400_000 // 60 // sent + 1
    generator = torch.Generator().manual_seed(3)
    group = max(received, 2)
    h = math.sqrt(q) * torch.randn(rows, groups * group, generator=generator, dtype=torch.float64)
    h.requires_grad_(True)
    out = activation.make(h.shape[1])(h)
    sent_on = out.detach()
    # E over random signs of ‖Jᵀs‖² is ‖J‖²
    signs = torch.randint(0, 2, out.shape, generator=generator).double() * 2 - 1
    (back,) = torch.autograd.grad((out * signs).sum(), h)
    assert activation.moments is not None
    mean, second, jacobian = activation.moments(q)
    units = out.numel()
    assert float(sent_on.mean()) == pytest.approx(mean, abs=5 * math.sqrt(second / units * 2))
    assert float(sent_on.square().mean()) == pytest.approx(second, rel=0.03)
    assert float(back.square().sum()) / units == pytest.approx(jacobian, rel=0.03)


def test_moments_of_several_units_in_closed_form() -> None:
    # E max of two is 1/√π, of three 3/(2√π); E max² of two is 1 (the other one's min² is as large)
    assert WIDE["maxout-2"].moments is not None and WIDE["maxout-3"].moments is not None
    assert WIDE["maxout-2"].moments(4.0) == pytest.approx((2 / math.sqrt(math.pi), 4.0, 1.0), abs=1e-10)
    assert WIDE["maxout-3"].moments(1.0)[0] == pytest.approx(1.5 / math.sqrt(math.pi), abs=1e-10)
    # E[relu²] = q/2 and E[relu'²] = 1/2
    assert WIDE["reglu"].moments is not None
    assert WIDE["reglu"].moments(3.0) == pytest.approx((0, 4.5, 3.0), abs=1e-9)
    assert WIDE["glu"].moments is not None
    m = moments(torch.sigmoid, q=2.0)
    assert WIDE["glu"].moments(2.0) == pytest.approx((0, 2 * m.second, m.second + 2 * m.slope_second), abs=1e-10)


def test_the_gate_of_powlu() -> None:
    """Moments and extremes against figures computed with 25 digits."""
    gate = A.powlu().gate
    assert gate is not None
    m = moments(gate.fn, kinks=(0.0,))
    assert (m.mean, m.second, m.slope_second) == pytest.approx((0.20422832, 0.43125716, 0.5287174), rel=1e-6)
    x = torch.tensor([1.0, 12.897, 100.0], dtype=torch.float64)
    assert gate.fn(x).tolist() == pytest.approx([0.7310586, 5.3163, 3.511], rel=1e-4)
    at = torch.tensor([-1e-9, 1e-12], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(gate.fn(at).sum(), at)
    assert slope.tolist() == pytest.approx([0.5, 0.0], abs=1e-6)
