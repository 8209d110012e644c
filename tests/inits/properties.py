"""What is to hold of each initialiser: name of the file in conf/init → a function that checks it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from initlab import activations, inits
from initlab.errors import ConfigError
from initlab.inits import Applied
from initlab.inits.data_dependent import relative_rates
from initlab.inits.gates import gate_inputs
from initlab.network.sites import describe
from initlab.spec import Activation, Batch, InitContext, Initializer
from tests.inits import transformer_properties
from tests.inits.networks import CLASSES, Attention, Case, Recurrent, attention, mlp, noise, recurrent, residual

Property = Callable[[Initializer], None]


def draw(
    init: Initializer, model: nn.Module, x: Tensor | None = None, activation: Activation | None = None, seed: int = 0
) -> Applied:
    context = InitContext(activation=activation or activations.relu())
    return inits.apply(model, describe(model, x), init, context=context, seed=seed)


def apply(init: Initializer, case: Case, seed: int = 0) -> nn.Module:
    model = case.build()
    inits.apply(model, case.sites(model), init, context=case.context(), seed=seed)
    return model


def linear(init: Initializer, ins: int, outs: int) -> Tensor:
    """The weight of a linear layer that feeds a ReLU."""
    layer = nn.Linear(ins, outs)
    draw(init, nn.Sequential(layer, nn.ReLU()))
    return layer.weight.detach()


def spread(w: Tensor, variance: float) -> None:
    assert float(w.var(correction=0)) == pytest.approx(variance, rel=4 * math.sqrt(2 / w.numel()))


# ------------------------------------------------------------------ laws and scales
def zeros(init: Initializer) -> None:
    assert not linear(init, 5, 4).any()


def constant(init: Initializer) -> None:
    w = linear(init, 5, 4)
    assert float((w - w[0]).abs().max()) == 0 and float(w[0, 0]) == pytest.approx(0.1)


def uniform(init: Initializer) -> None:
    w = linear(init, 400, 300)
    spread(w, 0.05**2 / 3)
    assert float(w.abs().max()) <= 0.05
    assert float((w**4).mean() / (w**2).mean() ** 2) == pytest.approx(1.8, abs=0.05)


def normal(init: Initializer) -> None:
    spread(linear(init, 400, 300), 0.05**2)


def truncated_normal(init: Initializer) -> None:
    w = linear(init, 400, 300)
    spread(w, 0.05**2)
    assert float(w.abs().max()) <= 2.2737 * 0.05


def lecun(init: Initializer) -> None:
    spread(linear(init, 400, 300) * 20, 1.0)


def xavier(init: Initializer) -> None:
    spread(linear(init, 400, 300) * math.sqrt(350), 1.0)


def he(init: Initializer) -> None:
    spread(linear(init, 400, 300) * 20, 2.0)


def torch_default(init: Initializer) -> None:
    spread(linear(init, 400, 300) * 20, 1 / 3)


def orthogonal(init: Initializer) -> None:
    w = linear(init, 300, 200)
    assert torch.allclose(w @ w.T, 2 * torch.eye(200), atol=1e-5)


def sparse(init: Initializer) -> None:
    for layer in (nn.Linear(100, 80), nn.Conv2d(8, 16, 3, groups=2), nn.ConvTranspose2d(8, 16, 3)):
        draw(init, nn.Sequential(layer, nn.ReLU()))
        w = layer.weight.detach()
        rows = w.transpose(0, 1) if isinstance(layer, nn.ConvTranspose2d) else w
        assert ((rows.flatten(1) != 0).sum(1) == 15).all()
    spread(linear(init, 200, 4000).flatten()[linear(init, 200, 4000).flatten() != 0], 1.0)


def edge_of_chaos(init: Initializer) -> None:
    """The mean square slope of every layer is 1: χ₁ = σ_w² E[φ'²], for tanh."""
    x = noise(64, 500)
    model = nn.Sequential(*[m for _ in range(6) for m in (nn.Linear(500, 500), nn.Tanh())], nn.Linear(500, 3))
    batch = Batch(inputs=x, targets=torch.zeros(64, dtype=torch.int64), loss=nn.functional.cross_entropy)
    context = InitContext(activation=activations.tanh(), batches=lambda _i: batch)
    del init  # at its own σ_b = 0 the fixed point is no signal at all
    inits.apply(model, describe(model, x[:2]), inits.edge_of_chaos(sigma_b=0.3), context=context, seed=0)
    h = x
    for i in range(6):
        h = model[2 * i](h).detach()
        chi = (
            float(model[2 * i].weight.detach().square().mean()) * 500 * float((1 - torch.tanh(h) ** 2).square().mean())
        )
        h = torch.tanh(h)
        assert i == 0 or chi == pytest.approx(1, abs=0.06)  # the first layer's weights are scaled to the data


def mean_field(init: Initializer) -> None:
    spread(linear(init, 400, 300) * 20, 1.0)
    biased = nn.Linear(4, 4000)
    draw(inits.mean_field(sigma_w=2.0, sigma_b=0.5), biased)
    spread(biased.bias.detach(), 0.25)


# ------------------------------------------------------------------ in the middle of the kernel
def identity(init: Initializer) -> None:
    for layer, shape in (
        (nn.Linear(6, 6), (2, 6)), (nn.Conv1d(4, 4, 3, padding=1, groups=2), (2, 4, 7)),
        (nn.Conv2d(4, 4, 5, padding=2), (2, 4, 7, 7)), (nn.Conv3d(2, 2, 3, padding=1), (2, 2, 5, 5, 5)),
        (nn.ConvTranspose2d(4, 4, 3, padding=1), (2, 4, 7, 7)),
    ):  # fmt: skip
        draw(init, nn.Sequential(layer, nn.ReLU()))
        assert torch.equal(layer(noise(*shape)), noise(*shape))
    assert torch.equal(linear(init, 5, 3), torch.eye(3, 5))


def delta_orthogonal(init: Initializer) -> None:
    """A linear network of 50 convolutions keeps every norm, zero padding included."""
    del init  # its gain is that of ReLU; norms are kept at 1
    model = nn.Sequential(*[nn.Conv2d(n, 16, 3, padding=1, bias=False) for n in (4, *[16] * 49)])
    draw(inits.delta_orthogonal(gain=1.0), model)
    x = noise(3, 4, 8, 8)
    with torch.no_grad():
        assert float(model(x).norm() / x.norm()) == pytest.approx(1, abs=1e-4)
    outside = model[0].weight.detach().clone()
    outside[:, :, 1, 1] = 0
    assert not outside.any()


def zero_hadamard(init: Initializer) -> None:
    one, two = linear(init, 5, 16), linear(init, 5, 16)
    assert torch.equal(one, two)
    assert torch.equal(one.T @ one, torch.eye(5))  # 16 is a power of two
    assert set(linear(init, 5, 12).abs().unique().tolist()) == {0.25}
    assert set(linear(init, 6, 6).unique().tolist()) == {0.0, 1.0}
    model = residual(3, 2).build()
    draw(init, model, noise(2, 4))
    assert not any(b.branch[2].weight.any() for b in model[1:4])  # type: ignore[union-attr, index]


# ------------------------------------------------------------------ piecewise linear activations
def _log_norm(
    init: Initializer, activation: Activation, width: int, depth: int, runs: int = 150
) -> tuple[float, float]:
    """Mean and standard error of log(‖h_L‖²/‖h_0‖²) over networks."""
    ratios = []
    x = noise(1, width)
    model = nn.Sequential(*[m for _ in range(depth) for m in (nn.Linear(width, width), activation.make())])
    sites, context = describe(model, x), InitContext(activation=activation)
    for seed in range(runs):
        inits.apply(model, sites, init, context=context, seed=seed)
        with torch.no_grad():
            ratios.append(math.log(float(model(x).square().sum() / x.square().sum())))
    values = torch.tensor(ratios)
    return float(values.mean()), float(values.std()) / math.sqrt(runs)


def random_walk(init: Initializer) -> None:
    for activation, drift in ((activations.relu(), -2.5), (activations.identity(), -1.0)):
        mean, error = _log_norm(init, activation, 40, 10)
        # ReLU: the first layer's input is not yet half silent, which is one layer's worth of log 2 in the square
        assert abs(mean) < 4 * error + 0.15, (activation.name, mean, error)
        plain, error = _log_norm(inits.he(), activation, 40, 10)
        assert plain == pytest.approx(drift * 10 / 40, abs=4 * error + 0.15)


def looks_linear(init: Initializer) -> None:
    for activation, first in ((activations.relu(), 8), (activations.gelu(), 8), (activations.crelu(), 8)):
        layers: list[nn.Module] = [nn.Linear(first, 16), activation.make(16)]
        inside = 16 * activation.units[1] // activation.units[0]
        for _ in range(4):
            layers += [nn.Linear(inside, 16), activation.make(16)]
        model = nn.Sequential(*layers, nn.Linear(inside, 16))
        draw(init, model, noise(2, first), activation)
        x, y = noise(5, first), torch.flip(noise(5, first), (0,))
        with torch.no_grad():
            assert torch.allclose(model(x) + model(y), model(x + y), atol=1e-4)
            if activation.name == "crelu":  # every layer is wide enough to lose nothing
                assert torch.allclose(model(x).norm(dim=1), x.norm(dim=1), rtol=1e-4)


def rai(init: Initializer) -> None:
    """Fewer networks of width 2 and depth 8 are dead at birth; weight and bias agree on which number is the odd one."""

    def dead(scheme: Initializer) -> float:
        x = torch.linspace(-1, 1, 21)[:, None]
        count = 0
        model = nn.Sequential(*[m for i in range(8) for m in (nn.Linear(1 if i == 0 else 2, 2), nn.ReLU())])
        sites, context = describe(model), InitContext(activation=activations.relu())
        for seed in range(150):
            inits.apply(model, sites, scheme, context=context, seed=seed)
            with torch.no_grad():
                count += int(float(model(x).std(0).max()) == 0)
        return count / 150

    assert dead(init) < dead(inits.he()) - 0.1
    layer = nn.Linear(3, 4000)
    draw(replace(inits.rai(sigma=1e-6)), nn.Sequential(layer, nn.ReLU()))
    numbers = torch.cat([layer.weight, layer.bias[:, None]], dim=1).detach()
    assert ((numbers > 1e-4).sum(1) <= 1).all() and float((numbers > 1e-4).any(1).float().mean()) > 0.99
    assert float((layer.bias > 1e-4).float().mean()) == pytest.approx(1 / 4, abs=0.04)
    lifted = numbers.max(1).values
    assert float(lifted.mean()) == pytest.approx(2 / 3, abs=0.02)  # E of Beta(2, 1)


def siren(init: Initializer) -> None:
    sine = activations.sin(w0=30.0)
    model = nn.Sequential(*[m for n in (3, *[600] * 4) for m in (nn.Linear(n, 600), sine.make())], nn.Linear(600, 1))
    x = noise(300, 3).clamp(-1, 1)
    draw(init, model, x[:2], sine)
    assert float(model[0].weight.detach().abs().max()) <= 1 / 3
    bound = math.sqrt(6 / 600) / 30
    assert float(model[2].weight.detach().abs().max()) == pytest.approx(bound, rel=0.01)
    h = x
    with torch.no_grad():
        for i in range(5):
            h = model[2 * i](h)
            q, h = float((30 * h).var()), torch.sin(30 * h)
    # torch's biases add 30²/(3·600) = 0.5 to the arguments: the fixed point of q = 1 - e^{-2q} + 0.5
    assert q == pytest.approx(1.445, abs=0.08)
    # sin x with a first layer of frequency 30: every weight is 30 times that of sin 30x
    plain = activations.sin()
    other = nn.Sequential(nn.Linear(3, 600), plain.make(), nn.Linear(600, 1))
    draw(inits.siren(first_w0=30.0), other, x[:2], plain)
    bounds = [float(other[i].weight.detach().abs().max()) for i in (0, 2)]
    assert bounds == [pytest.approx(30 / 3, rel=0.01), pytest.approx(math.sqrt(6 / 600), rel=0.02)]


class _Language(nn.Module):
    """A table of tokens, a norm, and a head that may share the table."""

    def __init__(self, tied: bool) -> None:
        super().__init__()
        self.table, self.norm, self.hidden = nn.Embedding(4000, 64, padding_idx=0), nn.LayerNorm(64), nn.Linear(64, 64)
        self.head = nn.Linear(64, 4000, bias=False)
        if tied:
            self.head.weight = self.table.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.hidden(self.table(x))))


