"""Recurrent layers over time, against Jacobians multiplied by hand and against autograd on torch's own kernels."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from initlab import activations
from initlab.network import sites
from initlab.probes import RecurrentLayers, lag_peak
from initlab.spec import Activation, Batch, InitContext, ProfileRow

STEPS, FEATURES, HIDDEN = 40, 3, 24


class Network(nn.Module):
    """One recurrent module and a head that reads its last step."""

    def __init__(self, rnn: nn.RNNBase) -> None:
        super().__init__()
        self.rnn = rnn
        self.head = nn.Linear(rnn.hidden_size * (2 if rnn.bidirectional else 1), 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(x.transpose(1, 2))[0][:, -1])


def network(kind: type[nn.RNNBase] = nn.RNN, **options: object) -> Network:
    torch.manual_seed(0)
    return Network(kind(FEATURES, HIDDEN, batch_first=True, **options))  # type: ignore[arg-type]


def inputs(n: int = 8, steps: int = STEPS) -> Tensor:
    return torch.randn(n, FEATURES, steps, generator=torch.Generator().manual_seed(1))


def look(model: Network, x: Tensor, activation: Activation | None = None) -> tuple[ProfileRow, ...]:
    described = sites.describe(model, x)
    return RecurrentLayers(model, described, x, activation=activation or activations.tanh()).rows(0)


def by_position(rows: tuple[ProfileRow, ...], statistic: str, site: str = "rnn.weight_hh_l0") -> dict[int, float]:
    return {r.position: r.value for r in rows if r.statistic == statistic and r.site == site}


def number(rows: tuple[ProfileRow, ...], statistic: str, site: str = "rnn.weight_hh_l0") -> float:
    (value,) = (r.value for r in rows if r.statistic == statistic and r.site == site)
    return value


def linear(rnn: nn.RNN, w: Tensor) -> None:
    """A ReLU layer whose pre-activations are all positive is a linear one."""
    with torch.no_grad():
        rnn.weight_hh_l0.copy_(w)
        for bias in (rnn.bias_ih_l0, rnn.bias_hh_l0):
            bias.zero_()


def test_an_orthogonal_linear_recurrence_is_a_flat_line() -> None:
    model = network(nonlinearity="relu")
    permutation = torch.eye(HIDDEN)[torch.randperm(HIDDEN, generator=torch.Generator().manual_seed(0))]
    linear(model.rnn, permutation)  # type: ignore[arg-type]
    with torch.no_grad():
        model.rnn.weight_ih_l0.abs_()  # type: ignore[union-attr]
    rows = look(model, inputs().abs() + 0.1, activations.relu())
    assert list(by_position(rows, "lag_gradient").values()) == pytest.approx(
        [1.0] * len(by_position(rows, "lag_gradient"))
    )
    assert number(rows, "reach") == STEPS
    assert number(rows, "spectral_radius") == pytest.approx(1.0)


def test_tanh_at_spectral_radius_one_half_decays() -> None:
    model = network()
    with torch.no_grad():
        nn.init.orthogonal_(model.rnn.weight_hh_l0, 0.5)  # type: ignore[arg-type]
        model.rnn.weight_ih_l0.mul_(0.01)  # type: ignore[union-attr]
        model.rnn.bias_ih_l0.zero_(), model.rnn.bias_hh_l0.zero_()  # type: ignore[union-attr]
    rows = look(model, inputs())
    lags = by_position(rows, "lag_gradient")
    # small states: φ' = 1, and each step back halves the gradient
    for k in (1, 5, 10, 20):
        assert lags[k] == pytest.approx(0.5**k, rel=0.02)
    assert number(rows, "reach") == math.ceil(3 / math.log(2))
    assert number(rows, "spectral_radius") == pytest.approx(0.5, rel=1e-4)


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_gradient_by_lag_against_jacobians_multiplied_by_hand(nonlinearity: str) -> None:
    model = network(nonlinearity=nonlinearity)
    rnn, x = model.rnn, inputs()
    rows = look(model, x, activations.parse_activation(nonlinearity))
    w_ih, w_hh, b_ih, b_hh = (p.detach().double() for p in rnn.parameters())
    h = torch.zeros(len(x), HIDDEN, dtype=torch.float64)
    slopes: list[Tensor] = []
    for t in range(STEPS):
        a = x[:, :, t].double() @ w_ih.T + h @ w_hh.T + b_ih + b_hh
        h = torch.tanh(a) if nonlinearity == "tanh" else a.relu()
        slopes.append(1 - h**2 if nonlinearity == "tanh" else (a > 0).double())
    from initlab.core import seeds

    generator = seeds.generator(0, "probe", "lag")
    delta = (torch.empty(len(x), HIDDEN).bernoulli_(0.5, generator=generator) * 2 - 1).double() / math.sqrt(HIDDEN)
    norms = [float(delta.norm(dim=1).mean())]
    for t in range(STEPS - 1, 0, -1):
        delta = (slopes[t] * delta) @ w_hh
        norms.append(float(delta.norm(dim=1).mean()))
    for k, value in by_position(rows, "lag_gradient").items():
        assert value == pytest.approx(norms[k] / norms[0], rel=1e-3), k


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM])
def test_gated_layers_against_autograd_through_torchs_own_kernel(kind: type[nn.RNNBase]) -> None:
    """∂h_T/∂s_{T-k}: torch's kernel is run over the last k steps from the state at T-k."""
    model, x = network(kind), inputs()
    rows = look(model, x)
    from initlab.core import seeds

    generator = seeds.generator(0, "probe", "lag")
    signs = (torch.empty(len(x), HIDDEN).bernoulli_(0.5, generator=generator) * 2 - 1) / math.sqrt(HIDDEN)
    seen = x.transpose(1, 2)

    def at(k: int) -> float:
        _, state = model.rnn(seen[:, : STEPS - k])
        states = [s.detach().requires_grad_() for s in (state if isinstance(state, tuple) else (state,))]
        start = (states[0], states[1]) if len(states) == 2 else states[0]
        h = model.rnn(seen[:, STEPS - k :], start)[0][:, -1]
        found = torch.autograd.grad((h * signs).sum(), states)
        if len(states) == 1:
            return float(found[0][0].norm(dim=1).mean())
        h_before, c_before = (s.detach() for s in states)
        # h = o tanh(c): the cell acts through the hidden state too
        squashed = c_before.tanh()
        whole = found[1] + found[0] * (h_before / squashed) * (1 - squashed**2)
        return float(whole[0].norm(dim=1).mean())

    lags = by_position(rows, "lag_gradient")
    for k in (2, 5, 12, 20):
        assert lags[k] / lags[1] == pytest.approx(at(k) / at(1), rel=1e-3)


