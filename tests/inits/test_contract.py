"""What every entry of conf/init owes: all parameters or a reason, reproducible values, nothing disturbed, its property.

A new file in conf/init fails here until `properties.PROPERTIES` says what is to hold of it.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from torch import Tensor, nn

from initlab import config, inits
from initlab.errors import ConfigError
from initlab.inits import Applied
from initlab.spec import Initializer
from tests.cases import experiment
from tests.inits.networks import ONE_OF_EACH, Case, cases
from tests.inits.properties import PROPERTIES

NAMES = config.groups()["init"]

#: so that a search is a matter of milliseconds
SHORT = {"metainit": ("init.steps=3",), "gradinit": ("init.steps=3",), "data_dependent": ("init.steps=3",)}
NEEDS_DATA = tuple(n for n in ("auto", "data_dependent", "gradinit", "log_prior", "lsuv", "metainit") if n in NAMES)
#: draw no random numbers but those of embeddings
DETERMINISTIC = ("zeros", "constant", "identity", "dirac", "zero_hadamard")


@cache
def made(name: str) -> Initializer:
    """The initialiser as its file says; for a sine where it is for nothing else."""
    return experiment(f"init={name}", *SHORT.get(name, ()), *(("init.w0=30",) if name == "siren" else ())).init


def applied(name: str, case: Case, seed: int = 0) -> tuple[nn.Module, Applied] | ConfigError:
    torch.manual_seed(5)
    model = case.build()
    try:
        return model, inits.apply(model, case.sites(model), made(name), context=case.context(), seed=seed)
    except ConfigError as refusal:
        assert refusal.key.startswith("init"), refusal
        assert len(refusal.expected) > 20, refusal
        assert all(bool(torch.isfinite(p).all()) for p in model.parameters()), "refused too late"
        return refusal


def values(model: nn.Module) -> dict[str, Tensor]:
    return {n: p.detach().clone() for n, p in model.named_parameters()}


def test_every_file_has_a_property_and_a_name() -> None:
    assert not set(NAMES) - set(PROPERTIES)
    # what is composed of others by name is of initlab.inits; `auto` stands above them all
    assert not set(inits.catalogue()) - set(NAMES) and not set(NAMES) - set(inits.catalogue()) - {"auto"}


@pytest.mark.parametrize("name", NAMES)
def test_its_property(name: str) -> None:
    PROPERTIES[name](made(name))


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(case=cases)
def test_every_parameter_is_claimed_or_the_network_refused(name: str, case: Case) -> None:
    outcome = applied(name, case)
    if isinstance(outcome, ConfigError):
        return
    model, done = outcome
    assert set(done.rules) == {n for n, _ in model.named_parameters()}
    assert all(bool(torch.isfinite(p).all()) for p in model.parameters())
    again = applied(name, case)
    assert not isinstance(again, ConfigError)
    assert all(torch.equal(a, b) for a, b in zip(values(model).values(), values(again[0]).values(), strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_it_is_for_something(name: str) -> None:
    assert any(not isinstance(applied(name, case), ConfigError) for case in ONE_OF_EACH)


@pytest.mark.parametrize("name", NAMES)
def test_another_seed_gives_other_values(name: str) -> None:
    for case in ONE_OF_EACH:
        one, other = applied(name, case, seed=0), applied(name, case, seed=1)
        if isinstance(one, ConfigError) or isinstance(other, ConfigError):
            continue
        embeds = any(isinstance(m, nn.Embedding) for m in one[0].modules())
        same = all(torch.equal(a, b) for a, b in zip(values(one[0]).values(), values(other[0]).values(), strict=True))
        random = name not in DETERMINISTIC or (embeds and name not in ("zeros", "constant"))
        assert same is not random, case


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("step", ["applied", "direct"])
def test_nothing_else_is_disturbed(name: str, step: str) -> None:
    for case in ONE_OF_EACH:
        if isinstance(applied(name, case), ConfigError):
            continue
        model = case.build()
        for i, module in enumerate(model.modules()):
            module.training = i % 2 == 0
        modes = [m.training for m in model.modules()]
        first = next(model.parameters())
        gradient = first.grad = torch.ones_like(first)
        buffers = {n: b.clone() for n, b in model.named_buffers()}
        sites, init = case.sites(model), made(name)
        torch.manual_seed(3)
        state = torch.get_rng_state()
        if step == "applied":
            inits.apply(model, sites, init, context=case.context(), seed=0)
        else:  # a step of an initialiser called by itself leaves as little behind
            for adapt in init.adapt:
                adapt(model, sites, case.context())
        assert torch.equal(state, torch.get_rng_state()), case
        assert [m.training for m in model.modules()] == modes, case
        assert all(torch.equal(b, buffers[n]) for n, b in model.named_buffers()), case
        assert first.grad is gradient and all(p.grad is None for p in list(model.parameters())[1:]), case
        assert not any(m._forward_hooks or m._forward_pre_hooks or "forward" in vars(m) for m in model.modules()), case
        assert torch.is_grad_enabled() and all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("name", [n for n in NAMES if n not in NEEDS_DATA])
def test_values_do_not_depend_on_where_and_how_parameters_are_stored(name: str) -> None:
    for case in ONE_OF_EACH:
        context = replace(case.context(), batches=None)
        single, double = case.build(), case.build().double()
        try:
            inits.apply(single, case.sites(single), made(name), context=context, seed=0)
        except ConfigError:
            continue
        inits.apply(double, case.sites(double), made(name), context=context, seed=0)
        stored = {n: p.double() for n, p in values(single).items()}
        assert all(torch.equal(p.detach(), stored[n]) for n, p in double.named_parameters()), case


@pytest.mark.parametrize("name", NAMES)
def test_kept_parameters_stay(name: str) -> None:
    """Also under the steps that look at the whole network, and through a composition."""
    init = inits.by_role(weight=made(name), keep=("*head.weight", "*.0.weight", "0.weight", "*in_proj_weight"))
    for case in ONE_OF_EACH:
        model = case.build()
        before = values(model)
        try:
            done = inits.apply(model, case.sites(model), init, context=case.context(), seed=0)
        except ConfigError:
            continue
        kept = [n for n, rule in done.rules.items() if rule == "kept"]
        assert kept and all(torch.equal(before[n], values(model)[n]) for n in kept), case


@pytest.mark.parametrize("name", NEEDS_DATA)
def test_data_are_asked_for_by_name(name: str) -> None:
    case = ONE_OF_EACH[0]
    model = case.build()
    with pytest.raises(ConfigError, match=rf"init={name}: needs data"):
        inits.apply(model, case.sites(model), made(name), context=replace(case.context(), batches=None), seed=0)
