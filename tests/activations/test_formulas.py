"""Each entry against an independent formula: values, slopes, kinks, and numbers so large that they overflow."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from initlab import activations
from initlab.activations.slope import derivative
from initlab.spec import Activation
from tests.activations.formulas import ENTRIES, OTHERS, Formula

CASES = pytest.mark.parametrize(("activation", "formula"), ENTRIES.values(), ids=ENTRIES.keys())
#: growing like a power: no number holds φ(1e4) squared and so on
_UNBOUNDED_SLOPE = ("squared_relu", "star_relu", "blend", "gcu")


def points() -> torch.Tensor:
    """Random points and a few round ones, none of them at a kink."""
    drawn = torch.empty(4000, dtype=torch.float64).normal_(0, 3, generator=torch.Generator().manual_seed(0))
    return torch.cat([drawn, torch.linspace(-12, 12, 401, dtype=torch.float64) + 1e-3])


def test_every_entry_is_tested() -> None:
    tested = {a.name for a, _ in ENTRIES.values()} | {"expr"}
    assert set(activations.factories()) <= tested | set(OTHERS)


@CASES
def test_values(activation: Activation, formula: Formula) -> None:
    x = points()
    np.testing.assert_allclose(activation.fn(x).numpy(), formula(x.numpy()), rtol=1e-9, atol=3e-9)
    assert activation.fn(x).dtype == torch.float64
    single = activation.fn(x.float())
    assert single.dtype == torch.float32
    np.testing.assert_allclose(single.numpy(), formula(x.float().double().numpy()), rtol=3e-5, atol=3e-5)


@CASES
def test_slopes_against_central_differences(activation: Activation, formula: Formula) -> None:
    x, step = points(), 1e-5
    for kink in activation.kinks:
        x = x[(x - kink).abs() > 3 * step]
    slope = derivative(activation.fn, x).numpy()
    expected = (formula(x.numpy() + step) - formula(x.numpy() - step)) / (2 * step)
    np.testing.assert_allclose(slope, expected, rtol=1e-5, atol=3e-7 if activation.name != "softplus" else 1e-8)


@CASES
def test_kinks_are_where_the_function_or_its_slope_jumps(activation: Activation, formula: Formula) -> None:
    for kink in activation.kinks:
        sides = torch.tensor([kink - 1e-9, kink + 1e-9], dtype=torch.float64)
        jump = torch.diff(torch.stack([activation.fn(sides), derivative(activation.fn, sides)])).abs()
        assert float(jump.max()) > 1e-2, kink
    x = torch.linspace(-10, 10, 400_001, dtype=torch.float64) + 1e-7
    for values in (activation.fn(x), derivative(activation.fn, x)):
        gap = torch.diff(values).abs()
        for kink in activation.kinks:
            gap[(x[:-1] <= kink) & (x[1:] >= kink)] = 0
        assert float(gap.max()) < 5e-3


@CASES
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_far_out_values_and_slopes_are_finite(activation: Activation, formula: Formula, dtype: torch.dtype) -> None:
    x = torch.tensor([-1e4, -1e3, -90.0, -50.0, -1e-30, 0.0, 1e-30, 50.0, 90.0, 1e3, 1e4], dtype=dtype)
    module = activation.make(11)
    leaf = x[None].clone().requires_grad_(True)
    out = module.to(dtype)(leaf)
    out.sum().backward()
    slope = derivative(activation.fn, x)
    for values in (activation.fn(x), slope, out, leaf.grad):
        assert values is not None and bool(torch.isfinite(values).all())
    if activation.name not in _UNBOUNDED_SLOPE:
        assert float(slope.abs().max()) <= 4.5
    with np.errstate(over="ignore", invalid="ignore"):
        expected = formula(x.double().numpy())
    known = np.isfinite(expected)
    # next to cancellation only the absolute error is small
    np.testing.assert_allclose(activation.fn(x).numpy()[known], expected[known], rtol=2e-5, atol=1e-3)


def test_squareplus_keeps_its_digits_below_zero() -> None:
    """(x + √(x² + 4))/2 = 1/|x| to first order there; as written it cancels to 0 in single precision."""
    x = torch.tensor([-1e3, -1e4])
    torch.testing.assert_close(activations.squareplus().fn(x), -1 / x, rtol=1e-5, atol=0)


@pytest.mark.parametrize("name", sorted(activations.factories()))
def test_half_precision_keeps_its_dtype(name: str) -> None:
    activation = activations.factories()[name](**({"f": "x*sigmoid(x)"} if name == "expr" else _needs(name)))
    first = activation.sequence(1)[0]
    units = first.units_before(4)
    x = torch.randn(3, units, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
    out = first.make(units).to(torch.bfloat16)(x)
    assert out.dtype == torch.bfloat16 and bool(torch.isfinite(out).all())


def _needs(name: str) -> dict[str, object]:
    return {
        "per_layer": {"layers": ["tanh"]},
        "alternate": {"of": ["relu", "tanh"]},
        "blend": {"of": ["relu", "tanh"]},
    }.get(name, {})


@pytest.mark.parametrize("start", ["leaky_relu", "relu", "gelu", "silu", "tanh", "sigmoid"])
def test_a_rational_function_starts_near_what_it_was_fitted_to(start: str) -> None:
    """The best rational function of these degrees is within 0.1 of a hinge and 0.02 of a smooth function on [-3, 3]."""
    activation = activations.pau(start=start)  # pyright: ignore[reportArgumentType]
    x = torch.linspace(-3, 3, 601, dtype=torch.float64)
    target = activations.parse_activation(start).fn(x)
    assert float((activation.fn(x) - target).abs().max()) < (0.1 if "relu" in start else 0.02)


def test_a_rational_function_is_the_quotient() -> None:
    """Both branches, inside of ±1 and divided by x⁴ outside, against the quotient with exact powers."""
    activation = activations.pau()
    module = activation.make().double()
    with torch.no_grad():
        module.get_parameter("p").copy_(torch.tensor([0.3, 1.0, -0.5, 0.2, 0.1, -0.05], dtype=torch.float64))
        module.get_parameter("q").copy_(torch.tensor([0.7, -1.1, 0.2, 0.4], dtype=torch.float64))
    x = torch.cat([torch.linspace(-5, 5, 1001), torch.tensor([-1e4, -1.0, 1.0, 50.0, 1e4])]).double()
    z = x.numpy()
    p = sum(c * z**k for k, c in enumerate([0.3, 1.0, -0.5, 0.2, 0.1, -0.05]))
    q = sum(c * z ** (k + 1) for k, c in enumerate([0.7, -1.1, 0.2, 0.4]))
    np.testing.assert_allclose(module(x).detach().numpy(), p / (1 + np.abs(q)), rtol=1e-9)
    assert bool(torch.isfinite(derivative(module, x)).all())
    # in single precision, where x⁵ overflows
    far = torch.tensor([-1e9, 1e9])
    assert bool(torch.isfinite(activation.make()(far)).all())
    assert bool(torch.isfinite(derivative(activation.make(), far)).all())
