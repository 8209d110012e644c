"""Variances of He and Xavier against fans counted by hand, where the tensor's shape misleads."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from initlab import activations, inits
from initlab.network.sites import describe
from initlab.spec import InitContext

#: layer, parameter, fan_in, fan_out of one gate or group, counted by hand
BY_HAND: list[tuple[nn.Module, str, float, float]] = [
    (nn.Linear(300, 200), "weight", 300, 200),
    (nn.Conv2d(64, 96, 3), "weight", 64 * 9, 96 * 9),
    # 4 groups: an output sees 16 channels, an input feeds 24
    (nn.Conv2d(64, 96, 3, groups=4), "weight", 16 * 9, 24 * 9),
    # depthwise: one channel each; torch counts 128 · 25 for fan_out
    (nn.Conv2d(128, 128, 5, groups=128), "weight", 25, 25),
    # depthwise with two outputs for each input
    (nn.Conv1d(256, 512, 9, groups=256), "weight", 9, 18),
    # (in, out, 4, 4), stride 2: an output position meets 4 of 16 taps, an input feeds all
    (nn.ConvTranspose2d(48, 32, 4, stride=2), "weight", 48 * 4, 32 * 16),
    (nn.ConvTranspose2d(48, 32, 4, stride=2, groups=4), "weight", 12 * 4, 8 * 16),
    (nn.ConvTranspose1d(64, 48, 5), "weight", 64 * 5, 48 * 5),
    # gates are matrices of their own: 80 units and not 320
    (nn.LSTM(100, 80), "weight_ih_l0", 100, 80),
    (nn.LSTM(100, 80), "weight_hh_l0", 80, 80),
    (nn.GRU(100, 80, 2, bidirectional=True), "weight_ih_l1_reverse", 160, 80),
    (nn.GRU(100, 80), "weight_hh_l0", 80, 80),
    (nn.RNN(100, 80), "weight_ih_l0", 100, 80),
    (nn.MultiheadAttention(96, 4), "in_proj_weight", 96, 96),
]


@pytest.mark.parametrize(("layer", "name", "fan_in", "fan_out"), BY_HAND, ids=str)
def test_variances_by_hand(layer: nn.Module, name: str, fan_in: float, fan_out: float) -> None:
    model = nn.Sequential(layer, nn.ReLU())
    context = InitContext(activation=activations.relu())
    for init, variance in (
        (inits.he(gain=math.sqrt(2)), 2 / fan_in),
        (inits.he(gain=math.sqrt(2), mode="fan_out"), 2 / fan_out),
        (inits.xavier(), 2 / (fan_in + fan_out)),
        (inits.lecun(distribution="truncated"), 1 / fan_in),
    ):
        inits.apply(model, describe(model), init, context=context, seed=0)
        w = dict(layer.named_parameters())[name].detach()
        assert isinstance(w, Tensor)
        assert float(w.var(correction=0)) == pytest.approx(variance, rel=4 * math.sqrt(2 / w.numel())), init.name


def test_each_gate_has_its_own_numbers() -> None:
    lstm = nn.LSTM(30, 30)
    inits.apply(lstm, describe(lstm), inits.he(), context=InitContext(activation=activations.relu()), seed=0)
    gates = torch.stack(lstm.weight_hh_l0.detach().split(30))  # type: ignore[operator, union-attr]
    correlations = torch.corrcoef(gates.flatten(1)) - torch.eye(4)
    assert float(correlations.abs().max()) < 4 / 30
