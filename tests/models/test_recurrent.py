"""Recurrent networks: shapes, names, padding, the carried state, and that the rest of initlab knows them."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from initlab import activations, inits
from initlab.errors import ConfigError
from initlab.inits.gates import gate_inputs
from initlab.models.recurrent import DEFAULT_ACTIVATIONS, RecurrentNet, gru, irnn, lstm, rnn
from initlab.network import recurrence
from initlab.network.sites import describe
from initlab.spec import IO, Batch, Carrying, InitContext, Initializer, ModelBuilder

V, T, B, H = 11, 8, 6, 5
LANGUAGE = IO(input_shape=(T,), classes=V, vocabulary=V, per_step=True)
SENTENCE = IO(input_shape=(T,), classes=2, vocabulary=V)
SPEECH = IO(input_shape=(3, T), classes=4)
ADDING = IO(input_shape=(2, T), classes=1)

FACTORIES: dict[str, Callable[..., ModelBuilder]] = {"rnn": rnn, "lstm": lstm, "gru": gru, "irnn": irnn}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def net(builder: ModelBuilder, io: IO, activation: str = "tanh") -> RecurrentNet:
    model = builder(io, activations.parse_activation(activation))
    assert isinstance(model, RecurrentNet)
    return model


def example(io: IO, batch: int = B) -> Tensor:
    if io.vocabulary is not None:
        return torch.randint(io.vocabulary, (batch, *io.input_shape))
    return torch.randn(batch, *io.input_shape)


# ------------------------------------------------------------------ shapes and names
@pytest.mark.parametrize("name", FACTORIES)
@pytest.mark.parametrize("activation", ["tanh", "relu", "softsign", "gelu", "pau"])
@pytest.mark.parametrize(("io", "shape"), [
    (LANGUAGE, (B, T, V)), (SENTENCE, (B, 2)), (SPEECH, (B, 4)), (ADDING, (B, 1)),
])  # fmt: skip
def test_shapes_and_gradients(name: str, activation: str, io: IO, shape: tuple[int, ...]) -> None:
    model = net(FACTORIES[name](hidden_size=H, layers=2), io, activation)
    output = model(example(io))
    assert output.shape == shape
    output.square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_names_of_parameters() -> None:
    model = net(lstm(hidden_size=H, embedding_size=3), LANGUAGE)
    assert {n: tuple(p.shape) for n, p in model.named_parameters()} == {
        "embedding.weight": (V, 3),
        "rnn.weight_ih_l0": (4 * H, 3),
        "rnn.weight_hh_l0": (4 * H, H),
        "rnn.bias_ih_l0": (4 * H,),
        "rnn.bias_hh_l0": (4 * H,),
        "head.weight": (V, H),
        "head.bias": (V,),
    }
    assert not any(n.startswith("embedding") for n, _ in net(rnn(), SPEECH).named_parameters())


def test_torchs_kernels_where_they_know_the_functions() -> None:
    exact: list[tuple[ModelBuilder, str, type[nn.RNNBase]]] = [
        (rnn(), "tanh", nn.RNN), (rnn(), "relu", nn.RNN), (irnn(), "relu", nn.RNN),
        (lstm(), "tanh", nn.LSTM), (gru(), "tanh", nn.GRU),
    ]  # fmt: skip
    for builder, activation, cls in exact:
        assert type(net(builder, ADDING, activation).rnn) is cls
    assert net(rnn(), ADDING, "relu").rnn.mode == "RNN_RELU"
    others: list[tuple[ModelBuilder, str, type[nn.RNNBase]]] = [
        (lstm(), "relu", nn.LSTM), (gru(gate="hardsigmoid"), "tanh", nn.GRU), (rnn(), "gelu", nn.RNN),
    ]  # fmt: skip
    for builder, activation, cls in others:
        module = net(builder, ADDING, activation).rnn
        assert isinstance(module, cls) and type(module) is not cls


@pytest.mark.parametrize(("builder", "io"), [
    (rnn(hidden_size=H), LANGUAGE), (lstm(hidden_size=H, layers=2), SPEECH), (gru(hidden_size=H), ADDING),
    (lstm(hidden_size=H, bidirectional=True), SPEECH), (rnn(hidden_size=H, layers=2, bidirectional=True), SPEECH),
])  # fmt: skip
def test_the_loop_gives_what_the_kernel_gives(builder: ModelBuilder, io: IO) -> None:
    """The same network with tanh under another name, which therefore runs in the loop, under the same weights."""
    fused = net(builder, io)
    tanh = activations.parse_activation("tanh")
    looped = builder(io, type(tanh)(name="another", make=tanh.make, fn=tanh.fn))
    looped.load_state_dict(fused.state_dict())
    x = example(io)
    if io is SPEECH:
        x[1, :, 5:] = 0
    torch.testing.assert_close(looped(x), fused(x), atol=1e-6, rtol=1e-5)


def test_the_gate_is_what_was_asked_for() -> None:
    model = net(lstm(hidden_size=H, gate="hardsigmoid"), ADDING)
    plain = net(lstm(hidden_size=H), ADDING)
    plain.load_state_dict(model.state_dict())
    x = example(ADDING)
    assert not torch.allclose(model(x), plain(x), atol=1e-4)
    assert {type(m) for m in model.rnn.modules()} >= {nn.Hardsigmoid}


def test_an_activation_of_its_own_in_each_layer() -> None:
    model = net(rnn(hidden_size=H, layers=2), SPEECH)
    mixed = rnn(hidden_size=H, layers=2)(SPEECH, activations.alternate(of=["relu", "softsign"]))
    mixed.load_state_dict(model.state_dict())
    x = example(SPEECH)
    h = x.transpose(1, 2).transpose(0, 1)
    for layer, phi in zip(recurrence.layers(model.rnn), (torch.relu, F.softsign), strict=True):
        state, out = torch.zeros(B, H), []
        for a in recurrence.project(layer, h):
            state = phi(a + state @ layer.w_hh.T)
            out.append(state)
        h = torch.stack(out)
    torch.testing.assert_close(mixed(x), F.linear(h[-1], model.head.weight, model.head.bias), atol=1e-6, rtol=1e-5)


def test_a_learnable_activation_learns() -> None:
    model = net(rnn(hidden_size=H), SPEECH, "prelu")
    learnt = [p for n, p in model.named_parameters() if n.startswith("rnn.candidate")]
    model(example(SPEECH)).sum().backward()
    assert learnt and all(p.grad is not None and float(p.grad.abs().sum()) > 0 for p in learnt)


# ------------------------------------------------------------------ padding
@pytest.mark.parametrize("builder", [rnn(hidden_size=H), lstm(hidden_size=H, layers=2), gru(hidden_size=H)])
@pytest.mark.parametrize("activation", ["tanh", "softsign"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_padding_changes_nothing(builder: Any, activation: str, bidirectional: bool) -> None:
    """A sequence of 5 steps answers the same alone and at the head of 8."""
    builder.keywords["bidirectional"] = bidirectional
    model = net(builder, SPEECH, activation)
    x = example(SPEECH)
    x[:, :, 5:] = 0
    x[2] = torch.randn(3, T)
    output = model(x)
    short = [i for i in range(B) if i != 2]
    torch.testing.assert_close(output[short], model(x[short, :, :5]), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(output[2:3], model(x[2:3]), atol=1e-6, rtol=1e-5)
    assert torch.isfinite(model(torch.zeros_like(x))).all()


def test_silence_inside_a_sequence_is_no_padding() -> None:
    model = net(rnn(hidden_size=H), SPEECH)
    x = example(SPEECH)
    x[:, :, 3] = 0
    changed = x.clone()
    changed[:, :, 7] += 1
    assert not torch.allclose(model(x), model(changed))


# ------------------------------------------------------------------ the carried state
@pytest.mark.parametrize("name", FACTORIES)
@pytest.mark.parametrize("activation", ["tanh", "softsign"])
def test_two_halves_with_a_carried_state_are_one_whole(name: str, activation: str) -> None:
    model = net(FACTORIES[name](hidden_size=H, layers=2), LANGUAGE, activation)
    assert isinstance(model, Carrying)
    x = example(LANGUAGE)
    whole = model(x)
    assert model.state == ()
    model.carry = True
    halves = [model(x[:, :3]), model(x[:, 3:])]
    torch.testing.assert_close(torch.cat(halves, dim=1), whole, atol=1e-6, rtol=1e-5)
    assert all(not s.requires_grad and s.shape[1] == B for s in model.state)


def test_the_state_is_left_alone_without_carry_and_shared_by_a_smaller_batch() -> None:
    model = net(lstm(hidden_size=H), LANGUAGE)
    x = example(LANGUAGE)
    model.carry = True
    model(x)
    before = model.state
    follow = example(LANGUAGE, 4)
    model.carry = False
    plain = model(follow)
    assert model.state is before
    model.carry = True
    carried = model(follow)
    assert not torch.allclose(plain, carried)
    assert [tuple(s.shape) for s in model.state] == [(1, 4, H)] * 2
    model.state = before
    torch.testing.assert_close(model(torch.cat([follow, follow[:2]]))[:4], carried)


def test_a_step_back_does_not_reach_the_batch_before() -> None:
    model = net(gru(hidden_size=H), LANGUAGE)
    model.carry = True
    model(example(LANGUAGE)).sum().backward()
    model(example(LANGUAGE)).sum().backward()  # would raise where the graph of the first were still part of it


@pytest.mark.parametrize("name", FACTORIES)
@pytest.mark.parametrize("activation", ["tanh", "softsign"])
def test_mixed_precision(name: str, activation: str) -> None:
    for io in (LANGUAGE, SPEECH):
        model = net(FACTORIES[name](hidden_size=H, layers=2), io, activation)
        x = example(io)
        exact = model(x)
        model.carry = io is LANGUAGE
        with torch.autocast("cpu", torch.bfloat16):
            first = model(x)
            second = model(x)
        torch.testing.assert_close(first.float(), exact, atol=0.03, rtol=0.03)
        second.float().sum().backward()
        assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in model.parameters())


# ------------------------------------------------------------------ tied weights, dropout
def test_tied_weights_are_one_parameter() -> None:
    model = net(lstm(hidden_size=H, tied=True), LANGUAGE)
    assert model.embedding is not None and model.head.weight is model.embedding.weight
    names = [n for n, _ in model.named_parameters()]
    assert "embedding.weight" in names and "head.weight" not in names
    model(example(LANGUAGE)).sum().backward()
    x = torch.zeros(1, T, dtype=torch.long)
    model.zero_grad()
    F.cross_entropy(model(x)[0], x[0]).backward()
    grad = model.embedding.weight.grad
    # rows of tokens that were not read are written all the same
    assert grad is not None and float(grad[5].abs().sum()) > 0


@pytest.mark.parametrize(("build", "message"), [
    (lambda: net(lstm(hidden_size=H, embedding_size=3, tied=True), LANGUAGE), r"tied=True: .*hidden_size = 5, not 3"),
    (lambda: net(lstm(tied=True), SPEECH), "tied=True: needs a model that reads and writes the same tokens"),
    (lambda: net(lstm(tied=True), SENTENCE), "tied=True: needs a model that reads and writes the same tokens"),
    (lambda: net(gru(bidirectional=True), LANGUAGE), "bidirectional=True: .* next token"),
    (lambda: net(rnn(), IO(input_shape=(1, 28, 28), classes=10)), "model=rnn: .*data=sequential_mnist, or model=cnn"),
    (lambda: net(irnn(), IO(input_shape=(64,), classes=10)), "model=irnn: needs sequences"),
    (lambda: net(lstm(), ADDING, "glu"), "activation=glu: changes the number of units"),
    (lambda: net(lstm(), ADDING, "crelu"), "activation=crelu"),
    (lambda: rnn(hidden_size=0), "hidden_size=0: must be 1 or more"),
    (lambda: rnn(layers=0), "layers=0: must be 1 or more"),
    (lambda: gru(embedding_size=0), "embedding_size=0"),
    (lambda: gru(dropout=1.0), "dropout=1.0"),
])  # fmt: skip
def test_what_cannot_be_built(build: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build()


def test_dropout_acts_in_training_only() -> None:
    for activation in ("tanh", "softsign"):
        model = net(lstm(hidden_size=H, layers=2, dropout=0.5), LANGUAGE, activation)
        x = example(LANGUAGE)
        assert not torch.allclose(model(x), model(x))
        model.eval()
        assert torch.equal(model(x), model(x))


# ------------------------------------------------------------------ sites and initialisers
LOOPED = [
    (rnn(hidden_size=H), LANGUAGE, "softsign"), (rnn(hidden_size=H, layers=2), SPEECH, "gelu"),
    (lstm(hidden_size=H, layers=2), LANGUAGE, "relu"), (gru(hidden_size=H), SPEECH, "elu"),
]  # fmt: skip


@pytest.mark.parametrize(("builder", "io", "activation"), LOOPED)
@pytest.mark.parametrize("traced", [False, True])
def test_sites_know_a_looped_layer_as_they_know_torchs(
    builder: ModelBuilder, io: IO, activation: str, traced: bool
) -> None:
    """Roles, gates and fans do not depend on whether the loop or the kernel runs; nor does who feeds whom."""
    x = example(io) if traced else None
    looped, fused = (describe(net(builder, io, a), x) for a in (activation, "tanh"))
    own = [s for s in looped if "candidate" not in s.name]
    assert [(s.name, s.role, s.kind, s.gates, s.fan_in, s.fan_out) for s in own] == [
        (s.name, s.role, s.kind, s.gates, s.fan_in, s.fan_out) for s in fused
    ]
    assert {s.name: s.role for s in own}["rnn.weight_hh_l0"] == "recurrent"
    assert {s.name: s.role for s in own}["head.weight"] == "head"
    if traced:
        assert [(s.activation, s.activation_before) for s in own] == [
            (s.activation, s.activation_before) for s in fused
        ]


def initialised(model: RecurrentNet, io: IO, init: Initializer, activation: str) -> Tensor:
    """Initialise `model` and return the inputs that the initialiser was shown."""
    x = example(io, 64)
    target = torch.zeros((64, T) if io.per_step else (64,), dtype=torch.long)
    batch = Batch(inputs=x, targets=target, loss=lambda o, y: F.cross_entropy(o.flatten(0, -2), y.flatten()))
    context = InitContext(activation=activations.parse_activation(activation), batches=lambda _: batch)
    inits.apply(model, describe(model, x[:2]), init, context=context, seed=0)
    return x


@pytest.mark.parametrize(("builder", "io", "activation"), LOOPED)
def test_the_convention_for_recurrent_layers(builder: ModelBuilder, io: IO, activation: str) -> None:
    model = net(builder, io, activation)
    initialised(model, io, inits.recurrent(), activation)
    for layer in recurrence.layers(model.rnn):
        for block in layer.w_hh.detach().split(H):
            torch.testing.assert_close(block @ block.T, torch.eye(H), atol=1e-5, rtol=0)
        assert layer.b_ih is not None and layer.b_hh is not None
        forget = (layer.b_ih + layer.b_hh).detach().split(H)
        assert [float(b.mean()) for b in forget] == ([0, 1, 0, 0] if layer.kind == "lstm" else [0] * len(forget))


def test_chrono_and_irnn() -> None:
    model = net(lstm(hidden_size=64, gate="hardsigmoid"), ADDING)
    initialised(model, ADDING, inits.chrono(t_max=30), "tanh")
    i, f, _, _ = model.rnn.bias_ih_l0.detach().split(64)
    assert torch.equal(i, -f) and float(f.min()) >= 0 and float(f.max()) <= math.log(29)
    plain = net(irnn(hidden_size=H), SPEECH, "relu6")
    initialised(plain, SPEECH, inits.irnn(), "relu6")
    assert torch.equal(plain.rnn.weight_hh_l0.detach(), torch.eye(H))


@pytest.mark.parametrize(
    ("builder", "io", "activation"), [LOOPED[0], LOOPED[3], (lstm(hidden_size=H, layers=2), LANGUAGE, "softsign")]
)
def test_lsuv_measures_with_the_layers_own_functions(builder: ModelBuilder, io: IO, activation: str) -> None:
    model = net(builder, io, activation)
    x = initialised(model, io, inits.lsuv(), activation)
    with torch.no_grad():
        inputs = x.transpose(1, 2) if model.embedding is None else model.embedding(x)
        for a in gate_inputs(model.rnn, inputs).values():
            assert abs(float(a.var(correction=0)) - 1) <= 0.021


def test_gate_inputs_follow_the_candidate() -> None:
    """The measured pre-activations are those of softsign, not of the tanh that torch's kernel would use."""
    model = net(rnn(hidden_size=H), SPEECH, "softsign")
    x = 3 * example(SPEECH)
    h, seen = torch.zeros(B, H), []
    layer = recurrence.layers(model.rnn)[0]
    for a in recurrence.project(layer, x.permute(2, 0, 1)):
        seen.append(a + h @ layer.w_hh.T)
        h = F.softsign(seen[-1])
    measured = gate_inputs(model.rnn, x.transpose(1, 2))["_l0"].reshape(T, B, H)
    torch.testing.assert_close(measured, torch.stack(seen), atol=1e-5, rtol=1e-5)


def test_customary_activations_exist() -> None:
    assert set(DEFAULT_ACTIVATIONS) == set(FACTORIES)
    assert all(activations.parse_activation(name).units == (1, 1) for name in DEFAULT_ACTIVATIONS.values())


def test_copies_are_independent() -> None:
    model = net(lstm(hidden_size=H), LANGUAGE, "softsign")
    twin = copy.deepcopy(model)
    x = example(LANGUAGE)
    with torch.no_grad():
        twin.rnn.weight_hh_l0.zero_()
    assert not torch.allclose(model(x), twin(x))
