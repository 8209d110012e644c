"""Fixed points and trajectories through the layers, against figures computed elsewhere."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest

import initlab
from initlab.activations.naming import parse_activation
from initlab.theory import c_map, critical_points, meanfield, moments_of, trajectory
from initlab.theory.meanfield import fixed_points
from tests.oracles import Differences, activation

Figures = Mapping[str, Any]


def test_fixed_points(oracles: Figures) -> None:
    bad = Differences()
    for row in oracles["fixed_points"]:
        a, what = activation(row["act"]), (row["act"], row["sw"], row["sb"])
        field = meanfield(a, sigma_w=row["sw"], sigma_b=row["sb"])
        found = {
            "q_star": field.q_star, "chi1": field.chi_1, "chi_q": field.chi_q, "c_star": field.c_star,
            "c_slope": field.chi_c, "xi_q": field.xi_q,
        }  # fmt: skip
        for key, value in found.items():
            bad.check((*what, key), value, row[key])
        m = moments_of(a, q=field.q_star)
        bad.check((*what, "mu2/mu1²"), m.slope_fourth / m.slope_second**2, row["mu2_over_mu1sq"])
        assert field.stable and any(math.isclose(p.q, field.q_star, rel_tol=1e-9) for p in field.fixed_points)
        if isinstance(row["xi_c"], str):  # "inf (critical)": the table's σ_w² has as many digits as were printed
            assert field.phase == "critical" and field.xi_c > 1e6 and field.trainable_depth > 1e6, what
        else:
            assert field.phase == ("ordered" if row["chi1"] < 1 else "chaotic"), what
            bad.check((*what, "xi_c"), field.xi_c, row["xi_c"])
            bad.check((*what, "6 xi_c"), field.trainable_depth, row.get("six_xi_c", 6 * row["xi_c"]))
        if isinstance(row["xi_grad"], str) and row["xi_grad"].startswith("explodes"):
            bad.check((*what, "xi_grad"), field.xi_grad, float(row["xi_grad"].split()[3]), tol=6e-5)
        elif not isinstance(row["xi_grad"], str):
            bad.check((*what, "xi_grad"), field.xi_grad, row["xi_grad"])
    bad.none()


def test_joint_trajectories(oracles: Figures) -> None:
    bad = Differences()
    for name, row in oracles["joint_trajectories"].items():
        sw2, sb2 = row["sw2"], row["sb2"]
        q = sw2 * row["input_mean_square"] + sb2
        c = (sw2 * row["input_mean_square"] * row["input_cos"] + sb2) / q
        path = trajectory(
            activation(row["act"]), sigma_w=sw2**0.5, sigma_b=sb2**0.5, depth=max(map(int, row["q"])), q_first=q,
            c_first=c,
        )  # fmt: skip
        for layer, value in row["q"].items():
            bad.check((name, "q", layer), path.q[int(layer) - 1], value)
        for layer, value in row["c"].items():
            bad.check((name, "c", layer), path.c[int(layer) - 1], value)
        for layer, value in row["log10_gradsq_ratio_layer_l_over_L30"].items():
            ratio = path.log10_gradient[int(layer) - 1] - path.log10_gradient[29]
            bad.check((name, "gradient", layer), ratio, value)
    bad.none()


def test_variance_trajectories(oracles: Figures) -> None:
    bad = Differences()
    for name, row in oracles["q_trajectories"].items():
        sigma_w, sigma_b = row["sw2"] ** 0.5, row["sb2"] ** 0.5
        path = trajectory(activation(row["act"]), sigma_w=sigma_w, sigma_b=sigma_b, depth=50, q_first=row["q1"])
        for layer, value in row["q"].items():  # down to 1e-80: relative only
            bad.check((name, layer), path.q[int(layer) - 1], value, tol=0.0)
        for layer, value in row["log10_grad_sq_gain_1_to_L"].items():
            ratio = path.log10_gradient[0] - path.log10_gradient[int(layer) - 1]
            bad.check((name, "gradient", layer), ratio, value)
    bad.none()


def _kappa_1(c: float) -> float:
    """The correlation map of ReLU (Cho & Saul, 2009)."""
    return (math.sqrt(max(0.0, 1 - c * c)) + c * (math.pi - math.acos(c))) / math.pi


@pytest.mark.parametrize("c", [-1.0, -0.7, 0.0, 0.3, 0.5, 0.9, 0.99, 0.9999, 0.99999999, 1.0])
def test_the_correlation_map_of_relu_in_closed_form(c: float) -> None:
    ours = c_map(activation("relu"), c, 1.7, sigma_w2=2.0, sigma_b2=0.0)
    assert ours == pytest.approx(_kappa_1(c), abs=1e-12)
    # near 1 the gap is what matters: 1 - c ← (1 - c) - (2√2/3π)(1 - c)^{3/2}
    if 0.9999 <= c < 1:
        assert 1 - ours == pytest.approx((1 - c) - 2 * 2**0.5 / (3 * math.pi) * (1 - c) ** 1.5, rel=1e-3)


def test_correlation_trajectories(oracles: Figures) -> None:
    bad = Differences()
    scales = {
        "tanh_ordered_1.0_0.05": ("tanh", 1.0, 0.05), "tanh_critical": ("tanh", 1.7609546396067386, 0.05),
        "tanh_chaotic_4.0_0.05": ("tanh", 4.0, 0.05), "tanh_sw2.5_sb0.3": ("tanh", 6.25, 0.09),
        "relu_he": ("relu", 2.0, 0.0), "leaky0.2_he": ("leaky_relu_0.2", 2 / 1.04, 0.0),
    }  # fmt: skip
    for name, row in oracles["c_trajectories_at_q_star"].items():
        act, sw2, sb2 = scales[name.split("_c0")[0]]
        a = activation(act)
        q = meanfield(a, sigma_w=sw2**0.5, sigma_b=sb2**0.5).q_star
        c = row["0"]
        for layer in range(1, max(map(int, row)) + 1):
            # ReLU's closed form, which the test above holds ours to, carries the correlation on to layer 1000
            c = _kappa_1(c) if act == "relu" and layer > 50 else c_map(a, c, q, sigma_w2=sw2, sigma_b2=sb2)
            if str(layer) in row:
                bad.check((name, layer), c, row[str(layer)])
    bad.none()


@pytest.mark.slow
def test_power_laws_without_biases(oracles: Figures) -> None:
    """REFERENCE 3.1: Glorot's tanh is critical and decays by a power law, not exponentially."""
    bad = Differences()
    for name, row in oracles["power_law_sigma_b0"].items():
        a = activation(name)
        sigma_w = critical_points(a, 0.0)[0].sigma_w
        depth = max(map(int, row))
        path = trajectory(a, sigma_w=sigma_w, sigma_b=0.0, depth=depth, q_first=1.0)
        for layer, want in row.items():
            bad.check((name, layer), path.q[int(layer) - 1], want["q"])
            ratio = path.log10_gradient[0] - path.log10_gradient[int(layer) - 1]
            bad.check((name, layer, "gradient"), ratio, want["log10_grad_sq"])
        # tanh, erf at σ_w² = π/4: q ~ 1/(2l); sin: q ~ 1/l
        assert path.q[-1] * depth == pytest.approx(1.0 if name == "sin" else 0.5, rel=0.05)
    bad.none()


