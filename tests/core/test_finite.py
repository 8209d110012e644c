"""`all_finite` by the extremes says what `torch.isfinite` says."""

from __future__ import annotations

import math

import pytest
import torch

from initlab.core.finite import all_finite


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
def test_one_number_decides(dtype: torch.dtype) -> None:
    for at in range(12):
        for bad in (math.nan, math.inf, -math.inf):
            values = torch.linspace(-3, 3, 12, dtype=dtype).view(3, 4)
            assert all_finite(values) and all_finite(values.T)
            values.view(-1)[at] = bad
            assert not all_finite(values) and not all_finite(values.T), (at, bad)
    both = torch.tensor([math.inf, -math.inf, math.nan], dtype=dtype)
    assert not all_finite(both) and not all_finite(both[:2]) and not all_finite(both[2])
    # the sum of these is not finite, and they are
    assert all_finite(torch.full((9,), torch.finfo(dtype).max, dtype=dtype))


@pytest.mark.parametrize(
    "values",
    [
        torch.empty(0), torch.tensor(1.0), torch.ones(2, dtype=torch.int32), torch.ones(2, dtype=torch.bool),
        torch.ones(2, dtype=torch.complex64), torch.nn.Parameter(torch.ones(2)),
    ],
    ids=lambda v: f"{v.dtype} {tuple(v.shape)}",
)  # fmt: skip
def test_other_tensors(values: torch.Tensor) -> None:
    assert all_finite(values)


def test_complex_numbers() -> None:
    assert not all_finite(torch.tensor([complex(1, math.inf)])) and not all_finite(torch.tensor([complex(math.nan, 0)]))
