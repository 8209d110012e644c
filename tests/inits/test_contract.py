"""The contract of `initlab.testing` and the property of every entry of conf/init.

A new file in conf/init fails here until `properties.PROPERTIES` says what is to hold of it.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from torch import nn

from initlab import config, inits
from initlab.errors import ConfigError, UnclaimedParameterError
from initlab.network.sites import describe
from initlab.spec import Initializer
from initlab.testing import InitializerCases, NetworkCase
from initlab.testing.initializer import check_claimed, equal, values
from tests.cases import experiment
from tests.inits.networks import ONE_OF_EACH, cases
from tests.inits.properties import PROPERTIES

NAMES = config.groups()["init"]

#: so that a search is a matter of milliseconds
SHORT = {"metainit": ("init.steps=3",), "gradinit": ("init.steps=3",), "data_dependent": ("init.steps=3",)}
NEEDS_DATA = tuple(
    n for n in ("auto", "auto_init", "data_dependent", "gradinit", "log_prior", "lsuv", "metainit") if n in NAMES
)
#: draw no random numbers but those of embeddings
DETERMINISTIC = ("zeros", "constant", "identity", "dirac", "zero_hadamard")
#: keep the mean square of a deep ReLU perceptron of 512 units within a quarter
KEEP_THE_SECOND_MOMENT = ("he", "kaiming", "orthogonal")


@cache
def made(name: str) -> Initializer:
    """The initialiser as its file says; for a sine where it is for nothing else."""
    return experiment(f"init={name}", *SHORT.get(name, ()), *(("init.w0=30",) if name == "siren" else ())).init


def test_every_file_has_a_property_and_a_name() -> None:
    assert not set(NAMES) - set(PROPERTIES)
    # what is composed of others by name is of initlab.inits; `auto` stands above them all
    assert not set(inits.catalogue()) - set(NAMES) and not set(NAMES) - set(inits.catalogue()) - {"auto"}


@pytest.mark.parametrize("name", NAMES)
def test_its_property(name: str) -> None:
    PROPERTIES[name](made(name))


class TestEveryFile(InitializerCases):
    """The contract, for each file of conf/init."""

    name: str

    @pytest.fixture(autouse=True, params=NAMES)
    def chosen(self, request: pytest.FixtureRequest) -> None:
        self.name = request.param
        self.factory = lambda: made(self.name)
        self.needs_data = self.name in NEEDS_DATA
        self.second_moment = 0.25 if self.name in KEEP_THE_SECOND_MOMENT else None

    def is_random(self, model: nn.Module) -> bool:
        embeds = any(isinstance(m, nn.Embedding) for m in model.modules())
        return self.name not in DETERMINISTIC or (embeds and self.name not in ("zeros", "constant"))


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(case=cases)
def test_every_parameter_of_any_network_is_claimed_or_the_network_refused(name: str, case: NetworkCase) -> None:
    tests = InitializerCases()
    tests.factory = lambda: made(name)
    outcome = tests.applied(case)
    if isinstance(outcome, ConfigError):
        return
    check_claimed(*outcome)
    again = tests.applied(case)
    assert not isinstance(again, ConfigError)
    assert equal(values(outcome[0]), values(again[0]))


@pytest.mark.parametrize("name", NEEDS_DATA)
def test_the_refusal_without_data_names_the_initialiser(name: str) -> None:
    case = ONE_OF_EACH[0]
    model = case.build()
    with pytest.raises(ConfigError, match=rf"init={name}: needs data"):
        inits.apply(model, case.sites(model), made(name), context=replace(case.context(), batches=None), seed=0)


def test_an_error_after_the_draws_leaves_the_network_as_it_was() -> None:
    def refuse(model: nn.Module, sites: object, context: object) -> tuple[str, ...]:
        del sites, context
        assert float(next(model.parameters()).detach().abs().max()) == 0
        raise ConfigError("init", "late", "cannot be used")

    case = ONE_OF_EACH[0]
    model = case.build()
    before = values(model)
    with pytest.raises(ConfigError, match="init=late"):
        late = replace(inits.zeros(), adapt=(refuse,))
        inits.apply(model, case.sites(model), late, context=case.context(), seed=0)
    assert equal(before, values(model))
    # a parameter that nobody knows, and one that nothing uses

    class Mystery(nn.Module):
        def __init__(self, *, used: bool) -> None:
            super().__init__()
            self.mystery = nn.Parameter(torch.full((3, 3), 0.5))
            self.layer, self.used = nn.Linear(3, 3), used

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.atan2(self.layer(x), self.mystery) if self.used else self.layer(x)

    other = Mystery(used=True)
    before = values(other)
    with pytest.raises(UnclaimedParameterError, match="mystery"):
        inits.apply(other, describe(other, torch.randn(3, 3)), inits.he(), context=case.context(), seed=0)
    assert equal(before, values(other))
    other = Mystery(used=False)
    done = inits.apply(other, describe(other, torch.randn(3, 3)), inits.he(), context=case.context(), seed=0)
    assert done.rules["mystery"] == "kept" and "not used" in done.notes[0] and bool((other.mystery == 0.5).all())
