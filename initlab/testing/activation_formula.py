"""Contract tests of an activation's formula and of its Gaussian moments."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from initlab import theory
from initlab.activations.slope import derivative
from initlab.testing.activation_module import Formula, Subject
from initlab.theory.quadrature import moments

_SAMPLES = 200_000


class FormulaCases(Subject):
    """Tests of the function against its formula; each is skipped where none is stated."""

    def stated(self) -> Formula:
        """The formula; skips the test where there is none."""
        if self.formula is None:
            pytest.skip("no formula of one number is stated")
        return self.formula

    def test_values_of_the_formula(self) -> None:
        """φ in float64 and float32 against `formula`."""
        formula, fn, x = self.stated(), self.activation().fn, points()
        np.testing.assert_allclose(fn(x).numpy(), formula(x.numpy()), rtol=1e-9, atol=3e-9)
        assert fn(x).dtype == torch.float64
        single = fn(x.float())
        assert single.dtype == torch.float32
        np.testing.assert_allclose(single.numpy(), formula(x.float().double().numpy()), rtol=3e-5, atol=3e-5)

    def test_slopes_against_central_differences(self) -> None:
        """φ' by autograd, away from the kinks."""
        formula, activation, x, step = self.stated(), self.activation(), points(), 1e-5
        for kink in activation.kinks:
            x = x[(x - kink).abs() > 3 * step]
        slope = derivative(activation.fn, x).numpy()
        expected = (formula(x.numpy() + step) - formula(x.numpy() - step)) / (2 * step)
        np.testing.assert_allclose(slope, expected, rtol=1e-5, atol=self.slope_tolerance)

    def test_kinks_are_where_the_function_or_its_slope_jumps(self) -> None:
        """`kinks` names all of them between -10 and 10, and nothing else."""
        self.stated()
        activation = self.activation()
        for kink in activation.kinks:
            sides = torch.tensor([kink - 1e-9, kink + 1e-9], dtype=torch.float64)
            jump = torch.diff(torch.stack([activation.fn(sides), derivative(activation.fn, sides)])).abs()
            assert float(jump.max()) > 1e-2, f"there is no kink at {kink}"
        x = torch.linspace(-10, 10, 400_001, dtype=torch.float64) + 1e-7
        for found in (activation.fn(x), derivative(activation.fn, x)):
            gap = torch.diff(found).abs()
            for kink in activation.kinks:
                gap[(x[:-1] <= kink) & (x[1:] >= kink)] = 0
            # beyond what a steep function changes beside it too
            beside = torch.minimum(torch.cat([gap[1:2], gap[:-1]]), torch.cat([gap[1:], gap[-2:-1]]))
            jump = gap - 2 * beside
            assert float(jump.max()) < 5e-3, f"a kink is missing: there is one near {float(x[jump.argmax()]):.6g}"

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
    def test_far_out_values_and_slopes_are_finite(self, dtype: torch.dtype) -> None:
        """φ, φ' and the module's gradient up to ±1e4, and φ against `formula` where that is finite."""
        formula, activation = self.stated(), self.activation()
        x = torch.tensor([-1e4, -1e3, -90.0, -50.0, -1e-30, 0.0, 1e-30, 50.0, 90.0, 1e3, 1e4], dtype=dtype)
        leaf = x[None].clone().requires_grad_(True)
        out = activation.make(11).to(dtype)(leaf)
        out.sum().backward()
        slope = derivative(activation.fn, x)
        for found in (activation.fn(x), slope, out, leaf.grad):
            assert found is not None and bool(torch.isfinite(found).all())
        if self.largest_slope is not None:
            assert float(slope.abs().max()) <= self.largest_slope
        with np.errstate(over="ignore", invalid="ignore"):
            expected = formula(x.double().numpy())
        known = np.isfinite(expected)
        # next to cancellation only the absolute error is small
        np.testing.assert_allclose(activation.fn(x).numpy()[known], expected[known], rtol=2e-5, atol=1e-3)


class MomentCases(Subject):
    """Tests of the gain and of what theory reads of the activation."""

    def test_the_gain_against_samples(self) -> None:
        """1/√E[φ²] by quadrature against the mean over 200,000 draws of N(0, 1)."""
        second, error = self._sampled(1.0)[1]
        assert theory.gain(self.activation(), "forward") ** -2 == pytest.approx(second, abs=error)

    @pytest.mark.parametrize("q", [0.3, 1.0, 5.0])
    def test_moments_against_samples(self, q: float) -> None:
        """E[φ], E[φ²] and E‖∂φ/∂h‖² for h ~ N(0, q) against means over draws, within six standard errors."""
        activation = self.activation()
        if activation.moments is None:
            m = moments(activation.fn, q=q, kinks=activation.kinks)
            found = (m.mean, m.second, m.slope_second)
        else:
            found = activation.moments(q)
        for value, (mean, error) in zip(found, self._sampled(q), strict=True):
            assert value == pytest.approx(mean, abs=error)

    def _sampled(self, q: float) -> list[tuple[float, float]]:
        """Mean and six standard errors of φ, φ² and the squared Jacobian, by the module itself."""
        activation = self.activation()
        received, sent = activation.units
        columns = 60 * max(received, 2)
        rows = _SAMPLES * received // (sent * columns) + 1
        h = (math.sqrt(q) * normal(rows * columns)).reshape(rows, columns).requires_grad_(True)
        if activation.moments is None:
            out, slope = activation.fn(h).detach(), derivative(activation.fn, h.detach()).square()
        else:
            sends = activation.make(columns)(h)
            signs = torch.randint(0, 2, sends.shape, generator=torch.Generator().manual_seed(4)).double() * 2 - 1
            (back,) = torch.autograd.grad((sends * signs).sum(), h)  # E over signs of ‖Jᵀs‖² is ‖J‖²
            out, slope = sends.detach(), back.square()
        means: list[tuple[float, float]] = []
        for values, per in ((out, out), (out.square(), out), (slope, out)):
            mean = float(values.sum()) / per.numel()
            # units that share an input are not independent: the error is that of the rows
            sums = values.sum(1) * len(values) / per.numel()
            # and an event too rare for so many draws
            means.append((mean, 6 * float(sums.std()) / math.sqrt(len(values)) + 1e-6 * (1 + abs(mean))))
        return means


# ------------------------------------------------------------------ pieces
def normal(count: int) -> Tensor:
    """Standard normal numbers in float64, the same at every call."""
    return torch.randn(count, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def points() -> Tensor:
    """Random points and a few round ones, none of them at a usual kink, float64."""
    random = torch.empty(4000, dtype=torch.float64).normal_(0, 3, generator=torch.Generator().manual_seed(0))
    return torch.cat([random, torch.linspace(-12, 12, 401, dtype=torch.float64) + 1e-3])