def embedding(init: Initializer) -> None:
    """Rows have norm 1 by width; with a tied head the loss starts near log V, and far from it under torch's N(0, 1)."""
    x = torch.randint(1, 4000, (256,), generator=torch.Generator().manual_seed(0))
    for tied in (False, True):
        for scheme, std in ((init, 1 / 8), (inits.embedding(std=0.02, base="xavier"), 0.02)):
            model = _Language(tied)
            draw(scheme, model, x)
            w = model.table.weight.detach()
            assert not w[0].any() and float(w[1:].std()) == pytest.approx(std, rel=0.01)
            bound = 6 / 128 if scheme is not init else math.inf
            assert float(model.hidden.weight.detach().square().max()) <= bound
            if tied:
                loss = float(nn.functional.cross_entropy(model(x), torch.randint(1, 4000, (256,))).detach())
                # logits N(0, 64·std²): E log Σ e^z = log V + 64·std²/2
                assert loss == pytest.approx(math.log(4000) + 32 * std**2, abs=0.25)


# ------------------------------------------------------------------ recurrent
def recurrent_convention(init: Initializer) -> None:
    model = apply(init, recurrent(nn.LSTM, 2, 6, both=True))
    assert isinstance(model, Recurrent)
    for suffix in ("_l0", "_l0_reverse", "_l1", "_l1_reverse"):
        for gate in getattr(model.rnn, f"weight_hh{suffix}").detach().split(6):
            assert torch.allclose(gate @ gate.T, torch.eye(6), atol=1e-5)
        bias = (getattr(model.rnn, f"bias_ih{suffix}") + getattr(model.rnn, f"bias_hh{suffix}")).detach()
        assert torch.sigmoid(bias[6:12]).tolist() == pytest.approx([0.731059] * 6, abs=1e-6)
        assert not getattr(model.rnn, f"bias_hh{suffix}").any() and not bias[:6].any() and not bias[12:].any()
    gru = apply(inits.recurrent(update_bias=1.0), recurrent(nn.GRU, 1, 4))
    assert gru.rnn.bias_ih_l0.tolist() == [0.0] * 4 + [1.0] * 4 + [0.0] * 4  # type: ignore[union-attr, operator]