@pytest.mark.slow
def test_three_facts_on_gains() -> None:
    """REFERENCE 2.2: where the forward gain's fixed point is unstable, and where a critical point is stable."""
    unstable = {"gelu", "silu", "mish", "hardswish", "squared_relu", "tanhshrink", "softshrink_0.5"}
    for name in (*unstable, "tanh", "sigmoid", "elu", "selu", "softplus"):
        points = fixed_points(activation(name), sigma_w=initlab.gain(activation(name)), sigma_b=0.0)
        at_one = min(points, key=lambda p: abs(p.q - 1))
        assert at_one.q == pytest.approx(1.0, rel=1e-6), name
        assert at_one.stable is (name not in unstable), name
    tanh = meanfield(activation("tanh"), sigma_w=5 / 3, sigma_b=0.0)  # torch's gain: chaotic
    assert (tanh.q_star, tanh.chi_1) == pytest.approx((1.178480, 1.209831), abs=1e-6) and tanh.phase == "chaotic"


def test_two_fixed_points_close_together_are_both_found() -> None:
    """Between two points of the grid the map crosses the diagonal twice, so that no sign changes."""
    a = parse_activation("x*sigmoid(2*x+1)")
    field = meanfield(a, sigma_w=initlab.gain(a), sigma_b=0.0)
    assert [p.q for p in field.fixed_points] == pytest.approx([0.756177, 1.0], abs=1e-5)
    assert [p.stable for p in field.fixed_points] == [True, False]
    # which is what iterating the map says: between the two the signal sinks, below both it grows, above both as well
    assert not field.stable
    for start, grows in ((0.98, False), (0.8, False), (0.7, True), (1.02, True)):
        q = trajectory(a, sigma_w=initlab.gain(a), sigma_b=0.0, depth=30, q_first=start).q[-1]
        assert (q > start) is grows, start
    # a scale that every signal keeps is not one fixed point
    relu = meanfield(activation("relu"), sigma_w=2**0.5, sigma_b=0.0)
    assert relu.fixed_points == () and relu.stable


@pytest.mark.parametrize(
    ("name", "start", "end"),
    [
        ("squared_relu", 1.1, math.inf),
        ("squared_relu", 0.9, 0.0),
        ("tanhshrink", 1.1, math.inf),
        ("softshrink_0.5", 0.5, 0.0),
        ("tanhshrink", 0.9, 0.0),
        ("gelu", 1e80, math.inf),
    ],
)
def test_a_trajectory_that_leaves_the_numbers_says_where_to(name: str, start: float, end: float) -> None:
    a = activation(name)
    path = trajectory(a, sigma_w=initlab.gain(a), sigma_b=0.0, depth=120, q_first=start, c_first=0.5)
    if (name, start) == ("tanhshrink", 1.1):  # linear far out: it grows geometrically
        assert path.q[-1] > 1e12
    else:
        assert path.q[-1] == end
    assert not any(math.isnan(v) for v in (*path.q, *path.c, *path.log10_gradient))
