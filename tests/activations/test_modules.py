"""The contract of `initlab.testing` for every entry of the catalogue: found, recognised, copied, saved."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from initlab import activations
from initlab.activations import activations_of, is_activation, recognise
from initlab.errors import ConfigError
from initlab.spec import Activation
from initlab.testing.activation_formula import MomentCases
from initlab.testing.activation_module import LearnableCases, ModuleCases, drawn
from tests.activations.formulas import ENTRIES

GIVEN: dict[str, dict[str, object]] = {
    "per_layer": {"layers": ["pelu"]},
    "alternate": {"of": ["crelu", "tanh"]},
    "blend": {"of": ["relu", "tanh"]},
    "expr": {"f": "x*sigmoid(x)"},
}
PER_CHANNEL = ("prelu", "xielu", "poly_relu", "swish", "pelu", "apl", "pau", "acon_c", "smu", "kaf")
CATALOGUE: dict[str, Activation] = {
    **{n: f(**GIVEN.get(n, {})).sequence(1)[0] for n, f in activations.factories().items()},
    **{f"{n}-per_channel": activations.factories()[n](per_channel=True) for n in PER_CHANNEL},
}
UNITS = 12


LEARNABLE = [*PER_CHANNEL, *(f"{n}-per_channel" for n in PER_CHANNEL), "meta_acon", "blend"]


class TestCatalogue(ModuleCases, MomentCases):
    """Every entry as a module; its formula is in test_formulas.py."""

    @pytest.fixture(autouse=True, params=CATALOGUE)
    def chosen(self, request: pytest.FixtureRequest) -> None:
        activation = CATALOGUE[request.param]
        self.factory = lambda: activation
        self.sees_positions = activation.name == "meta_acon"


class TestLearnable(LearnableCases):
    """The entries that learn."""

    @pytest.fixture(autouse=True, params=LEARNABLE)
    def chosen(self, request: pytest.FixtureRequest) -> None:
        activation = CATALOGUE[request.param]
        assert list(activation.make(UNITS).parameters())
        self.factory = lambda: activation
        # its slopes start alike, whatever its weights
        self.starts_flat = activation.name == "meta_acon"


def test_readings_follow_the_parameters() -> None:
    swish = activations.swish(per_channel=True).make(2)
    with torch.no_grad():
        swish.get_parameter("beta").copy_(torch.tensor([1.0, 4.0]))
    assert {k: float(v) for k, v in swish.readings().items()} == {"beta": 2.5}  # pyright: ignore[reportCallIssue]
    apl = activations.apl(hinges=1).make()
    assert {k: float(v) for k, v in apl.readings().items()} == pytest.approx({"act_a0": -0.1, "act_b0": 0.0})  # pyright: ignore[reportCallIssue]
    assert list(activations.kaf().make().readings()) == ["act_a_norm"]  # pyright: ignore[reportCallIssue]


@pytest.mark.parametrize("name", ["meta_acon", "prelu-per_channel"])
def test_parameters_for_each_unit_need_to_know_how_many(name: str) -> None:
    with pytest.raises(ConfigError, match="keeps parameters for each unit"):
        CATALOGUE[name].make()


def test_pelu_has_a_slope_below_the_bound_of_its_parameters() -> None:
    module = activations.pelu().make()
    with torch.no_grad():
        module.get_parameter("a").fill_(-2.0)
    module(drawn(10)).sum().backward()
    assert module.get_parameter("a").grad != 0


# ------------------------------------------------------------------ torch's own modules
TORCH = [
    (nn.ReLU(), "relu"), (nn.ReLU6(), "relu6"), (nn.LeakyReLU(0.3), "leaky_relu"), (nn.RReLU(0.1, 0.5), "rrelu"),
    (nn.ELU(0.7), "elu"), (nn.SELU(), "selu"), (nn.CELU(1.5), "celu"), (nn.GELU(), "gelu"),
    (nn.GELU("tanh"), "gelu_tanh"), (nn.SiLU(), "silu"), (nn.Mish(), "mish"), (nn.Softplus(), "softplus"),
    (nn.Sigmoid(), "sigmoid"), (nn.Tanh(), "tanh"), (nn.LogSigmoid(), "logsigmoid"), (nn.Hardtanh(-2, 1), "hardtanh"),
    (nn.Hardsigmoid(), "hardsigmoid"), (nn.Hardswish(), "hardswish"), (nn.Hardshrink(0.2), "hardshrink"),
    (nn.Softshrink(0.2), "softshrink"), (nn.Tanhshrink(), "tanhshrink"), (nn.Softsign(), "softsign"),
    (nn.Threshold(0.1, -3.0), "threshold"), (nn.PReLU(init=0.4), "prelu"), (nn.Softplus(beta=3), "softplus"),
]  # fmt: skip


@pytest.mark.parametrize(("module", "name"), TORCH, ids=[repr(m) for m, _ in TORCH])
def test_modules_of_torch(module: nn.Module, name: str) -> None:
    found = recognise(module.eval())
    assert found.name == name
    x = 3 * drawn(50)
    torch.testing.assert_close(found.fn(x), module(x).detach())
    assert found.fn(x.double()).dtype == torch.float64


def test_slopes_of_channels_count_by_their_square() -> None:
    prelu = nn.PReLU(2)
    with torch.no_grad():
        prelu.weight.copy_(torch.tensor([0.0, 1.0]))
    found = recognise(prelu)
    assert float(-found.fn(torch.tensor(-1.0))) == pytest.approx(math.sqrt(0.5))


def test_glu_of_torch() -> None:
    assert (recognise(nn.GLU()).name, recognise(nn.GLU()).units) == ("glu", (2, 1))
    assert is_activation(nn.GLU())


def test_equal_modules_are_one_activation() -> None:
    model = nn.Sequential(*[m for a in (0.1, 0.1, 0.2) for m in (nn.Linear(2, 2), nn.LeakyReLU(a))])
    first, second, third = activations_of(model).values()
    assert first is second and first is not third
    default = activations.leaky_relu(negative_slope=0.2)
    assert activations_of(model, default)["5"] is default
    assert activations_of(model, default)["1"].torch_param == 0.1


def test_a_strangers_module_is_taken_as_it_is_now() -> None:
    class Scaled(nn.Module):
        initlab_activation = True

        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.tensor(2.0))

        def forward(self, x: Tensor) -> Tensor:
            return self.scale * torch.tanh(x)

    module = Scaled()
    found = recognise(module)
    with torch.no_grad():
        module.scale.fill_(9.0)
    assert float(found.fn(torch.tensor(100.0))) == pytest.approx(2.0)


def test_learnt_functions_start_with_one_function_for_all_layers() -> None:
    """Quadrature is remembered by the function: twenty layers at their start must not be twenty functions."""
    activation = activations.swish()
    assert recognise(activation.make(3)).fn is recognise(activation.make(3)).fn is activation.fn


def test_entries_and_catalogue_agree_on_names() -> None:
    for activation, _ in ENTRIES.values():
        assert activation.name in activations.factories() or activation.name == "x*tanh(softplus(x))"
