"""Contract tests of a model."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from initlab import inits
from initlab.errors import ConfigError
from initlab.network.sites import describe
from initlab.spec import IO, Activation, InitContext, ModelBuilder

BATCH = 4


class Bent(nn.Module):
    """A tanh that no network uses by itself, and that counts its calls."""

    initlab_activation = True

    def __init__(self, features: int | None = None) -> None:
        super().__init__()
        self.features = features
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same shape."""
        self.calls += 1
        return torch.tanh(x)


#: the activation with which models are tested
BENT = Activation(name="bent", make=Bent, fn=torch.tanh)


class ModelCases:
    """Tests that a model keeps the contract of `initlab.spec.ModelBuilder`.

    Attributes:
        factory: called without arguments, returns the `ModelBuilder`.
        supports: inputs and outputs that it must build for.
        refuses: inputs and outputs that it must refuse by a ConfigError.
        uses: how many activation modules it has, each called once a pass; None where one is called at every step of a
            sequence, or where the number is not fixed.
        meta: whether it can be built and called on the meta device, without memory.

    Example:
        >>> from functools import partial
        >>> from initlab.models import mlp
        >>> from initlab.spec import IO
        >>> from initlab.testing import ModelCases
        >>> class TestMLP(ModelCases):
        ...     factory = staticmethod(partial(mlp, depth=3, width=8))
        ...     supports = (IO(input_shape=(1, 8, 8), classes=10), IO(input_shape=(5,), classes=2))
        ...     refuses = (IO(input_shape=(9,), classes=7, vocabulary=7),)
        ...     uses = 3
        >>> TestMLP().test_each_use_of_an_activation_is_a_module()
    """

    factory: Callable[[], ModelBuilder]
    supports: Sequence[IO] = ()
    refuses: Sequence[IO] = ()
    uses: int | None = None
    meta: bool = True

    # -------------------------------------------------------------- what the tests are made of
    def built(self, io: IO, *, seed: int = 0) -> nn.Module:
        """The model for `io`, built under torch's seed `seed`."""
        torch.manual_seed(seed)
        return self.factory()(io, BENT)

    # -------------------------------------------------------------- shapes and gradients
    def test_it_is_for_something(self) -> None:
        """`supports` names at least one kind of input."""
        assert self.supports, "set `supports` to what the model is for"

    def test_forward_and_backward(self) -> None:
        """The output has the shape that the IO asks for, and a gradient reaches every parameter."""
        for io in self.supports:
            model = self.built(io)
            output = model(example(io))
            assert output.shape == (BATCH, *output_shape(io)), io
            output.square().sum().backward()
            for name, parameter in model.named_parameters():
                assert parameter.grad is not None, f"{io}: no gradient reaches {name}"
                assert bool((parameter.grad != 0).any()), f"{io}: the gradient of {name} is zero"

    def test_what_it_is_not_for_is_refused_by_name(self) -> None:
        """A ConfigError whose key is the model's, and that says what is accepted."""
        for io in self.refuses:
            with pytest.raises(ConfigError) as refusal:
                self.built(io)
            assert refusal.value.key, io
            assert len(refusal.value.expected) > 15, f"{io}: the refusal does not say what is accepted"

    # -------------------------------------------------------------- modules
    def test_each_use_of_an_activation_is_a_module(self) -> None:
        """The activation that it is given is used as modules, none of them in vain."""
        for io in self.supports:
            model = self.built(io)
            model(example(io))
            calls = [m.calls for m in model.modules() if isinstance(m, Bent)]
            if self.uses is None:
                assert all(calls), f"{io}: an activation module is never called"
            else:
                assert calls == [1] * self.uses, io

    def test_no_module_or_parameter_is_shared(self) -> None:
        """And nothing works in place: a hook on an overwritten tensor would see the wrong one."""
        for io in self.supports:
            model = self.built(io)
            modules = [m for _, m in model.named_modules(remove_duplicate=False)]
            parameters = [p for _, p in model.named_parameters(remove_duplicate=False)]
            assert len({id(m) for m in modules}) == len(modules), io
            assert len({id(p) for p in parameters}) == len(parameters), io
            assert not any(getattr(m, "inplace", False) for m in modules), io

    def test_every_parameter_has_a_role(self) -> None:
        """`initlab.describe` knows each parameter, so that every initialiser has a rule for it."""
        for io in self.supports:
            model = self.built(io)
            sites = describe(model, example(io))
            assert {s.name for s in sites} == {n for n, _ in model.named_parameters()}, io
            free = [s.name for s in sites if s.kind == "free" or s.unused]
            assert not free, f"{io}: initlab does not know what {free} are: no forward pass uses them as it knows"
            assert any(s.role == "head" for s in sites), f"{io}: no parameter makes the output"
            done = inits.apply(model, sites, inits.he(), context=InitContext(activation=BENT), seed=0)
            assert set(done.rules) == {s.name for s in sites}, io

    # -------------------------------------------------------------- reproducible
    def test_the_seed_decides_its_first_values(self) -> None:
        """Two builds under one seed of torch are equal, parameters and buffers."""
        for io in self.supports:
            one, two = self.built(io, seed=3).state_dict(), self.built(io, seed=3).state_dict()
            assert list(one) == list(two) and all(torch.equal(v, two[k]) for k, v in one.items()), io

    def test_the_loss_follows_from_weights_alone(self) -> None:
        """Nothing hides in the module that a state dict does not carry."""
        for io in self.supports:
            first, second = self.built(io, seed=0).eval(), self.built(io, seed=1).eval()
            second.load_state_dict(first.state_dict())
            x = example(io)
            assert torch.equal(first(x), second(x)), io

    def test_the_builder_can_be_sent_to_another_process(self) -> None:
        """It can be pickled: workers of a study are processes."""
        for io in self.supports:
            again: Any = pickle.loads(pickle.dumps(self.factory()))
            names = [n for n, _ in again(io, BENT).named_parameters()]
            assert names == [n for n, _ in self.built(io).named_parameters()], io

    def test_builds_without_memory(self) -> None:
        """On the meta device."""
        if not self.meta:
            pytest.skip("cannot be built on the meta device")
        for io in self.supports:
            with torch.device("meta"):
                model = self.factory()(io, BENT)
                x = torch.zeros(BATCH, *io.input_shape, dtype=torch.int64 if io.vocabulary else torch.float32)
                assert model(x).shape == (BATCH, *output_shape(io)), io
            assert all(p.is_meta for p in model.parameters()), io

    @pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
    def test_other_precisions(self, dtype: torch.dtype) -> None:
        """The model converted to another dtype gives finite outputs in that dtype."""
        for io in self.supports:
            model, x = self.built(io).to(dtype), example(io)
            output = model(x.to(dtype) if x.is_floating_point() else x)
            assert output.dtype == dtype and bool(torch.isfinite(output).all()), io


# ------------------------------------------------------------------ pieces
def example(io: IO) -> Tensor:
    """A batch of inputs: tokens, or standard normal numbers."""
    generator = torch.Generator().manual_seed(0)
    shape = (BATCH, *io.input_shape)
    if io.vocabulary is not None:
        return torch.randint(io.vocabulary, shape, generator=generator)
    return torch.randn(shape, generator=generator)


def output_shape(io: IO) -> tuple[int, ...]:
    """The shape of one example's output."""
    return (io.input_shape[-1], io.classes) if io.per_step else (io.classes,)