def test_gates_are_those_of_torchs_equations() -> None:
    model = network(nn.LSTM)
    with torch.no_grad():
        model.rnn.bias_ih_l0[HIDDEN : 2 * HIDDEN] = -6.0  # type: ignore[index]
        model.rnn.weight_hh_l0.zero_(), model.rnn.weight_ih_l0.zero_(), model.rnn.bias_hh_l0.zero_()  # type: ignore[union-attr]
        model.rnn.bias_ih_l0[:HIDDEN] = 4.0  # type: ignore[index]
    rows = look(model, inputs())
    assert number(rows, "gate_f") == pytest.approx(1 / (1 + math.exp(6)), rel=1e-4)
    assert (number(rows, "closed_f"), number(rows, "open_f")) == (1.0, 0.0)
    assert (number(rows, "closed_i"), number(rows, "open_i")) == (0.0, 1.0)


def test_states_over_time_are_those_of_the_network() -> None:
    model, x = network(), inputs()
    rows = look(model, x)
    out = model.rnn(x.transpose(1, 2))[0].detach()
    for t, value in by_position(rows, "hidden_rms").items():
        assert value == pytest.approx(float(out[:, t].square().mean().sqrt()), rel=1e-4)
    with torch.no_grad():
        model.rnn.weight_ih_l0.mul_(100)  # type: ignore[union-attr]
    saturated = by_position(look(model, x), "hidden_saturated").values()
    assert min(saturated) > 0.8


def test_padding_belongs_to_no_example() -> None:
    model, x = network(), inputs(4, 20)
    longer = torch.cat([x, torch.zeros(4, FEATURES, 15)], dim=2)
    short, padded = look(model, x), look(model, longer)
    assert by_position(short, "lag_gradient") == pytest.approx(by_position(padded, "lag_gradient"))
    assert number(short, "reach") == number(padded, "reach")


def test_every_layer_and_direction_and_nothing_is_disturbed() -> None:
    model, x = network(nn.GRU, num_layers=2, bidirectional=True, dropout=0.5), inputs()
    model.train()
    before, state = torch.get_rng_state(), {k: v.clone() for k, v in model.state_dict().items()}
    rows = look(model, x)
    assert {r.site for r in rows} == {f"rnn.weight_hh_l{i}{d}" for i in (0, 1) for d in ("", "_reverse")}
    assert torch.equal(before, torch.get_rng_state()) and model.training
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_a_growing_recurrence_is_told() -> None:
    model, x = network(nonlinearity="relu"), inputs()
    context = InitContext(
        activation=activations.relu(),
        batches=lambda _: Batch(inputs=x, targets=torch.zeros(8, 1), loss=nn.functional.mse_loss),
    )
    described = sites.describe(model, x)
    quiet = lag_peak(model, described, context)
    with torch.no_grad():
        model.rnn.weight_hh_l0.mul_(10)  # type: ignore[union-attr]
    assert quiet < 2 and lag_peak(model, described, context) > 1e3
    assert lag_peak(model, (), context) == 1.0


def test_a_gradient_of_nothing_is_nothing_where_subnormal_numbers_are_flushed() -> None:
    model, x = network(nonlinearity="relu"), inputs()
    with torch.no_grad():
        model.rnn.weight_hh_l0.zero_()  # type: ignore[union-attr]
    torch.set_flush_denormal(True)
    try:
        rows = look(model, x, activations.relu())
    finally:
        torch.set_flush_denormal(False)
    assert all(v == 0.0 for k, v in by_position(rows, "lag_gradient").items() if k > 0)
    assert number(rows, "lag_peak") == 1.0 and number(rows, "reach") == 1.0
