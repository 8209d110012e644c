"""Half precision: values and slopes of every entry at every half number, beside float64."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from initlab import activations
from initlab.spec import Activation
from initlab.theory import shaping
from tests.activations.formulas import ENTRIES

DTYPES = (torch.float16, torch.bfloat16)
#: entries without a formula of one number
WITHOUT_FORMULA: dict[str, Activation] = {
    "pau": activations.pau(),
    "dks": shaping.dks(),
    "tat": shaping.tat(of="gelu"),
    "tat_leaky": shaping.tat(of="leaky_relu"),
    "pau_tanh": activations.pau(start="tanh"),
    **{n: getattr(activations, n)() for n in ("glu", "geglu", "swiglu", "reglu", "crelu", "maxmin", "maxout")},
}
#: x times something that is known to 1e-7 in single precision: the cosine of a large number, GELU far to the left
GROWING = ("gcu", "phish")
ABSOLUTE = 5e-7
ULPS = 1.5
#: of the units of activations of several, whose products shall not overflow
REACH = 200.0


@cache
def numbers(dtype: torch.dtype) -> Tensor:
    """Every number of `dtype` up to the largest of float16."""
    x = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(dtype)
    return x[torch.isfinite(x) & (x.double().abs() <= torch.finfo(torch.float16).max)]


def close(got: Tensor, want: Tensor, x: Tensor, *, growing: bool = False, absolute: float = ABSOLUTE) -> None:
    """Within 1.5 units in the last place, or 5e-7; infinite only where `want` is beyond the type's largest number."""
    info = torch.finfo(got.dtype)
    assert not bool(got.isnan().any()), f"NaN at {float(x[got.isnan()][0])}"
    beyond = want.abs() >= info.max * (1 - info.eps)
    assert bool((got.double().abs() >= info.max * (1 - 2 * info.eps))[beyond].all())
    bound = ULPS * info.eps * want.abs() + absolute * (torch.clamp(x.double().abs(), min=1.0) if growing else 1.0)
    off = torch.where(beyond, 0.0, (got.double() - want).abs() / bound)
    worst = int(off.argmax())
    assert float(off.max()) <= 1, f"{float(got.flatten()[worst])}, not {float(want.flatten()[worst])}, at {worst}"


def of_slope(activation: Activation, dtype: torch.dtype) -> float:
    """Error that is allowed for slopes: torch's kernels take some from outputs that are rounded (1 - tanh²)."""
    torchs = type(activation.make(16)).__module__.startswith("torch.nn") or activation.name == "homotopy"
    return 2 * torch.finfo(dtype).eps if torchs else ABSOLUTE


def with_slope(module: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    x = x.clone().requires_grad_()
    y = module(x)
    (slope,) = torch.autograd.grad(y, x, torch.ones_like(y))
    return y.detach(), slope


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", ENTRIES)
def test_the_function_at_every_number(name: str, dtype: torch.dtype) -> None:
    activation, formula = ENTRIES[name]
    x = numbers(dtype)
    got, slope = with_slope(activation.fn, x)
    assert got.dtype == dtype
    with np.errstate(all="ignore"):
        want = torch.from_numpy(np.asarray(formula(x.double().numpy())))
    known = torch.isfinite(want)  # a formula may overflow where the function does not; those are seen below
    growing = activation.name in GROWING
    close(got[known], want[known], x[known], growing=growing)
    want, expected = with_slope(activation.fn, x.double())
    close(got, want, x, growing=growing)
    smooth = torch.tensor([v not in activation.kinks for v in x.tolist()])
    close(slope[smooth], expected[smooth], x[smooth], growing=growing, absolute=of_slope(activation, dtype))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", [*ENTRIES, *WITHOUT_FORMULA])
def test_the_module_at_many_numbers(name: str, dtype: torch.dtype) -> None:
    """A module with its parameters in half precision, beside one in float64 with the same parameters."""
    activation = WITHOUT_FORMULA[name] if name in WITHOUT_FORMULA else ENTRIES[name][0]
    module = activation.make(16).to(dtype).eval()
    several = activation.units != (1, 1) or activation.name == "maxmin"
    x = numbers(dtype)[torch.randperm(len(numbers(dtype)), generator=torch.Generator().manual_seed(0))]
    x = (x[x.abs() < REACH] if several else x)[: 16 * 2000].reshape(-1, 16)
    got, slope = with_slope(module, x)
    assert got.dtype == slope.dtype == dtype
    want, expected = with_slope(copy.deepcopy(module).double(), x.double())
    growing = activation.name in GROWING or several  # a gate's error is multiplied with the other unit
    close(got, want, torch.full_like(got, REACH) if several else x, growing=growing)
    smooth = torch.ones_like(x, dtype=torch.bool)
    for kink in activation.kinks:
        smooth &= x != kink
    slopes = of_slope(activation, dtype)
    close(
        slope[smooth],
        expected[smooth],
        torch.full_like(slope[smooth], REACH) if several else x[smooth],
        growing=growing,
        absolute=slopes,
    )


@pytest.mark.parametrize("name", ["acon_c", "apl", "blend", "kaf", "meta_acon", "pau", "pelu", "prelu", "smu", "swish"])
def test_parameters_have_finite_gradients(name: str) -> None:
    """In float16, for pre-activations as large as a hundred, and for parameters of each unit."""
    activation = WITHOUT_FORMULA[name] if name in WITHOUT_FORMULA else ENTRIES[name][0]
    module = activation.make(16).to(torch.float16)
    x = torch.linspace(-100, 100, 64 * 16, dtype=torch.float16).reshape(64, 16)
    module(x).float().mean().backward()
    assert all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in module.parameters())


def test_single_precision_up_to_its_largest_number() -> None:
    """Where x² overflows, φ and φ' of the functions that have a square root in their definition."""
    x = torch.tensor([-1e38, -1e30, -1e19, 1e19, 1e30, 1e38])
    for name in ("isru", "isru_4", "isrlu", "isrlu_3", "bent_identity", "squareplus"):
        activation = ENTRIES[name][0]
        got, slope = with_slope(activation.fn, x)
        want, expected = with_slope(activation.fn, x.double())
        torch.testing.assert_close(got.double(), want, rtol=1e-6, atol=1e-30)
        torch.testing.assert_close(slope.double(), expected, rtol=1e-6, atol=1e-20)


class _AutocastNet(nn.Module):
    def __init__(self, activation: Activation) -> None:
        super().__init__()
        self.layer, self.act = nn.Linear(16, 16), activation.make(16)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.layer(x))


@pytest.mark.parametrize("name", ["isru", "mish", "kaf", "swish", "geglu", "blend", "meta_acon"])
def test_autocast_keeps_the_type_of_the_layer_before(name: str) -> None:
    activation = WITHOUT_FORMULA[name] if name in WITHOUT_FORMULA else ENTRIES[name][0]
    model = _AutocastNet(activation)
    with torch.autocast("cpu", torch.bfloat16):
        y = model(torch.randn(4, 16))
    assert y.dtype == torch.bfloat16
