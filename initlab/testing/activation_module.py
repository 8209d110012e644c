"""Contract tests of an activation's module and of the parameters that it learns."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from initlab.activations import activations_of, is_activation, recognise
from initlab.network.sites import describe
from initlab.spec import Activation
from initlab.train.optimizers import parameter_groups

Formula = Callable[[NDArray[np.float64]], NDArray[np.float64]]

UNITS = 12


class Subject:
    """The activation under test; see `ActivationCases` for the attributes."""

    factory: Callable[[], Activation]
    formula: Formula | None = None
    largest_slope: float | None = None
    slope_tolerance: float = 3e-7
    sees_positions: bool = False
    starts_flat: bool = False

    def activation(self) -> Activation:
        """The activation; of a mixture over layers that of the first."""
        return self.factory().sequence(1)[0]

    def module(self) -> nn.Module:
        """A new module in eval mode, with parameters (if any) that training has moved."""
        return move_parameters(self.activation().make(UNITS).eval())


class ModuleCases(Subject):
    """Tests of the module: found, recognised, copied, saved, of any shape and dtype."""

    def test_each_call_makes_a_new_module_that_is_found(self) -> None:
        """`make` never shares a module or a parameter, and initlab finds the module in a network as one activation."""
        activation = self.activation()
        first, second = activation.make(UNITS), activation.make(UNITS)
        assert first is not second and type(first) is type(second)
        assert is_activation(first), "not recognised: set initlab_activation = True on the module's class"
        assert not list(first.children()), "its parts would be found as activations of their own"
        assert not getattr(first, "inplace", False)
        mine, other = list(first.parameters()), list(second.parameters())
        assert not {id(p) for p in mine} & {id(p) for p in other}
        network = nn.Sequential(nn.Linear(3, UNITS), first)
        assert {n: a.name for n, a in activations_of(network).items()} == {"1": activation.name}

    @pytest.mark.parametrize("shape", [(5, UNITS), (5, UNITS, 3, 4), (5, 7, UNITS), (2, UNITS, 2, 3, 2)], ids=str)
    def test_units_are_where_they_belong(self, shape: tuple[int, ...]) -> None:
        """Any shape; the input stays; the output is φ elementwise, or has as many units as `units` says."""
        activation = self.activation()
        received, sent = activation.units
        dim = 2 if len(shape) == 3 else 1
        x = drawn(*shape)
        untouched = x.clone()
        leaf = x.requires_grad_(True)
        module = activation.make(UNITS).eval()
        out = module(leaf)
        assert torch.equal(x.detach(), untouched), "it overwrote its input"
        expected = list(shape)
        expected[dim] = UNITS * sent // received
        assert list(out.shape) == expected
        out.square().sum().backward()
        assert leaf.grad is not None and bool(torch.isfinite(leaf.grad).all())
        if is_elementwise(activation):
            torch.testing.assert_close(out, activation.fn(x), rtol=1e-5, atol=1e-5)
        if dim == 2 and not self.sees_positions:  # units lie along `dim`: moving them changes nothing
            flat = module(x.detach().reshape(-1, UNITS))
            torch.testing.assert_close(out, flat.reshape(out.shape))

    def test_a_copy_computes_the_same_and_is_another(self) -> None:
        """`copy.deepcopy` shares no parameter."""
        module = self.module()
        again = copy.deepcopy(module)
        x = drawn(4, UNITS)
        assert torch.equal(module(x), again(x))
        move_parameters(again)
        if list(module.parameters()):
            assert not torch.equal(module(x), again(x))

    def test_it_can_be_pickled(self) -> None:
        """By cloudpickle, with which whole models are stored."""
        cloudpickle: Any = pytest.importorskip("cloudpickle")
        module, x = self.module(), drawn(4, UNITS)
        assert torch.equal(pickle.loads(cloudpickle.dumps(module))(x), module(x))

    def test_the_state_dict_holds_everything(self) -> None:
        """A fresh module with the state dict of a trained one computes the same."""
        module, fresh = self.module(), self.activation().make(UNITS).eval()
        progress = getattr(module, "set_progress", None)
        if progress is not None:
            progress(0.3)
        fresh.load_state_dict(module.state_dict())
        x = drawn(4, UNITS)
        assert torch.equal(module(x), fresh(x))

    def test_on_the_meta_device(self) -> None:
        """It can be built and called without memory."""
        with torch.device("meta"):
            module = self.activation().make(UNITS)
            out = module(torch.zeros(3, UNITS))
        assert out.is_meta and all(p.is_meta for p in module.parameters())
        assert recognise(module).name == self.activation().name

    def test_recognised_as_itself(self) -> None:
        """`initlab.activations.recognise` gives the name, the units and the function."""
        activation = self.activation()
        found = recognise(activation.make(UNITS))
        assert (found.name, found.units) == (activation.name, activation.units)
        x = drawn(3, 5).double()
        torch.testing.assert_close(found.fn(x), activation.fn(x))

    def test_recognised_as_what_it_is_now(self) -> None:
        """Also after training, and what was recognised does not change when training goes on."""
        module, activation = self.module(), self.activation()
        found = recognise(module)
        for shape in ((3,), (3, UNITS), (2, 2, 2, 2)):
            assert found.fn(drawn(*shape).double()).dtype == torch.float64
        if is_elementwise(activation) and all(UNITS not in p.shape for p in module.parameters()):
            x = drawn(5, UNITS)
            torch.testing.assert_close(found.fn(x), module(x), rtol=1e-5, atol=1e-5)
            before = found.fn(x)
            move_parameters(module)
            assert torch.equal(found.fn(x), before)

    def test_half_precision_keeps_its_dtype(self) -> None:
        """bfloat16 in, finite bfloat16 out."""
        x = drawn(3, UNITS).to(torch.bfloat16)
        out = self.activation().make(UNITS).to(torch.bfloat16)(x)
        assert out.dtype == torch.bfloat16 and bool(torch.isfinite(out).all())


class LearnableCases(Subject):
    """Tests of the parameters; each is skipped where there are none."""

    def learnable(self) -> nn.Module:
        """A new module as it starts; skips the test where it has no parameters."""
        module = self.activation().make(UNITS)
        if next(module.parameters(), None) is None:
            pytest.skip("has no parameters")
        return module

    def test_every_parameter_gets_a_gradient(self) -> None:
        """One that is not zero everywhere."""
        module = self.learnable()
        if self.starts_flat:
            move_parameters(module)(drawn(64, UNITS, 3, 3)).square().sum().backward()
        else:
            module(3 * drawn(64, UNITS)).square().sum().backward()
        for name, parameter in module.named_parameters():
            assert parameter.grad is not None and bool((parameter.grad != 0).any()), name

    def test_gradients_of_parameters_against_differences(self) -> None:
        """`torch.autograd.gradcheck` in float64."""
        self.learnable()
        module = move_parameters(self.activation().make(4)).double()
        x = drawn(6, 4).double()
        held = {n: p.detach().clone().requires_grad_(True) for n, p in module.named_parameters()}

        def out(*parameters: Tensor) -> Tensor:
            return torch.func.functional_call(module, dict(zip(held, parameters, strict=True)), (x,))

        assert torch.autograd.gradcheck(out, tuple(held.values()), atol=1e-6)

    def test_no_weight_decay(self) -> None:
        """Its parameters are told from weights, so that no optimiser pulls them to zero."""
        self.learnable()
        first, sent = nn.Linear(5, UNITS), UNITS * self.activation().units[1] // self.activation().units[0]
        last = nn.Linear(sent, 3)
        model = nn.Sequential(first, self.activation().make(UNITS), last)
        sites = describe(model, drawn(2, 5))
        groups = parameter_groups(model, sites)
        decayed: Any = groups[0]["params"]
        assert {id(p) for p in decayed} == {id(first.weight), id(last.weight)}
        assert groups[1]["weight_decay"] == 0.0
        kinds = {s.name: s.kind for s in sites if s.name.startswith("1.")}
        assert kinds and set(kinds.values()) == {"activation"}

    def test_readings_are_scalars_with_names_that_a_metric_may_have(self) -> None:
        """`readings()` says where the parameters are."""
        module: Any = self.learnable()
        readings = module.readings()
        assert readings
        for name, value in readings.items():
            assert name.replace("_", "").isalnum() and value.shape == () and not value.requires_grad


# ------------------------------------------------------------------ pieces
def drawn(*shape: int) -> Tensor:
    """Standard normal numbers in float32, the same at every call."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def is_elementwise(activation: Activation) -> bool:
    """Whether a unit's output is a function of its own input alone."""
    return activation.units == (1, 1) and activation.moments is None


def move_parameters(module: nn.Module) -> nn.Module:
    """The module after its parameters have moved a little, as training would move them."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return module
