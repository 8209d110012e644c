"""The guarantee of `apply`: every parameter claimed, finite, and drawn by its own name."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from initlab import activations, inits
from initlab.errors import InitlabError, UnclaimedParameterError
from initlab.network.sites import describe
from initlab.spec import InitContext, Initializer, Site

CONTEXT = InitContext(activation=activations.relu())


class WithFreeParameter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.mystery = nn.Parameter(torch.ones(3, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) @ self.mystery.T


def test_an_unclaimed_parameter_is_named_with_the_way_out() -> None:
    model = WithFreeParameter()
    with pytest.raises(UnclaimedParameterError, match=r"parameter mystery.*init\.keep="):
        inits.apply(model, describe(model), inits.he(), context=CONTEXT, seed=0)


def test_kept_parameters_keep_their_value() -> None:
    model = WithFreeParameter()
    done = inits.apply(model, describe(model), inits.he(keep=("myst*",)), context=CONTEXT, seed=0)
    assert torch.equal(model.mystery, torch.ones(3, 4)) and done.rules["mystery"] == "kept"


def test_a_learnable_activation_keeps_its_own_start_and_norms_start_as_identity() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.PReLU(init=0.3), nn.Linear(4, 2))
    inits.apply(model, describe(model), inits.zeros(), context=CONTEXT, seed=0)
    assert float(model[2].weight.detach()) == pytest.approx(0.3)
    assert torch.equal(model[1].weight, torch.ones(4)) and not model[1].bias.any()


def test_a_rule_that_gives_nan_or_a_wrong_shape_is_refused() -> None:
    good = inits.he()

    def with_weight(value: Tensor) -> Initializer:
        def draw(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
            return value

        return Initializer(name="bad", weight=draw, bias=good.bias, embedding=good.embedding)

    model = nn.Linear(3, 2)
    for value, message in ((torch.full((2, 3), float("nan")), "not finite"), (torch.zeros(3, 2), "gave shape")):
        with pytest.raises(InitlabError, match=message):
            inits.apply(model, describe(model), with_weight(value), context=CONTEXT, seed=0)


def test_draws_depend_on_seed_and_name_only() -> None:
    def values(model: nn.Module, seed: int) -> dict[str, Tensor]:
        inits.apply(model, describe(model), inits.he(), context=CONTEXT, seed=seed)
        return {n: p.detach().clone() for n, p in model.named_parameters()}

    def make(extra: bool) -> nn.Module:
        layers: dict[str, nn.Module] = {"a": nn.Linear(4, 4), "act": nn.ReLU()}
        if extra:
            layers["norm"] = nn.LayerNorm(4)
            layers["extra"] = nn.Linear(4, 4)
        layers["b"] = nn.Linear(4, 2)
        model = nn.Sequential()
        for name, layer in layers.items():
            model.add_module(name, layer)
        return model

    torch.manual_seed(1)
    small = values(make(extra=False), 0)
    torch.manual_seed(2)
    large = values(make(extra=True), 0)
    # adding layers, and torch's global generator, change no other draw
    assert all(torch.equal(small[n], large[n]) for n in small)
    assert not torch.equal(small["a.weight"], values(make(extra=False), 1)["a.weight"])
    assert not torch.equal(large["a.weight"], large["extra.weight"])


def test_global_generator_is_not_touched() -> None:
    model = nn.Linear(4, 4)
    before = torch.get_rng_state()
    inits.apply(model, describe(model), inits.orthogonal(), context=CONTEXT, seed=0)
    assert torch.equal(before, torch.get_rng_state())
