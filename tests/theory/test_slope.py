"""The saturated share by intervals against the definition by autograd."""

from __future__ import annotations

import math

import pytest
import torch

from initlab import activations
from initlab.activations.slope import band_of, derivative
from initlab.spec import Activation

NAMES = (
    "relu", "leaky_relu", "elu", "selu", "gelu", "silu", "sigmoid", "tanh", "softplus", "identity", "hardshrink",
    "snake", "gaussian", "hardswish", "hard_mish", "tanhshrink", "mish", "swish", "kaf", "homotopy",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("share", [0.05, 1e-3])
def test_intervals_agree_with_autograd(name: str, share: float) -> None:
    activation = getattr(activations, name)()
    assert isinstance(activation, Activation)
    h = torch.empty(200_000, dtype=torch.float64).normal_(0, 4, generator=torch.Generator().manual_seed(1))
    grid = torch.linspace(-60, 60, 600_001, dtype=torch.float64)
    limit = share * derivative(activation.fn, grid).abs().max()
    expected = derivative(activation.fn, h).abs() < limit
    found = activations.slope_band(activation.fn, share).is_saturated(h)
    assert (found != expected).sum() == 0


def test_known_share_and_sides() -> None:
    # tanh' = 0.05 at h = artanh √0.95; the share of N(0, 1) beyond it
    at = math.atanh(math.sqrt(0.95))
    h = torch.empty(1_000_000).normal_(generator=torch.Generator().manual_seed(0))
    share = activations.slope_band(activations.tanh().fn).is_saturated(h).float().mean()
    assert float(share) == pytest.approx(math.erfc(at / math.sqrt(2)), abs=5e-4)
    assert activations.slope_band(activations.tanh().fn).two_sided
    assert activations.slope_band(activations.sigmoid().fn).two_sided
    assert not activations.slope_band(activations.relu().fn).two_sided


def test_nan_is_neither_saturated_nor_alive() -> None:
    h = torch.tensor([float("nan"), 100.0, 0.0])
    assert activations.slope_band(activations.tanh().fn).is_saturated(h).tolist() == [False, True, False]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(7, 5), (4, 5, 3, 2), (6, 3, 5)], ids=str)
def test_ever_live_by_extremes_is_any_live(name: str, shape: tuple[int, ...]) -> None:
    band = activations.slope_band(getattr(activations, name)().fn, 1e-3)
    unit = 1 if len(shape) != 3 else 2
    h = torch.empty(shape).normal_(-6, 5, generator=torch.Generator().manual_seed(0))
    others = [d for d in range(len(shape)) if d != unit]
    assert torch.equal(band.any_live(h, unit), band.is_live(h).any(dim=others))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("frequency", [1.0, 30.0])
def test_a_wave_has_many_intervals(frequency: float, dtype: torch.dtype) -> None:
    """Thousands at the frequency of a SIREN's first layer: they are searched, and say what the derivative says."""
    fn = activations.sin(w0=frequency).fn
    band = activations.slope_band(fn)
    assert len(band.alive) > 30
    h = torch.empty(64, 512, dtype=dtype).normal_(0, 4, generator=torch.Generator().manual_seed(1))
    slope = derivative(fn, h.double()).abs() / frequency
    clear = (slope - 0.05).abs() > 0.02  # what rounding cannot move over the border
    expected = slope >= 0.05
    for found in (band.is_live(h), band.live_numbers(h) > 0):
        assert torch.equal(found[clear], expected[clear])
    assert float(band.saturated_share(h)) == pytest.approx(float((~expected).double().mean()), abs=3e-3)
    flat = torch.full((5, 3), math.pi / 2 / frequency, dtype=dtype)
    flat[2, 1] = 0.0
    assert band.any_live(flat, 1).tolist() == [False, True, False]
    # a stack of networks, as cohorts have it, and the layout of convolutions
    stack = torch.stack([flat, flat.flip(1), torch.full_like(flat, flat[0, 0])])
    assert band.any_live_along(stack, 1).tolist() == [[False, True, False]] * 2 + [[False] * 3]
    images = h.view(8, 64, 8, 8).to(memory_format=torch.channels_last)
    assert band.live_numbers(images).stride() == images.stride()
    assert torch.equal(band.live_numbers(images), band.live_numbers(images.contiguous()))
    assert torch.equal(band.any_live(images, 1), band.is_live(images).any(dim=(0, 2, 3)))
    unknown = torch.tensor([math.nan], dtype=dtype)
    assert (float(band.live_numbers(unknown)), bool(band.is_saturated(unknown))) == (0.0, False)


def test_share_is_the_mean_of_the_mask() -> None:
    h = torch.empty(4, 1000).normal_(0, 3, generator=torch.Generator().manual_seed(0))
    for name in NAMES:
        band = activations.slope_band(getattr(activations, name)().fn)
        assert float(band.saturated_share(h)) == pytest.approx(float(band.is_saturated(h).double().mean()), abs=1e-6)


@pytest.mark.parametrize("name", ["glu", "crelu", "maxmin", "maxout"])
def test_no_band_where_a_slope_depends_on_several_units(name: str) -> None:
    assert band_of(getattr(activations, name)()) is None


def test_the_band_of_an_elementwise_activation_is_that_of_its_function() -> None:
    assert band_of(activations.relu()) is activations.slope_band(activations.relu().fn)
    assert band_of(activations.tanh(), 1e-3) is activations.slope_band(torch.nn.functional.tanh, 1e-3)