def chrono(init: Initializer) -> None:
    model = apply(init, recurrent(nn.LSTM, 1, 200))
    i, f, g, o = model.rnn.bias_ih_l0.detach().split(200)  # type: ignore[union-attr, operator]
    assert torch.equal(i, -f) and not g.any() and not o.any()
    memory = 1 / (1 - torch.sigmoid(f.double()))
    assert float(memory.min()) >= 2 - 1e-5 and float(memory.max()) <= 100 + 1e-3
    # memory - 1 is uniform on (1, 99)
    assert float((memory - 1).mean()) == pytest.approx(50, abs=4 * 98 / math.sqrt(12 * 200))
    gru = apply(init, recurrent(nn.GRU, 1, 50)).rnn.bias_ih_l0.detach()  # type: ignore[union-attr, operator]
    assert not gru[:50].any() and (gru[50:100] >= 0).all() and not gru[100:].any()


def irnn(init: Initializer) -> None:
    layer = nn.RNN(3, 5, nonlinearity="relu")
    draw(init, layer)
    assert torch.equal(layer.weight_hh_l0, torch.eye(5)) and float(layer.weight_ih_l0.detach().abs().max()) < 1e-2  # type: ignore[operator, union-attr]
    state = noise(1, 2, 5).abs()
    kept = layer(torch.zeros(30, 2, 3), state)[1]
    assert torch.equal(kept, state)


