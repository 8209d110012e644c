"""The contract tests find what is wrong: each of these breaks one rule, and the test of that rule fails."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from initlab import activations, inits, testing
from initlab.activations.modules import pointwise
from initlab.errors import ConfigError
from initlab.models import mlp
from initlab.spec import IO, Activation, InitContext, LayerReading, Part, Site, Splits
from initlab.tasks import ImageTask, digits
from initlab.testing import ActivationCases, InitializerCases, ModelCases, ProbeCases, TaskCases

CPU = torch.device("cpu")
Check = Callable[[], object]


def fails(check: Check) -> None:
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        check()


# ------------------------------------------------------------------ initialisers
def initializer(**changes: object) -> InitializerCases:
    cases = InitializerCases()
    cases.factory = lambda: replace(inits.he(), **changes)  # type: ignore[arg-type]
    return cases


def weight_from(value: Callable[[Site, InitContext], Tensor]) -> InitializerCases:
    def weight(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
        del generator
        return value(site, context)

    return initializer(weight=weight)


def adapted(change: Callable[[nn.Module], object]) -> InitializerCases:
    def step(model: nn.Module, sites: tuple[Site, ...], context: InitContext) -> tuple[str, ...]:
        del sites, context
        with torch.no_grad():
            change(model)
        return ()

    return initializer(adapt=(step,))


def test_a_global_generator() -> None:
    cases = weight_from(lambda site, _: torch.randn(site.shape))
    with torch.random.fork_rng():
        fails(cases.test_values_depend_on_the_seed_and_nothing_before)


def test_no_randomness_at_all() -> None:
    fails(weight_from(lambda site, _: torch.ones(site.shape)).test_another_seed_gives_other_values)


def test_draws_that_depend_on_the_depth() -> None:
    cases = weight_from(lambda site, context: torch.full(site.shape, 1.0 / len(context.sites)))
    fails(cases.test_another_layer_changes_no_other_draw)
    cases.local = False
    with pytest.raises(pytest.skip.Exception):
        cases.test_another_layer_changes_no_other_draw()


def test_modes_buffers_and_hooks() -> None:
    for change in (
        lambda m: next(m.parameters()).register_hook(lambda g: g) and m.register_forward_hook(lambda *_: None),
        lambda m: setattr(next(m.parameters()), "requires_grad", False),
    ):
        fails(lambda change=change: adapted(change).test_nothing_else_is_disturbed("applied"))
    fails(lambda: adapted(lambda m: m.eval()).test_nothing_else_is_disturbed("direct"))
    fails(lambda: adapted(lambda _: torch.randn(1)).test_nothing_else_is_disturbed("direct"))


def test_a_kept_parameter_that_moves() -> None:
    fails(adapted(lambda m: [p.mul_(2) for p in m.parameters()]).test_kept_parameters_stay)


def test_a_refusal_that_says_nothing() -> None:
    def check(sites: tuple[Site, ...], context: InitContext) -> None:
        raise ConfigError("init", "he", "no")

    fails(initializer(check=check).test_every_parameter_is_claimed_or_the_network_refused)
    fails(initializer(check=check).test_it_is_for_something)


def test_a_second_moment_that_is_not_kept() -> None:
    cases = InitializerCases()
    cases.factory, cases.second_moment = inits.lecun, 0.1
    fails(cases.test_the_second_moment_is_kept)
    cases.factory = inits.orthogonal
    cases.test_the_second_moment_is_kept()


def test_data_that_are_not_asked_for() -> None:
    cases = InitializerCases()
    cases.factory = inits.lsuv
    with pytest.raises(ConfigError, match="needs data"):
        cases.test_data_are_asked_for_by_name()
    cases.factory, cases.needs_data = inits.he, True
    fails(cases.test_data_are_asked_for_by_name)


# ------------------------------------------------------------------ activations
def activation(fn: Callable[[Tensor], Tensor], **changes: object) -> ActivationCases:
    cases = ActivationCases()
    made = replace(pointwise("mine", fn), **changes)  # type: ignore[arg-type]
    cases.factory = lambda: made
    cases.formula = lambda x: x * (x > 0)
    return cases


def test_a_formula_that_differs() -> None:
    right = activation(torch.relu, kinks=(0.0,))
    for check in (right.test_values_of_the_formula, right.test_slopes_against_central_differences):
        check()
    right.test_kinks_are_where_the_function_or_its_slope_jumps()
    wrong = activation(lambda x: torch.relu(x) * 1.001, kinks=(0.0,))
    fails(wrong.test_values_of_the_formula)
    fails(wrong.test_slopes_against_central_differences)


def test_a_kink_that_is_not_named() -> None:
    fails(activation(torch.relu).test_kinks_are_where_the_function_or_its_slope_jumps)
    fails(activation(torch.relu, kinks=(0.0, 1.0)).test_kinks_are_where_the_function_or_its_slope_jumps)


def test_values_that_overflow() -> None:
    fails(lambda: activation(torch.exp).test_far_out_values_and_slopes_are_finite(torch.float32))


def test_moments_of_another_function() -> None:
    cases = activation(torch.relu, moments=lambda q: (0.0, q, 1.0))
    fails(lambda: cases.test_moments_against_samples(1.0))


def test_a_module_in_place_and_one_that_is_shared() -> None:
    shared = nn.ReLU()
    fails(activation(torch.relu, make=lambda features=None: shared).test_each_call_makes_a_new_module_that_is_found)
    fails(activation(torch.relu, make=lambda features=None: nn.Flatten()).test_recognised_as_itself)
    in_place = activation(torch.relu, make=lambda features=None: nn.ReLU(inplace=True))
    with pytest.raises((AssertionError, RuntimeError)):
        in_place.test_units_are_where_they_belong((5, 12))


# ------------------------------------------------------------------ models
def model(build: Callable[[IO, Activation], nn.Module]) -> ModelCases:
    cases = ModelCases()
    cases.factory = lambda: build  # type: ignore[return-value]
    cases.supports = (IO(input_shape=(6,), classes=3),)
    return cases


class WithSpare(nn.Module):
    """A layer that nothing reaches, and a scale of unknown kind."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.spare, self.scale = inner, nn.Linear(2, 2), nn.Parameter(torch.ones(3, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) @ self.scale


