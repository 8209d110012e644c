"""Initialisers that look at data, on the networks that are trained here."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from initlab import activations, inits
from initlab.core import seeds
from initlab.errors import ConfigError
from initlab.inits.data_dependent import relative_rates
from initlab.inits.gates import gate_inputs
from initlab.inits.gradient_quotient import gradient_quotient
from initlab.inits.metainit import _random_batch as random_batch  # pyright: ignore[reportPrivateUsage]
from initlab.inits.streaming import deterministic_training_mode, stream, weights_by_layer
from initlab.network.sites import describe
from initlab.run.prepare import Prepared, prepare
from initlab.spec import Batch, InitContext
from tests.cases import experiment
from tests.inits.networks import Attention, attention, noise, recurrent

DATA = ("data=digits", "data.limit=400")
MLP = ("model=mlp", "model.depth=8", "model.width=40")
CNN = ("model=cnn",)
RESNET = ("model=resnet", "model.depth=8", "model.width=4")
NETWORKS = {"mlp": MLP, "cnn": CNN, "resnet": RESNET, "resnet without norms": (*RESNET, "model.norm=none")}


def prepared(*overrides: str) -> Prepared:
    return prepare(experiment(*DATA, *overrides))


def batch(p: Prepared, i: int = 0) -> Batch:
    assert p.context.batches is not None
    return p.context.batches(i)


def output_variances(p: Prepared) -> dict[str, float]:
    """Variance of every layer's own output over the batch, in the mode of training."""
    seen: dict[str, float] = {}

    def visit(name: str, _module: nn.Module, _args: tuple[Any, ...], _kwargs: dict[str, Any], out: Tensor) -> Tensor:
        seen[name] = float(out.var(correction=0))
        return out

    with deterministic_training_mode(p.model):
        stream(p.model, weights_by_layer(p.sites), batch(p).inputs, visit)
    return seen


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize("base", ["orthogonal", "he", "uniform"])
def test_lsuv_gives_every_layer_unit_variance(network: tuple[str, ...], base: str) -> None:
    p = prepared(*network, "init=lsuv", f"init.base={base}")
    variances = output_variances(p)
    assert len(variances) == len(weights_by_layer(p.sites))
    assert list(variances.values()) == pytest.approx([1.0] * len(variances), abs=0.02)