def np_rnn(init: Initializer) -> None:
    layer = nn.RNN(3, 40, nonlinearity="relu")
    draw(init, layer)
    w = layer.weight_hh_l0.detach()  # type: ignore[operator, union-attr]
    values = torch.linalg.eigvalsh(w)
    assert torch.allclose(w, w.T, atol=1e-6) and float(values[-1]) == pytest.approx(1, abs=1e-5)
    assert float(values[0]) > 0


# ------------------------------------------------------------------ residual
def _loss(model: nn.Module, case: Case) -> Tensor:
    batch = case.batch()
    return batch.loss(model(batch.inputs), batch.targets)


def fixup(init: Initializer) -> None:
    case = residual(4, 3)
    model = apply(init, case)
    x = noise(5, 6)
    assert all(torch.equal(block(x), x) for block in model[1:5])  # type: ignore[operator, union-attr, index]
    assert not model(case.inputs).any()
    assert float(_loss(model, case).detach()) == pytest.approx(math.log(CLASSES), abs=1e-6)
    wide = residual(4, 3, width=300)
    first = apply(init, wide)[1].branch[0].weight.detach()  # type: ignore[union-attr, index]
    spread(first, 2 / 300 * 4 ** (2 * -1 / 4))  # L^{-1/(2m-2)} = 4^{-1/4}


