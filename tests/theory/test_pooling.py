"""Signal and gradient through max pooling, padding and residual sums: predicted against measured."""

from __future__ import annotations

import statistics
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import initlab


class Plain(nn.Module):
    """Convolutions with a max pooling after some, before or behind the activation."""

    def __init__(
        self, act: Callable[[Tensor], Tensor], pool: tuple[int, int, int], *, first: bool, residual: bool
    ) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(3 if i == 0 else 96, 96, 3, padding=1) for i in range(6))
        self.head = nn.Linear(96, 10)
        self.act, self.pool, self.first, self.residual = act, pool, first, residual

    def forward(self, x: Tensor) -> Tensor:
        for i, conv in enumerate(self.convs):
            h = conv(x)
            if self.residual and i in (2, 4):
                h = h + x
            kernel, stride, padding = self.pool
            if i not in (1, 3):
                x = self.act(h)
            elif self.first:
                x = self.act(F.max_pool2d(h, kernel, stride, padding))
            else:
                x = F.max_pool2d(self.act(h), kernel, stride, padding)
        return self.head(x.mean((2, 3)))


TWO, THREE = (2, 2, 0), (3, 2, 1)  # kernel, stride, padding: apart, and overlapping
CASES = [
    ("relu", TWO, False, False), ("relu", TWO, True, True), ("relu", THREE, False, True), ("relu", THREE, True, False),
    ("tanh", TWO, True, False), ("tanh", THREE, False, True), ("gelu", TWO, False, True), ("gelu", THREE, False, False),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("act", "pool", "first", "residual"), CASES)
def test_gradient_through_max_pooling(act: str, pool: tuple[int, int, int], first: bool, residual: bool) -> None:
    torch.manual_seed(0)
    model = Plain(getattr(F, act), pool, first=first, residual=residual)
    x, y = torch.randn(16, 3, 24, 24), torch.randint(10, (16,))
    signal: dict[str, list[float]] = {}
    gradient: dict[str, list[float]] = {}
    for seed in range(9):
        initlab.initialize(model, "he", example=x, seed=seed)
        said = initlab.predict(model, x)
        assert not said.out_of_scope
        seen = {r.site: r for r in initlab.inspect(model, (x, y)).seen.layers}
        for row in said.layers:
            signal.setdefault(row.site, []).append(row.q / seen[row.site].q)
            gradient.setdefault(row.site, []).append(10 ** (row.log10_gradient - seen[row.site].log10_gradient))
    for site, ratios in signal.items():
        assert 1 / 1.3 < statistics.median(ratios) < 1.3, f"{site}: q"
        bound = 1.5 if pool == THREE else 1.3  # how alike the gradients of overlapping windows are is not predicted
        assert 1 / bound < statistics.median(gradient[site]) < bound, f"{site}: gradient²"
