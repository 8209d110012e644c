"""Schemes by name, by role and in a chain, and the mistakes in them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from initlab import activations, inits
from initlab.errors import ConfigError
from initlab.network.sites import describe
from initlab.run.prepare import prepare
from initlab.spec import InitContext
from tests.cases import experiment
from tests.inits.networks import mlp, recurrent, residual

CONTEXT = InitContext(activation=activations.relu())


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("hee", ["init=hee", "did you mean he?"]),
        ("he(gian=2)", ["he has no gian", "did you mean gain?"]),
        ("he(2)", ["normal(std=0.1)"]),
        ("normal(std=wide)", ["std=wide", "in quotes"]),
        ("normal(std='wide')", ["normal(std=...)", "number"]),
        ("normal(std=-1)", ["greater than 0"]),
        ("he(", ["must be a name"]),
        ("he; zeros", ["must be a name"]),
        ("__import__('os').system('x')", ["must be a name"]),
        ("he(**{'gain': 1})", ["must be a name"]),
        ("orthogonal(keep=open('x'))", ["must be a number"]),
    ],
)
def test_a_wrong_name_is_told(text: str, parts: list[str]) -> None:
    with pytest.raises(ConfigError) as told:
        inits.parse_initializer(text)
    for part in parts:
        assert part in str(told.value)


def test_names_with_arguments() -> None:
    layer = nn.Linear(300, 300)
    inits.apply(layer, describe(layer), inits.parse_initializer("normal(std=0.25, bias=1.0)"), context=CONTEXT, seed=0)
    assert float(layer.weight.detach().std()) == pytest.approx(0.25, rel=0.02) and bool((layer.bias == 1).all())
    assert inits.parse_initializer("by_role(weight='he', sites={'a*': 'zeros'})").name == "by_role"


def test_the_roles_of_a_recurrent_network() -> None:
    case = recurrent(nn.LSTM, 1, 6)
    model = case.build()
    init = inits.by_role(
        weight="xavier", recurrent="orthogonal(gain=1.0)", embedding="normal(std=0.01)", head="zeros", bias="chrono"
    )
    inits.apply(model, case.sites(model), init, context=case.context(), seed=0)
    rnn = model.rnn
    assert isinstance(rnn, nn.LSTM)
    for gate in rnn.weight_hh_l0.detach().split(6):  # type: ignore[operator]
        assert torch.allclose(gate @ gate.T, torch.eye(6), atol=1e-5)
    i, f, *_ = rnn.bias_ih_l0.detach().split(6)  # type: ignore[operator]
    assert torch.equal(i, -f) and bool((f > 0).all())
    assert not model.head.weight.any()  # type: ignore[union-attr, operator]
    assert float(model.embedding.weight.detach().abs().max()) < 0.05  # type: ignore[union-attr, operator]


def test_a_bias_follows_its_scheme_unless_it_is_asked_for() -> None:
    case = mlp([4, 50])
    for init, std in ((inits.by_role(weight="normal(std=0.3)"), 0.0), (inits.by_role(bias="normal(std=0.3)"), 0.3)):
        model = case.build()
        inits.apply(model, case.sites(model), init, context=case.context(), seed=0)
        assert float(model[0].bias.detach().std()) == pytest.approx(std, abs=0.1)  # type: ignore[index, union-attr, operator]


def test_a_pattern_that_fits_nothing_names_what_there_is() -> None:
    with pytest.raises(ConfigError, match=r"init\.sites\.convs\.\*: fits no parameter.*layers\.0\.weight"):
        prepare(experiment("data=digits", "model=mlp", "init=by_role", "init.sites={convs.*:zeros}"))


def test_patterns_on_the_command_line() -> None:
    p = prepare(
        experiment("data=digits", "model=mlp", "init=by_role", 'init.sites={layers.0.*:"normal(std=0.5)",head.bias:2}')
    )
    first, head = p.model.get_parameter("layers.0.weight"), p.model.get_parameter("head.bias")
    assert float(first.detach().std()) == pytest.approx(0.5, rel=0.05) and bool((head == 2).all())


def test_a_scheme_is_asked_about_the_parameters_it_is_given() -> None:
    """delta_orthogonal refuses a narrowing convolution only where that convolution is its own."""
    model = nn.Sequential(nn.Conv2d(4, 8, 3), nn.ReLU(), nn.Conv2d(8, 2, 3), nn.ReLU())
    sites = describe(model)
    with pytest.raises(ConfigError, match=r"2\.weight maps 8 channels to 2"):
        inits.apply(model, sites, inits.delta_orthogonal(), context=CONTEXT, seed=0)
    inits.apply(model, sites, inits.by_role(weight="delta_orthogonal", sites={"2.*": "he"}), context=CONTEXT, seed=0)
    assert not model[0].weight[:, :, 0].any() and bool(model[2].weight[:, :, 0].any())  # type: ignore[index]


def test_multipliers_and_norms_of_others() -> None:
    case = residual(2, 2, scaled=True, norm=True)
    model = case.build()
    inits.apply(model, case.sites(model), inits.by_role(norm="zero_gamma", scale=0.5), context=case.context(), seed=0)
    branch = model[1].branch  # type: ignore[index, union-attr]
    assert (
        not branch[4].weight.any() and bool((branch[1].weight == 1).all()) and float(branch[-1].weight.detach()) == 0.5
    )


def test_learning_rates_pass_through_a_composition() -> None:
    case = mlp([6, 128, 128])
    for init in (inits.by_role(weight="mup", head="zeros"), inits.chain(of=["mup", "log_prior"])):
        model = case.build()
        sites = case.sites(model)
        used = inits.apply(model, sites, init, context=case.context(), seed=0).initializer
        assert used.lr_scale is not None
        rates = {s.name: used.lr_scale(s, "adaptive") for s in sites}
        assert rates["0.weight"] == 1.0 and rates["3.weight"] == 0.5


def test_a_chain_that_cannot_be() -> None:
    with pytest.raises(ConfigError, match=r"init\.of: .*\[he, lsuv\]|init\.of=\[\]"):
        inits.chain(of=[])
    with pytest.raises(ConfigError, match=r"init\.of\[1\]=he: only draws values"):
        inits.chain(of=["orthogonal", "he"])


def test_a_chain_does_its_steps_in_order() -> None:
    p = prepare(experiment("data=digits", "model=cnn", "init=chain", "init.of=[orthogonal,lsuv,log_prior]"))
    assert [note.split(":")[0] for note in p.initialised.notes] == ["lsuv", "log_prior"]
    assert set(p.initialised.rules.values()) == {"chain", "bias"}