def skipinit(init: Initializer) -> None:
    case = residual(3, 2, scaled=True)
    model = apply(init, case)
    x = noise(5, 6)
    assert all(torch.equal(block(x), x) for block in model[1:4])  # type: ignore[operator, union-attr, index]
    _loss(model, case).backward()
    for block in model[1:4]:  # type: ignore[union-attr, index]
        alpha = block.branch[-1].weight
        assert float(alpha.grad) != 0 and not block.branch[0].weight.grad.any()


def layer_scale(init: Initializer) -> None:
    model = apply(init, residual(3, 2, scaled=True))
    assert all(float(b.branch[-1].weight.detach()) == pytest.approx(0.1) for b in model[1:4])  # type: ignore[union-attr, index]


def zero_gamma(init: Initializer) -> None:
    model = apply(init, residual(3, 2, norm=True))
    x = noise(5, 6)
    assert all(torch.equal(block(x), x) for block in model[1:4])  # type: ignore[operator, union-attr, index]
    assert all(bool((b.branch[1].weight == 1).all()) for b in model[1:4])  # type: ignore[union-attr, index]


def residual_scaled(init: Initializer) -> None:
    """A branch with He's weights sends twice what it receives: (1 + 2/16)¹⁶ = 6.6 over 16 of them, and not 3¹⁶."""
    case, x = residual(16, 2, width=100), noise(20, 100)

    def growth(scheme: Initializer) -> float:
        with torch.no_grad():
            return float(nn.Sequential(*apply(scheme, case)[1:17])(x).square().mean() / x.square().mean())  # type: ignore[index]

    assert 4 < growth(init) < 10
    assert growth(inits.he()) > 1e6


def gpt2(init: Initializer) -> None:
    model = apply(init, residual(4, 2, width=200))
    spread(model[0].weight.detach(), 0.02**2)  # type: ignore[index, union-attr, operator]
    spread(model[1].branch[0].weight.detach(), 0.02**2)  # type: ignore[index, union-attr]
    spread(model[1].branch[2].weight.detach(), 0.02**2 / 4)  # type: ignore[index, union-attr]


