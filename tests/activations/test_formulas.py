"""Each entry against an independent formula: values, slopes, kinks, and numbers so large that they overflow."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from initlab import activations
from initlab.activations.slope import derivative
from initlab.testing.activation_formula import FormulaCases, MomentCases
from initlab.theory import gain
from tests.activations.formulas import ENTRIES, OTHERS

#: growing like a power: no number holds φ(1e4) squared and so on
_UNBOUNDED_SLOPE = ("squared_relu", "squared_leaky_relu", "poly_relu", "xielu", "star_relu", "blend", "gcu")


def test_every_entry_is_tested() -> None:
    tested = {a.name for a, _ in ENTRIES.values()} | {"expr"}
    assert set(activations.factories()) <= tested | set(OTHERS)


class TestFormulas(FormulaCases, MomentCases):
    """Every entry against its formula and, for its moments, against samples."""

    @pytest.fixture(autouse=True, params=ENTRIES)
    def chosen(self, request: pytest.FixtureRequest) -> None:
        activation, self.formula = ENTRIES[request.param]
        self.factory = lambda: activation
        self.largest_slope = None if activation.name in _UNBOUNDED_SLOPE else 4.5
        self.slope_tolerance = 3e-7 if activation.name != "softplus" else 1e-8


def test_squareplus_keeps_its_digits_below_zero() -> None:
    """(x + √(x² + 4))/2 = 1/|x| to first order there; as written it cancels to 0 in single precision."""
    x = torch.tensor([-1e3, -1e4])
    torch.testing.assert_close(activations.squareplus().fn(x), -1 / x, rtol=1e-5, atol=0)


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


def test_the_published_start_of_smu_is_a_leaky_relu_that_does_not_learn() -> None:
    """μ = 10⁶ (Biswas et al.): the hinge, its gain, and no gradient of μ; at the default there is one."""
    published, ours = activations.smu(mu=1e6), activations.smu()
    assert gain(published) == pytest.approx(gain(activations.leaky_relu(negative_slope=0.25)), rel=1e-6)
    x = torch.randn(10_000, generator=torch.Generator().manual_seed(0))
    slopes = []
    for activation in (published, ours):
        module = activation.make()
        module(x).sum().backward()
        slopes.append(float(module.get_parameter("mu").grad or 0.0) / len(x))
    torch.testing.assert_close(published.make()(x), torch.nn.functional.leaky_relu(x, 0.25), rtol=1e-6, atol=1e-6)
    assert abs(slopes[0]) < 1e-9 and abs(slopes[1]) > 1e-2


def test_acon_starts_at_the_papers_special_case() -> None:
    """p₁ = 1, p₂ = 0, β = 1 is SiLU for every unit; drawn from N(0, 1), as in the authors' code, E[φ²] differs much."""
    x = torch.randn(4000, 64, generator=torch.Generator().manual_seed(0))
    module = activations.acon_c(per_channel=True).make(64)
    torch.testing.assert_close(module(x), torch.nn.functional.silu(x))
    with torch.no_grad():
        for name in ("p1", "p2"):
            module.get_parameter(name).normal_(generator=torch.Generator().manual_seed(len(name) + ord(name[1])))
        squares = module(x).square().mean(0)
    assert float(squares.max()) > 30 * float(squares.min())