def test_a_parameter_that_nothing_reaches_or_nobody_knows() -> None:
    cases = model(lambda io, a: WithSpare(mlp(width=4)(io, a)))
    fails(cases.test_forward_and_backward)
    fails(cases.test_every_parameter_has_a_role)
    wrong = model(lambda io, a: mlp(width=4)(replace(io, classes=io.classes + 1), a))
    fails(wrong.test_forward_and_backward)


def test_a_model_that_refuses_nothing() -> None:
    cases = model(mlp(width=4))
    cases.refuses = (IO(input_shape=(9,), classes=3),)
    fails(cases.test_what_it_is_not_for_is_refused_by_name)
    fails(ModelCases().test_it_is_for_something)


def test_an_activation_that_is_built_in() -> None:
    cases = model(lambda io, a: mlp(width=4)(io, activations.relu()))
    cases.uses = 2
    fails(cases.test_each_use_of_an_activation_is_a_module)


# ------------------------------------------------------------------ tasks
class Leaky(ImageTask):
    """Opens digits, changed by `change`."""

    change: Callable[[Splits], Splits] = staticmethod(lambda splits: splits)

    def open(self, *, seed: int, device: torch.device) -> Splits:
        return type(self).change(super().open(seed=seed, device=device))


def task(change: Callable[[Splits], Splits]) -> TaskCases:
    kind = type("Changed", (Leaky,), {"change": staticmethod(change)})
    cases = TaskCases()
    cases.factory = lambda: kind(data=digits())
    return cases


def test_leaks_and_wrong_numbers() -> None:
    fails(task(lambda s: replace(s, val=s.train)).test_no_example_is_in_two_parts)
    first = lambda p: Part(x=p.x[p.y == 0], y=p.y[p.y == 0])  # noqa: E731
    fails(task(lambda s: replace(s, test=first(s.test))).test_every_part_holds_the_classes_in_the_same_proportions)
    fails(task(lambda s: replace(s, baseline=replace(s.baseline, constant=1.0))).test_the_baseline_is_right)
    fails(task(lambda s: replace(s, test=s.val)).test_the_same_seed_gives_the_same_split)
    holes = lambda p: Part(x=p.x / 0, y=p.y)  # noqa: E731
    fails(task(lambda s: replace(s, val=holes(s.val))).test_every_number_is_finite)
    fails(task(lambda s: replace(s, io=IO(input_shape=(8, 8), classes=10))).test_parts_have_the_shape_that_they_say)
    with torch.random.fork_rng():
        fails(task(lambda s: (torch.randn(1), s)[1]).test_opening_draws_no_number_of_torch)
    cases = task(lambda s: s)
    cases.bad_inputs = (lambda: digits(),)  # noqa: PLW0108
    fails(cases.test_bad_inputs_are_refused_by_name)


# ------------------------------------------------------------------ probes
def probe(measure: Callable[[LayerReading], Mapping[str, Tensor]]) -> ProbeCases:
    cases = ProbeCases()
    cases.factory = lambda: measure
    return cases


def test_probes_that_draw_write_or_fail() -> None:
    fails(probe(lambda _: {"noise": torch.randn(())}).test_it_needs_no_random_numbers_of_torch)
    fails(probe(lambda layer: {"w": layer.weight.mul_(2).sum()}).test_it_changes_no_tensor)
    fails(probe(lambda layer: {"log": layer.weight.norm().log()}).test_it_bears_layers_without_a_signal)
    fails(probe(lambda _: {"nan": torch.tensor(float("nan"))}).test_it_measures_something_and_its_rows_are_finite)
    fails(probe(lambda _: {}).test_it_measures_something_and_its_rows_are_finite)


class TestNorm(ProbeCases):
    """A probe that is right."""

    factory = staticmethod(lambda: lambda layer: {"norm": layer.weight.norm()})


# ------------------------------------------------------------------ the package
@pytest.mark.process
def test_nothing_is_collected_by_accident_and_nothing_else_needs_pytest() -> None:
    assert not [name for name in testing.__all__ if name.startswith("Test")]
    code = (
        "import sys; import initlab.api, initlab.cli.main, initlab.run.train; "
        "print([m for m in sys.modules if m.split('.')[0] == 'pytest' or m.startswith('initlab.testing')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