class _PostNorm(Attention):
    def forward(self, x: Tensor) -> Tensor:
        x = self.norm1(x + self.attention(x, x, x, need_weights=False)[0])
        x = self.norm2(x + self.end(self.narrow(self.act(self.wide(x)))))
        return self.head(x.mean(1))


def deepnorm(init: Initializer) -> None:
    case = replace(attention(96, 2), build=lambda: _PostNorm(96, 2, scaled=True))
    model = apply(init, case)
    assert isinstance(model, Attention)
    q, k, v = model.attention.in_proj_weight.detach().split(96)
    beta = 8**-0.25  # one layer
    for w, gain in ((q, 1.0), (k, 1.0), (v, beta), (model.attention.out_proj.weight.detach(), beta)):
        spread(w, gain**2 * 2 / 192)
    spread(model.wide.weight.detach(), beta**2 * 2 / (3 * 96))
    assert isinstance(model.end, nn.Module) and float(model.end.weight.detach()) == pytest.approx(2**-0.25)  # type: ignore[arg-type]


# ------------------------------------------------------------------ width
def mup(init: Initializer) -> None:
    """He's at the base width; a head whose deviation falls with the width, of either law."""
    model = nn.Sequential(nn.Linear(20, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 50))
    used = draw(init, model, noise(2, 20)).initializer
    spread(model[0].weight.detach(), 2 / 20)
    spread(model[2].weight.detach(), 2 / 256)
    spread(model[4].weight.detach(), 2 / 256 * 64 / 256)
    assert used.lr_scale is not None and used.plan is None
    draw(inits.mup(head="small"), model, noise(2, 20))
    spread(model[4].weight.detach(), 2 / 256**2)


def completep(init: Initializer) -> None:
    """Over the width it is μP; a network without residual branches has no depth to speak of."""
    model = nn.Sequential(nn.Linear(20, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 50))
    with pytest.raises(ConfigError, match="needs residual branches"):
        draw(init, model, noise(2, 20))


def spectral(init: Initializer) -> None:
    """σ_max(W)/√(out/in) has a limit as the layer grows, whatever its shape."""
    ratios = []
    for n in (100, 200, 400, 800):
        w = linear(init, n, n)
        ratios.append(float(torch.linalg.matrix_norm(w, ord=2)))
    assert max(ratios) / min(ratios) < 1.1
    wide = linear(init, 100, 400)
    assert float(torch.linalg.matrix_norm(wide, ord=2)) / 2 == pytest.approx(ratios[0] * 3 / 4, rel=0.1)
    exact = linear(inits.spectral(distribution="orthogonal", gain=1.0), 100, 400)
    assert float(torch.linalg.matrix_norm(exact, ord=2)) == pytest.approx(2, abs=1e-4)


# ------------------------------------------------------------------ data
_DATA = mlp([12, 16, 16, 16])


def lsuv(init: Initializer) -> None:
    case = mlp([12, 16, 16])
    model = apply(init, case)
    h = case.inputs
    with torch.no_grad():
        for module in model:  # type: ignore[union-attr]
            h = module(h)
            if isinstance(module, nn.Linear):
                assert float(h.var(correction=0)) == pytest.approx(1, abs=0.02)
    case = recurrent(nn.LSTM, 2, 8, both=True)
    model = apply(init, case)
    assert isinstance(model, Recurrent)
    inputs = model.embedding(case.inputs).transpose(0, 1)
    for a in gate_inputs(model.rnn, inputs).values():
        assert float(a.detach().var(correction=0)) == pytest.approx(1, abs=0.0201)


