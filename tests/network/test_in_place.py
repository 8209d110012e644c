"""Activations that overwrite what they receive have the same profile, and the same gradients, as those that do not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import initlab


def method(x: Tensor) -> Tensor:
    x.relu_()
    return x


WAYS: dict[str, Callable[[Tensor], Tensor]] = {
    "keyword": lambda x: F.relu(x, inplace=True),
    "all by keyword": lambda x: F.relu(input=x, inplace=True),
    "method": method,
    "function": torch.relu_,
    "into a part": lambda x: torch.cat([F.relu_(x[:, :8]), F.relu(x[:, 8:], inplace=True)], 1),
}


class Net(nn.Module):
    def __init__(self, act: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1)
        self.head, self.act = nn.Linear(16, 10), act

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.a(x))
        x = self.act(self.b(x))
        return self.head(x.mean((2, 3)))


def profile(act: Callable[[Tensor], Tensor]) -> tuple[list[tuple[float, float]], list[Tensor]]:
    torch.manual_seed(0)
    model = Net(act)
    x, y = torch.randn(32, 3, 12, 12), torch.randint(10, (32,))
    initlab.initialize(model, "he", example=x, seed=1)
    seen = initlab.inspect(model, (x, y)).seen.layers
    watched = initlab.watch(model, every=1, track=False)
    F.cross_entropy(model(x), y).backward()
    watched.close()
    return [(r.q, r.log10_gradient) for r in seen], [p.grad for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("way", WAYS)
def test_in_place_is_read_like_any_other(way: str) -> None:
    rows, gradients = profile(WAYS[way])
    plain, expected = profile(F.relu)
    if way != "into a part":  # read by part there
        assert [v for r in rows for v in r] == pytest.approx([v for r in plain for v in r], rel=1e-4, abs=1e-4)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(gradients, expected, strict=True))
