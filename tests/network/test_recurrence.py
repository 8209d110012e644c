"""The plain loop over steps against torch's own kernels, forwards and backwards, and against formulas by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from initlab.network import recurrence

Make = Callable[..., nn.RNNBase]
KINDS: dict[str, Make] = {
    "tanh": nn.RNN,
    "relu": lambda *a, **k: nn.RNN(*a, nonlinearity="relu", **k),
    "lstm": nn.LSTM,
    "gru": nn.GRU,
}
SHAPES = [
    {},
    {"bias": False},
    {"num_layers": 2},
    {"num_layers": 2, "bidirectional": True},
    {"bidirectional": True, "bias": False},
    {"batch_first": True},
]
T, B, N, H = 7, 5, 3, 4


def tuple_of(state: Any) -> tuple[Tensor, ...]:
    return state if isinstance(state, tuple) else (state,)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("given", [False, True], ids=["from-zeros", "from-a-state"])
def test_the_loop_is_torchs_kernel(kind: str, shape: dict[str, Any], given: bool) -> None:
    module = KINDS[kind](N, H, **shape)
    x = torch.randn(T, B, N)
    directions = 2 if module.bidirectional else 1
    state = tuple(torch.randn(module.num_layers * directions, B, H) for _ in range(2 if kind == "lstm" else 1))

    def ours(source: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        return recurrence.unroll(module, source, state if given else None)

    def theirs(source: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        handed = source.transpose(0, 1) if module.batch_first else source
        out, last = module(handed, (state if kind == "lstm" else state[0]) if given else None)
        return (out.transpose(0, 1) if module.batch_first else out), tuple_of(last)

    found: list[list[Tensor]] = []
    weight = torch.randn(T, B, directions * H)
    for compute in (ours, theirs):
        source = x.clone().requires_grad_(True)
        out, last = compute(source)
        loss = (out * weight).sum() + sum(s.square().sum() for s in last)
        found.append([out, *last, *torch.autograd.grad(loss, [source, *module.parameters()])])
    for mine, other in zip(*found, strict=True):
        # sums of a few hundred float32 products: another order of adding, on another processor, is 1e-6 off
        torch.testing.assert_close(mine, other, atol=5e-6, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [{}, {"num_layers": 2, "bidirectional": True}], ids=str)
def test_sequences_of_several_lengths_are_packed_ones(kind: str, shape: dict[str, Any]) -> None:
    module = KINDS[kind](N, H, **shape)
    x, lengths = torch.randn(T, B, N), torch.tensor([7, 1, 4, 3, 7])
    packed, theirs = module(pack_padded_sequence(x, lengths, enforce_sorted=False))
    expected, _ = pad_packed_sequence(packed)
    out, ours = recurrence.unroll(module, x, lengths=lengths)
    torch.testing.assert_close(out, expected, atol=1e-6, rtol=1e-5)
    for mine, other in zip(ours, tuple_of(theirs), strict=True):
        torch.testing.assert_close(mine, other, atol=1e-6, rtol=1e-5)


# torch says once that its fast kernel does not know projections
@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
def test_the_projection_of_an_lstm() -> None:
    module = nn.LSTM(N, H, proj_size=2, num_layers=2)
    x = torch.randn(T, B, N)
    expected, last = module(x)
    out, state = recurrence.unroll(module, x)
    torch.testing.assert_close(out, expected, atol=1e-6, rtol=1e-5)
    assert [tuple(s.shape) for s in state] == [tuple(s.shape) for s in last] == [(2, B, 2), (2, B, H)]


def test_dropout_between_layers_follows_the_mode() -> None:
    module = nn.GRU(N, H, num_layers=2, dropout=0.5)
    x = torch.randn(T, B, N)
    assert not torch.equal(recurrence.unroll(module, x)[0], recurrence.unroll(module, x)[0])
    module.eval()
    torch.testing.assert_close(recurrence.unroll(module, x)[0], module(x)[0], atol=1e-6, rtol=1e-5)


def test_layers_hold_the_parameters_in_torchs_order() -> None:
    module = nn.LSTM(N, H, num_layers=2, bidirectional=True)
    found = recurrence.layers(module)
    assert [layer.suffix for layer in found] == ["_l0", "_l0_reverse", "_l1", "_l1_reverse"]
    assert [layer.reverse for layer in found] == [False, True] * 2
    assert all(layer.w_hh is getattr(module, f"weight_hh{layer.suffix}") for layer in found)
    assert found[0].hidden_size == H
    assert recurrence.layers(nn.RNN(N, H, bias=False))[0].b_ih is None


def test_pre_activations_by_the_gates_names() -> None:
    x = torch.randn(B, N)
    for kind, module in {"lstm": nn.LSTM(N, H), "gru": nn.GRU(N, H), "rnn": nn.RNN(N, H)}.items():
        (layer,) = recurrence.layers(module)
        state = tuple(torch.randn(B, H) for _ in layer.zeros(B))
        new, gates = recurrence.step(layer, recurrence.project(layer, x[None])[0], state)
        from_x = F.linear(x, module.weight_ih_l0, module.bias_ih_l0).split(H, dim=1)
        from_h = F.linear(state[0], module.weight_hh_l0, module.bias_hh_l0).split(H, dim=1)
        if kind == "gru":
            r = torch.sigmoid(from_x[0] + from_h[0])
            expected = {"r": from_x[0] + from_h[0], "z": from_x[1] + from_h[1], "n": from_x[2] + r * from_h[2]}
        else:
            names = "ifgo" if kind == "lstm" else [""]
            expected = {name: a + b for name, a, b in zip(names, from_x, from_h, strict=True)}
        assert list(gates) == list(expected)
        for name, value in expected.items():
            torch.testing.assert_close(gates[name], value)
        assert len(new) == len(state)


def test_other_functions_by_hand() -> None:
    """φ = softsign and γ = hardsigmoid, as the formulas of the module's docstring have them, at the first two steps."""
    phi, gamma = F.softsign, F.hardsigmoid
    x = torch.randn(2, B, N)
    for module in (nn.RNN(N, H), nn.LSTM(N, H), nn.GRU(N, H)):
        module.candidate, module.gate = nn.Softsign(), nn.Hardsigmoid()
        h, c = torch.zeros(B, H), torch.zeros(B, H)
        for t in range(2):
            a = [p + q for p, q in zip(
                F.linear(x[t], module.weight_ih_l0, module.bias_ih_l0).split(H, 1),
                F.linear(h, module.weight_hh_l0, module.bias_hh_l0).split(H, 1), strict=True,
            )]  # fmt: skip
            if module.mode == "LSTM":
                c = gamma(a[1]) * c + gamma(a[0]) * phi(a[2])
                h = gamma(a[3]) * phi(c)
            elif module.mode == "GRU":
                own = F.linear(h, module.weight_hh_l0, module.bias_hh_l0).split(H, 1)[2]
                n = phi(a[2] - own + gamma(a[0]) * own)
                h = (1 - gamma(a[1])) * n + gamma(a[1]) * h
            else:
                h = phi(a[0])
        torch.testing.assert_close(recurrence.unroll(module, x)[0][-1], h, atol=1e-6, rtol=1e-5)


def test_the_loop_can_be_differentiated_twice() -> None:
    module = nn.GRU(2, 3).double()
    x = torch.randn(3, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda s: recurrence.unroll(module, s)[0], x)