def data_dependent(init: Initializer) -> None:
    x = noise(64, 12)
    case = Case("wide", _DATA.build, x, activations.relu())
    model = apply(inits.data_dependent(between=False), case)
    h = x
    with torch.no_grad():
        for module in model:  # type: ignore[union-attr]
            h = module(h)
            if isinstance(module, nn.Linear):
                assert h.mean(0).tolist() == pytest.approx([0] * h.shape[1], abs=1e-3)
                assert h.std(0, correction=0).tolist() == pytest.approx([1] * h.shape[1], abs=1e-3)
    del init  # shortened for the contract; the whole search is called for here
    model = apply(inits.data_dependent(), case)
    rates = relative_rates(model, [m.weight for m in model if isinstance(m, nn.Linear)], case.batch())  # type: ignore[union-attr]
    assert float(rates.max() / rates.min()) <= 1.5


def _cosine(a: Tensor, b: Tensor) -> float:
    return float(nn.functional.cosine_similarity(a.flatten(), b.flatten(), dim=0))


def metainit(init: Initializer) -> None:
    del init
    case = Case("large", mlp([12, 16, 16, 16]).build, noise(64, 12), activations.relu())
    start, model = apply(inits.he(), case), apply(inits.metainit(steps=150), case)
    before, after = (float(inits.gradient_quotient(m, case.batch())) for m in (start, model))
    assert after < before / 10
    for a, b in zip(start.parameters(), model.parameters(), strict=True):
        assert a.dim() < 2 or _cosine(a.detach(), b.detach()) == pytest.approx(1, abs=1e-5)


def gradinit(init: Initializer) -> None:
    del init
    case = Case("large", _DATA.build, noise(64, 12), activations.relu())
    for optimizer in ("sgd", "adam"):
        start = apply(inits.he(gain=3.0), case)
        model = apply(inits.gradinit(base="he(gain=3.0)", optimizer=optimizer), case)
        batch, eta = case.batch(), {"sgd": 0.1, "adam": 1e-3}[optimizer]
        loss = batch.loss(model(batch.inputs), batch.targets)
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        flat = torch.cat([g.flatten() for g in gradients])
        norm, bound = (flat.norm(), 1.0) if optimizer == "sgd" else (flat.abs().sum(), 100.0)
        assert float(norm) <= bound * 1.1
        with torch.no_grad():
            for p, g in zip(model.parameters(), gradients, strict=True):
                p.sub_(eta * (g if optimizer == "sgd" else g.sign()))
        assert float(batch.loss(model(batch.inputs), batch.targets).detach()) < float(loss.detach())
        for a, b in zip(start.parameters(), apply(inits.gradinit(base="he(gain=3.0)"), case).parameters(), strict=True):
            assert a.dim() < 2 or _cosine(a.detach(), b.detach()) == pytest.approx(1, abs=1e-5)


def log_prior(init: Initializer) -> None:
    case = mlp([4, 6])
    model = apply(init, case)
    counts = 8 * torch.bincount(case.batch().targets, minlength=CLASSES).double()
    expected = ((counts + 1) / (counts.sum() + CLASSES)).log()
    assert model[-1].bias.tolist() == pytest.approx(expected.tolist(), abs=1e-6)  # type: ignore[index, union-attr, operator]
    assert torch.equal(model[-1].weight, apply(inits.he(), case)[-1].weight)  # type: ignore[index, arg-type, union-attr]


