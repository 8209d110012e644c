"""Contract tests of an initialiser."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from initlab import activations, inits
from initlab.errors import ConfigError
from initlab.inits import Applied
from initlab.models import mlp
from initlab.network.sites import describe
from initlab.spec import IO, Activation, InitContext, Initializer
from initlab.testing.networks import NETWORKS, NetworkCase, noise

#: a layer's mean square is measured over so many units and examples
_WIDTH, _EXAMPLES, _DEPTH, _DRAWS = 512, 64, 6, 8


class InitializerCases:
    """Tests that an initialiser keeps the contract of `initlab.inits.apply`.

    Attributes:
        factory: called without arguments, returns the `Initializer`.
        networks: on which it is tested; those that it refuses count as refused by name.
        needs_data: whether it looks at a batch of data; it then refuses to work without one.
        local: whether the draw of a parameter depends on its own site alone, so that adding a layer changes no other.
        random: whether another seed gives other values.
        second_moment: by what share the mean square of the pre-activations may differ from that of the first layer, in
            a perceptron of six layers of 512 units; None where that is not what the initialiser is for. The mean over
            eight draws is taken, whose own noise is 5 to 10 % for independent Gaussian weights.
        activation: of that perceptron.

    Example:
        >>> from functools import partial
        >>> from initlab import inits
        >>> class TestOrthogonal(InitializerCases):
        ...     factory = staticmethod(partial(inits.orthogonal, gain="auto"))
        ...     second_moment = 0.1
        >>> TestOrthogonal().test_the_second_moment_is_kept()
    """

    factory: Callable[[], Initializer]
    networks: Sequence[NetworkCase] = NETWORKS
    needs_data: bool = False
    local: bool = True
    random: bool = True
    second_moment: float | None = None
    activation: Activation = activations.relu()

    # -------------------------------------------------------------- what the tests are made of
    def is_random(self, model: nn.Module) -> bool:
        """Whether another seed gives `model` other values; override it where that depends on the network."""
        del model
        return self.random

    def applied(self, case: NetworkCase, seed: int = 0, *, state: int = 5) -> tuple[nn.Module, Applied] | ConfigError:
        """A network of `case`, initialised; or the refusal, after the checks that every refusal must pass.

        Args:
            case: the network.
            seed: of the run.
            state: of torch's global generator, which decides the values that are there before.
        """
        torch.default_generator.manual_seed(state)
        model = case.build()
        before = values(model)
        try:
            return model, inits.apply(model, case.sites(model), self.factory(), context=case.context(), seed=seed)
        except ConfigError as refusal:
            assert refusal.key.startswith("init"), f"{case}: a refusal names init or a key of it, not {refusal.key}"
            assert len(refusal.expected) > 20, f"{case}: the refusal does not say why: {refusal}"
            assert equal(before, values(model)), f"{case}: refused after the network was changed: {refusal}"
            return refusal

    def initialised(self) -> Iterator[tuple[NetworkCase, nn.Module, Applied]]:
        """The networks that are not refused, initialised with seed 0, one after the other."""
        for case in self.networks:
            outcome = self.applied(case)
            if not isinstance(outcome, ConfigError):
                yield case, *outcome

    def supported(self) -> list[NetworkCase]:
        """The networks that are not refused."""
        return [case for case, *_ in self.initialised()]

    # -------------------------------------------------------------- claimed or refused
    def test_every_parameter_is_claimed_or_the_network_refused(self) -> None:
        """A refused network is left as it was; else each parameter has a rule and a finite value."""
        for _, model, done in self.initialised():
            check_claimed(model, done)

    def test_it_is_for_something(self) -> None:
        """At least one of the networks is not refused."""
        assert next(self.initialised(), None) is not None, (
            "every network is refused: set `networks` to some that it is for"
        )

    def test_data_are_asked_for_by_name(self) -> None:
        """Without data an initialiser that needs them says so; any other works."""
        for case in self.supported():
            model, context = case.build(), replace(case.context(), batches=None)
            before = values(model)
            if not self.needs_data:
                inits.apply(model, case.sites(model), self.factory(), context=context, seed=0)
                continue
            with pytest.raises(ConfigError, match=r"^init(\.\w+)*=.*needs data"):
                inits.apply(model, case.sites(model), self.factory(), context=context, seed=0)
            assert equal(before, values(model)), case

    # -------------------------------------------------------------- seed and name
    def test_values_depend_on_the_seed_and_nothing_before(self) -> None:
        """Neither torch's global generator nor the values that were there before have a say."""
        for case, model, done in self.initialised():
            again = self.applied(case, state=6)
            assert not isinstance(again, ConfigError)
            kept = {name for name, rule in done.rules.items() if rule == "kept"}
            for name, value in values(model).items():
                assert name in kept or torch.equal(value, values(again[0])[name]), (case, name)

    def test_another_seed_gives_other_values(self) -> None:
        """Where the initialiser is random; else the same."""
        for case, model, _ in self.initialised():
            other = self.applied(case, seed=1)
            assert not isinstance(other, ConfigError)
            assert equal(values(model), values(other[0])) is not self.is_random(model), case

    def test_another_layer_changes_no_other_draw(self) -> None:
        """Layers of equal name and shape get equal values in a deeper network."""
        if self.needs_data or not self.local:
            pytest.skip("the values of a layer depend on the whole network")
        found: list[dict[str, Tensor]] = []
        for depth in (2, 3):
            model = mlp(depth=depth, width=12)(IO(input_shape=(12,), classes=3), self.activation)
            context = InitContext(activation=self.activation)
            try:
                inits.apply(model, describe(model, noise(2, 12)), self.factory(), context=context, seed=0)
            except ConfigError:
                pytest.skip("refuses perceptrons")
            found.append(values(model))
        small, large = found
        assert equal({n: v for n, v in large.items() if n in small}, small)

    # -------------------------------------------------------------- nothing else changes
    @pytest.mark.parametrize("step", ["applied", "direct"])
    def test_nothing_else_is_disturbed(self, step: str) -> None:
        """Random number generators, modes, buffers, gradients and hooks are as they were."""
        for case in self.supported():
            model = case.build()
            for i, module in enumerate(model.modules()):
                module.training = i % 2 == 0
            modes = [m.training for m in model.modules()]
            first = next(model.parameters())
            gradient = first.grad = torch.ones_like(first)
            buffers = {n: b.clone() for n, b in model.named_buffers()}
            sites, init = case.sites(model), self.factory()
            torch.default_generator.manual_seed(3)
            state = torch.get_rng_state()
            if step == "applied":
                inits.apply(model, sites, init, context=case.context(), seed=0)
            else:  # a step of an initialiser called by itself leaves as little behind
                for adapt in init.adapt:
                    adapt(model, sites, case.context())
            assert torch.equal(state, torch.get_rng_state()), f"{case}: it drew from torch's global generator"
            assert [m.training for m in model.modules()] == modes, f"{case}: it changed a mode"
            assert all(torch.equal(b, buffers[n]) for n, b in model.named_buffers()), f"{case}: it changed a buffer"
            assert first.grad is gradient, f"{case}: it changed a gradient"
            assert all(p.grad is None for p in list(model.parameters())[1:]), f"{case}: it left a gradient"
            hooked = [m for m in model.modules() if has_hooks(m)]
            assert not hooked, f"{case}: it left a hook"
            assert torch.is_grad_enabled() and all(p.requires_grad for p in model.parameters()), case

    def test_kept_parameters_stay(self) -> None:
        """Parameters of `keep` keep their value, also under the steps that look at the whole network."""
        patterns = ("*head.weight", "*.0.weight", "0.weight", "*in_proj_weight")
        init = inits.by_role(weight=self.factory(), keep=patterns)
        for case in self.networks:
            model = case.build()
            before = values(model)
            try:
                done = inits.apply(model, case.sites(model), init, context=case.context(), seed=0)
            except ConfigError:
                continue
            kept = [n for n, rule in done.rules.items() if rule == "kept"]
            assert kept and all(torch.equal(before[n], values(model)[n]) for n in kept), case

    # -------------------------------------------------------------- storage
    def test_values_do_not_depend_on_where_and_how_parameters_are_stored(self) -> None:
        """float64 holds the very numbers of float32, and bfloat16 the same rounded; with data they are finite there."""
        for case in self.supported():
            single, double = self._stored(case, torch.float32), self._stored(case, torch.float64)
            if self.needs_data:
                assert all(bool(torch.isfinite(v).all()) for v in double.values()), case
                continue
            assert equal({n: v.double() for n, v in single.items()}, double), case
            half = self._stored(case, torch.bfloat16)
            for name, value in half.items():
                rounded = single[name].to(torch.bfloat16)
                assert bool(torch.isfinite(value).all()), (case, name)
                assert torch.allclose(value.float(), rounded.float(), rtol=2**-7, atol=1e-6), (case, name)

    def _stored(self, case: NetworkCase, dtype: torch.dtype) -> dict[str, Tensor]:
        context = case.context(dtype) if self.needs_data else replace(case.context(), batches=None)
        torch.default_generator.manual_seed(5)
        model = case.build().to(dtype)
        inits.apply(model, case.sites(model), self.factory(), context=context, seed=0)
        assert {p.dtype for p in model.parameters()} == {dtype}
        return values(model)

    # -------------------------------------------------------------- what it is for
    def test_the_second_moment_is_kept(self) -> None:
        """The mean square of the pre-activations stays that of the first layer, where the initialiser promises it."""
        if self.second_moment is None:
            pytest.skip("promises nothing about the second moment")
        builder = mlp(depth=_DEPTH, width=_WIDTH)
        model = builder(IO(input_shape=(_WIDTH,), classes=3), self.activation)
        case = NetworkCase("wide", lambda: model, noise(_EXAMPLES, _WIDTH), self.activation)
        squares = [0.0] * _DEPTH
        for seed in range(_DRAWS):
            inits.apply(model, case.sites(model), self.factory(), context=case.context(), seed=seed)
            h = case.inputs
            with torch.no_grad():
                for i in range(_DEPTH):
                    h = model.get_submodule(f"layers.{i}")(h)
                    squares[i] += float(h.square().mean()) / _DRAWS
                    h = model.get_submodule(f"activations.{i}")(h)
        for layer, square in enumerate(squares):
            assert square == pytest.approx(squares[0], rel=self.second_moment), (layer, squares)


# ------------------------------------------------------------------ pieces
def values(model: nn.Module) -> dict[str, Tensor]:
    """A copy of every parameter by name."""
    return {n: p.detach().clone() for n, p in model.named_parameters()}


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    """Whether both hold, under every name of `a`, the same numbers in the same dtype or shape, bit for bit."""
    return all(v.shape != b[n].shape or torch.equal(v, b[n]) for n, v in a.items())


def check_claimed(model: nn.Module, done: Applied) -> None:
    """Asserts that every parameter of `model` has a rule and a finite value."""
    assert set(done.rules) == {n for n, _ in model.named_parameters()}
    bad = [n for n, p in model.named_parameters() if not bool(torch.isfinite(p).all())]
    assert not bad, f"not finite: {bad}"


def has_hooks(module: nn.Module) -> bool:
    """Whether `module` has a forward hook, or a forward of its own."""
    hooks = (module._forward_hooks, module._forward_pre_hooks)  # pyright: ignore[reportPrivateUsage]
    return any(map(bool, hooks)) or "forward" in vars(module)