def test_lsuv_changes_the_scale_and_not_the_direction() -> None:
    plain, scaled = prepared(*CNN, "init=orthogonal"), prepared(*CNN, "init=lsuv")
    for a, b in zip(plain.model.parameters(), scaled.model.parameters(), strict=True):
        if a.dim() > 1:
            assert float(F.cosine_similarity(a.flatten(), b.flatten(), dim=0).detach()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_lsuv_of_recurrent_layers(kind: type[nn.RNNBase]) -> None:
    case = recurrent(kind, 2, 12, both=True)
    model = case.build()
    done = inits.apply(model, case.sites(model), inits.lsuv(), context=case.context(), seed=0)
    tokens = model.embedding(case.inputs).transpose(0, 1)  # type: ignore[operator, union-attr]
    assert isinstance(model.rnn, nn.RNNBase)
    found = gate_inputs(model.rnn, tokens)
    assert len(found) == 4 and "within 0.02 of 1" in done.notes[0]
    for a in found.values():
        assert float(a.detach().var(correction=0)) == pytest.approx(1, abs=0.0201)


def test_gate_inputs_are_those_of_the_cells() -> None:
    """Beside torch's cells, step by step."""
    x = noise(5, 3, 4)
    for kind, cell in ((nn.LSTM, nn.LSTMCell(4, 6)), (nn.GRU, nn.GRUCell(4, 6)), (nn.RNN, nn.RNNCell(4, 6))):
        layer = kind(4, 6)
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        cell.load_state_dict({n: getattr(layer, f"{n}_l0") for n in names})
        state: Any = (torch.zeros(3, 6), torch.zeros(3, 6)) if kind is nn.LSTM else torch.zeros(3, 6)
        rows: list[Tensor] = []
        for step in x:
            h = state[0] if kind is nn.LSTM else state
            rows.append(F.linear(step, cell.weight_ih, cell.bias_ih) + F.linear(h, cell.weight_hh, cell.bias_hh))
            state = cell(step, state)
        assert torch.allclose(gate_inputs(layer, x)["_l0"], torch.cat(rows), atol=1e-6)


def test_gate_inputs_leave_padding_out() -> None:
    layer, x = nn.GRU(4, 6), noise(5, 2, 4)
    packed = nn.utils.rnn.pack_padded_sequence(x, torch.tensor([5, 3]))
    whole = gate_inputs(layer, x)["_l0"].view(5, 2, 18)
    assert torch.allclose(gate_inputs(layer, packed)["_l0"], torch.cat([*whole[:3], whole[3:, 0]]), atol=1e-6)


def test_lsuv_of_attention() -> None:
    case = attention(8, 2)
    model = case.build()
    inits.apply(model, case.sites(model), inits.lsuv(), context=case.context(), seed=0)
    assert isinstance(model, Attention)
    with torch.no_grad():
        y = model.norm1(case.inputs)
        for w in model.attention.in_proj_weight.split(8):
            assert float((y @ w.T).var(correction=0)) == pytest.approx(1, abs=0.02)
        assert float(model.attention(y, y, y)[0].var(correction=0)) == pytest.approx(1, abs=0.02)


def test_lsuv_says_what_it_could_not_scale() -> None:
    p = prepared(*MLP, "init=chain", "init.of=[zeros,lsuv]")
    assert any("head stayed at variance 0" in note for note in p.initialised.notes)


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_data_dependent_makes_layers_learn_at_one_rate(network: tuple[str, ...]) -> None:
    plain, p = prepared(*network, "init=he"), prepared(*network, "init=data_dependent")

    def ratio(of: Prepared) -> float:
        with deterministic_training_mode(of.model):
            weights = [q for n, q in of.model.named_parameters() if q.dim() > 1]
            rates = relative_rates(of.model, weights, batch(of))
        return float(rates.max() / rates.min())

    assert ratio(p) <= 1.5 < ratio(plain)


def test_data_dependent_tells_what_it_leaves() -> None:
    p = prepared(*MLP, "init=data_dependent", "activation=tanh")
    assert any("tanh is not homogeneous" in note for note in p.initialised.notes)
    case = recurrent(nn.LSTM, 1, 4)
    model = case.build()
    notes = inits.apply(model, case.sites(model), inits.data_dependent(), context=case.context(), seed=0).notes
    assert "data_dependent: rnn keeps the values of its draw" in notes


@pytest.mark.slow
@pytest.mark.parametrize("network", [MLP[:2], CNN, RESNET], ids=["mlp", "cnn", "resnet"])
def test_metainit_lowers_the_quotient_on_data_too(network: tuple[str, ...]) -> None:
    plain, p = prepared(*network, "init=he"), prepared(*network, "init=metainit", "init.steps=150", "init.examples=32")

    def quotient(of: Prepared) -> float:
        return float(gradient_quotient(of.model.eval(), batch(of)))

    assert quotient(p) < quotient(plain)


def test_the_quotient_of_a_quadratic() -> None:
    """ℓ = θᵀAθ/2: g = Aθ and Hg = A²θ; zero where the loss is linear."""
    A = torch.diag(torch.tensor([1.0, 2.0, 0.5]))
    model = nn.Linear(3, 1, bias=False)
    theta = model.weight.detach()[0]
    b = Batch(inputs=torch.eye(3), targets=torch.zeros(3), loss=lambda out, _y: 0.5 * out[:, 0] @ A @ out[:, 0])
    g = A @ theta
    sign = torch.where(g >= 0, 1e-5, -1e-5)
    expected = ((g - A @ g) / (g + sign) - 1).abs().mean()
    assert float(gradient_quotient(model, b)) == pytest.approx(float(expected), rel=1e-5)
    linear = Batch(inputs=torch.eye(3), targets=torch.zeros(3), loss=lambda out, _y: out.sum())
    assert float(gradient_quotient(model, linear)) == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("build", [lambda: nn.LSTM(20, 30), lambda: nn.GRU(20, 30), lambda: nn.RNN(20, 30)])
def test_the_quotient_passes_through_recurrent_layers(build: Any) -> None:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.head = build(), nn.Linear(30, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.rnn(x)[0][-1])

    b = Batch(inputs=noise(7, 6, 20), targets=torch.tensor([0, 1, 2, 0, 1, 2]), loss=F.cross_entropy)
    model = Last()
    value = gradient_quotient(model, b, create_graph=True)
    value.backward()
    assert float(value.detach()) > 0 and all(p.grad is not None for p in model.parameters() if p.dim() > 1)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("network", [MLP, CNN], ids=["mlp", "cnn"])
def test_gradinit_keeps_its_bound_and_lowers_the_loss(network: tuple[str, ...], optimizer: str) -> None:
    p = prepared(*network, "init=gradinit", f"init.optimizer={optimizer}", "init.steps=40")
    b, model = batch(p), p.model
    parameters = list(model.parameters())
    loss = b.loss(model(b.inputs), b.targets)
    gradients = torch.autograd.grad(loss, parameters)
    flat = torch.cat([g.flatten() for g in gradients])
    assert float(flat.norm() if optimizer == "sgd" else flat.abs().sum()) <= (1.0 if optimizer == "sgd" else 100) * 1.1
    with torch.no_grad():
        for q, g in zip(parameters, gradients, strict=True):
            q.sub_(0.1 * g if optimizer == "sgd" else 1e-3 * g.sign())
        assert float(b.loss(model(b.inputs), b.targets)) < float(loss.detach())


def test_log_prior_starts_at_the_entropy_of_the_classes() -> None:
    x, y = noise(90, 5), torch.tensor([0] * 60 + [1] * 20 + [2] * 10)
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))
    context = InitContext(
        activation=activations.relu(), batches=lambda _i: Batch(inputs=x, targets=y, loss=F.cross_entropy)
    )
    init = inits.log_prior(base=inits.by_role(head="zeros"), batches=100)
    inits.apply(model, describe(model), init, context=context, seed=0)
    p = torch.tensor([60, 20, 10]) / 90
    assert float(F.cross_entropy(model(x), y).detach()) == pytest.approx(-float((p * p.log()).sum()), abs=1e-3)