def mimetic(init: Initializer) -> None:
    d, heads = 32, 4
    model = apply(init, attention(d, heads))
    assert isinstance(model, Attention)
    q, k, v = (w.detach() for w in model.attention.in_proj_weight.split(d))
    for a, b in zip(q.split(d // heads), k.split(d // heads), strict=True):
        assert float((a.T @ b).diagonal().mean()) > 0.1
    product = v.T @ model.attention.out_proj.weight.detach().T  # W_V W_O
    assert float(product.diagonal().mean()) == pytest.approx(-0.4, abs=0.1)
    assert float((product + 0.4 * torch.eye(d)).std()) == pytest.approx(0.4 / math.sqrt(d), rel=0.1)


def auto_init(init: Initializer) -> None:
    """Pre-activations have mean square 1 in every layer, for an activation whose own gain would not give it."""
    x = noise(200, 500)
    model = nn.Sequential(*[m for _ in range(4) for m in (nn.Linear(500, 500), nn.GELU())], nn.Linear(500, 3))
    batch = Batch(inputs=x, targets=torch.zeros(200, dtype=torch.int64), loss=nn.functional.cross_entropy)
    context = InitContext(activation=activations.gelu(), batches=lambda _i: batch)
    inits.apply(model, describe(model, x[:2]), init, context=context, seed=0)
    with torch.no_grad():
        for i in range(4):
            assert float(model[: 2 * i + 1](x).square().mean()) == pytest.approx(1, abs=0.12)


def auto(init: Initializer) -> None:
    """It takes one of the catalogue and says why."""
    case = mlp([12, 16, 16])
    model = case.build()
    done = inits.apply(model, case.sites(model), init, context=case.context(), seed=0)
    assert done.initializer.name in inits.catalogue() and done.initializer.plan is None
    assert sum(note.startswith("auto: ") for note in done.notes) >= 2


# ------------------------------------------------------------------ composition
def by_role(init: Initializer) -> None:
    case = mlp([6, 8, 8], "batch")
    assert _same(apply(init, case), apply(inits.he(), case))  # as its file stands, it is He's
    mixed = inits.by_role(
        weight="he", head="zeros", bias=0.5, norm="constant(value=2.0)", sites={"3.*": "orthogonal(gain=1.0)"}
    )
    model = apply(mixed, case)
    assert not model[-1].weight.any() and bool((model[-1].bias == 0.5).all())  # type: ignore[index, union-attr, operator]
    assert bool((model[1].weight == 2).all()) and not model[3].bias.any()  # type: ignore[index, union-attr, operator]
    w = model[3].weight.detach()  # type: ignore[index, union-attr, operator]
    assert torch.allclose(w @ w.T, torch.eye(8), atol=1e-5)


def chain(init: Initializer) -> None:
    case = mlp([6, 8, 8])
    assert _same(apply(init, case), apply(inits.he(), case))
    assert _same(apply(inits.chain(of=["orthogonal", "lsuv"]), case), apply(inits.lsuv(), case))


def _same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


def _alias(other: Callable[[], Initializer], case: Case) -> Property:
    def same(init: Initializer) -> None:
        assert _same(apply(init, case), apply(other(), case))

    return same


PROPERTIES: dict[str, Property] = {
    **transformer_properties.PROPERTIES,
    "auto": auto,
    "auto_init": auto_init,
    "by_role": by_role,
    "chain": chain,
    "chrono": chrono,
    "constant": constant,
    "data_dependent": data_dependent,
    "deepnorm": deepnorm,
    "delta_orthogonal": delta_orthogonal,
    "dirac": identity,
    "edge_of_chaos": edge_of_chaos,
    "embedding": embedding,
    "fixup": fixup,
    "glorot": _alias(inits.xavier, _DATA),
    "gpt2": gpt2,
    "gradinit": gradinit,
    "he": he,
    "identity": identity,
    "irnn": irnn,
    "kaiming": _alias(inits.he, _DATA),
    "layer_scale": layer_scale,
    "lecun": lecun,
    "log_prior": log_prior,
    "looks_linear": looks_linear,
    "lsuv": lsuv,
    "mean_field": mean_field,
    "metainit": metainit,
    "mimetic": mimetic,
    "completep": completep,
    "mup": mup,
    "normal": normal,
    "np_rnn": np_rnn,
    "orthogonal": orthogonal,
    "rai": rai,
    "random_walk": random_walk,
    "recurrent": recurrent_convention,
    "residual_scaled": residual_scaled,
    "rezero": _alias(inits.skipinit, residual(2, 2, scaled=True)),
    "siren": siren,
    "skipinit": skipinit,
    "sparse": sparse,
    "spectral": spectral,
    "torch_default": torch_default,
    "truncated_normal": truncated_normal,
    "uniform": uniform,
    "xavier": xavier,
    "zero_gamma": zero_gamma,
    "zero_hadamard": zero_hadamard,
    "zeros": zeros,
}