@pytest.mark.parametrize("init", ["fixup", "zero_hadamard", "zero_gamma"])
def test_branches_that_could_never_wake_are_refused(init: str) -> None:
    """In x + ReLU(Wx) with W = 0 nothing ever reaches W."""
    norm = "batch" if init == "zero_gamma" else "none"
    network = (*MLP, "model.residual=true", f"model.norm={norm}", f"init={init}")
    with pytest.raises(ConfigError, match="zero for ever"):
        prepared(*network)
    assert prepared(*network, "activation=tanh").initialised.notes == ()


def test_metainit_is_the_authors_search() -> None:
    """Ten steps beside the loop of the paper's appendix, over random batches that are the same."""
    model = nn.Sequential(nn.Linear(6, 9), nn.BatchNorm1d(9), nn.Tanh(), nn.Dropout(0.5), nn.Linear(9, 4)).double()
    with torch.no_grad():
        for p in model.parameters():
            p.normal_(generator=torch.Generator().manual_seed(p.numel()))
    x = noise(32, 6).double()
    data = Batch(inputs=x, targets=torch.arange(32) % 4, loss=nn.functional.cross_entropy)
    theirs = copy.deepcopy(model).eval()
    generator = seeds.generator(3, "init", "metainit")
    everything = list(theirs.parameters())
    matrices = [p for p in everything if p.dim() >= 2]
    memory = [0.0] * len(matrices)
    for _ in range(10):
        drawn = random_batch(data, 16, generator)
        gradient = torch.autograd.grad(drawn.loss(theirs(drawn.inputs), drawn.targets), everything, create_graph=True)
        product = torch.autograd.grad(sum(g.square().sum() / 2 for g in gradient), everything, create_graph=True)  # pyright: ignore[reportArgumentType, reportCallIssue]
        off = [
            ((g - p) / (g + 1e-5 * (2 * (g >= 0).double() - 1).detach()) - 1).abs().sum()
            for g, p in zip(gradient, product, strict=True)
        ]
        quotient = torch.stack(off).sum() / sum(p.numel() for p in everything)
        slopes = torch.autograd.grad(quotient, matrices)
        for j, (p, g) in enumerate(zip(matrices, slopes, strict=True)):
            norm = float(p.detach().norm())
            memory[j] = 0.9 * memory[j] - 0.01 * float(torch.sign((p.detach() * g).sum() / norm))
            with torch.no_grad():
                p.mul_((norm + memory[j]) / norm)
    context = InitContext(activation=activations.tanh(), batches=lambda _: data, seed=3)
    (step,) = inits.metainit(steps=10, examples=16, lr=0.01).adapt
    (note,) = step(model.train(), describe(model, x), context)
    before, after = (float(n) for n in re.findall(r"[\d.]+(?:e[+-]?\d+)?(?= before| after)", note))
    assert after < before
    assert model.training
    for a, b in zip(model.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-9)
