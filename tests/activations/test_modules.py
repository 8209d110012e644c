"""What a module of the catalogue must be: found, recognised, copied, saved, moved by training, never in place."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from initlab import activations
from initlab.activations import activations_of, is_activation, recognise
from initlab.errors import ConfigError
from initlab.network.sites import describe
from initlab.spec import Activation
from initlab.train.optimizers import parameter_groups
from tests.activations.formulas import ENTRIES

GIVEN: dict[str, dict[str, object]] = {
    "per_layer": {"layers": ["pelu"]},
    "alternate": {"of": ["crelu", "tanh"]},
    "blend": {"of": ["relu", "tanh"]},
    "expr": {"f": "x*sigmoid(x)"},
}
PER_CHANNEL = ("prelu", "swish", "pelu", "apl", "pau", "acon_c", "smu", "kaf")
CATALOGUE: dict[str, Activation] = {
    **{n: f(**GIVEN.get(n, {})).sequence(1)[0] for n, f in activations.factories().items()},
    **{f"{n}-per_channel": activations.factories()[n](per_channel=True) for n in PER_CHANNEL},
}
LEARNABLE = [*PER_CHANNEL, *(f"{n}-per_channel" for n in PER_CHANNEL), "meta_acon", "blend"]
UNITS = 12
every = pytest.mark.parametrize("activation", CATALOGUE.values(), ids=CATALOGUE.keys())
learnable = pytest.mark.parametrize("activation", [CATALOGUE[n] for n in LEARNABLE], ids=LEARNABLE)


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def shaken(module: nn.Module) -> nn.Module:
    """The module after parameters have moved."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return module


@every
def test_each_call_makes_a_new_module_that_is_found(activation: Activation) -> None:
    first, second = activation.make(UNITS), activation.make(UNITS)
    assert first is not second and type(first) is type(second)
    assert is_activation(first) and not list(first.children())
    assert not getattr(first, "inplace", False)
    mine, other = list(first.parameters()), list(second.parameters())
    assert not {id(p) for p in mine} & {id(p) for p in other}


@every
@pytest.mark.parametrize("shape", [(5, UNITS), (5, UNITS, 3, 4), (5, 7, UNITS), (2, UNITS, 2, 3, 2)], ids=str)
def test_units_are_where_they_belong(activation: Activation, shape: tuple[int, ...]) -> None:
    received, sent = activation.units
    dim = 2 if len(shape) == 3 else 1
    x = drawn(*shape)
    kept = x.clone()
    leaf = x.requires_grad_(True)
    module = activation.make(UNITS).eval()
    out = module(leaf)
    assert torch.equal(x.detach(), kept), "it overwrote its input"
    expected = list(shape)
    expected[dim] = UNITS * sent // received
    assert list(out.shape) == expected
    out.square().sum().backward()
    assert leaf.grad is not None and bool(torch.isfinite(leaf.grad).all())
    if activation.units == (1, 1) and activation.moments is None:
        torch.testing.assert_close(out, activation.fn(x), rtol=1e-5, atol=1e-5)
    # units lie along `dim`: moving them to the front and back changes nothing
    if dim == 2:
        flat = module(x.detach().reshape(-1, UNITS))
        if activation.name != "meta_acon":  # whose slope sees the other positions
            torch.testing.assert_close(out, flat.reshape(out.shape))


@every
def test_a_copy_computes_the_same_and_is_another(activation: Activation) -> None:
    module = shaken(activation.make(UNITS).eval())
    again = copy.deepcopy(module)
    x = drawn(4, UNITS)
    assert torch.equal(module(x), again(x))
    shaken(again)
    if list(module.parameters()):
        assert not torch.equal(module(x), again(x))


@every
def test_the_state_dict_holds_everything(activation: Activation) -> None:
    module, fresh = shaken(activation.make(UNITS).eval()), activation.make(UNITS).eval()
    progress = getattr(module, "set_progress", None)
    if progress is not None:
        progress(0.3)
    fresh.load_state_dict(module.state_dict())
    x = drawn(4, UNITS)
    assert torch.equal(module(x), fresh(x))


@every
def test_on_the_meta_device(activation: Activation) -> None:
    with torch.device("meta"):
        module = activation.make(UNITS)
        out = module(torch.zeros(3, UNITS))
    assert out.is_meta and all(p.is_meta for p in module.parameters())
    assert recognise(module).name == activation.name


@every
def test_recognised_as_itself(activation: Activation) -> None:
    module = activation.make(UNITS)
    found = recognise(module)
    assert (found.name, found.units) == (activation.name, activation.units)
    x = drawn(3, 5).double()
    torch.testing.assert_close(found.fn(x), activation.fn(x))


@every
def test_recognised_as_what_it_is_now(activation: Activation) -> None:
    module = shaken(activation.make(UNITS)).eval()
    found = recognise(module)
    for shape in ((3,), (3, UNITS), (2, 2, 2, 2)):
        assert found.fn(drawn(*shape).double()).dtype == torch.float64
    if activation.units == (1, 1) and activation.moments is None and _shared(module):
        x = drawn(5, UNITS)
        torch.testing.assert_close(found.fn(x), module(x), rtol=1e-5, atol=1e-5)
        # what was recognised does not change when training goes on
        before = found.fn(x)
        shaken(module)
        assert torch.equal(found.fn(x), before)


def _shared(module: nn.Module) -> bool:
    return all(UNITS not in p.shape for p in module.parameters())


@learnable
def test_every_parameter_gets_a_gradient(activation: Activation) -> None:
    module = activation.make(UNITS)
    if activation.name != "meta_acon":
        module(3 * drawn(64, UNITS)).square().sum().backward()
    else:
        shaken(module)(drawn(64, UNITS, 3, 3)).square().sum().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None and bool((parameter.grad != 0).any()), name


@learnable
def test_gradients_of_parameters_against_differences(activation: Activation) -> None:
    module = shaken(activation.make(4)).double()
    x = drawn(6, 4).double()
    values = {n: p.detach().clone().requires_grad_(True) for n, p in module.named_parameters()}

    def out(*parameters: Tensor) -> Tensor:
        return torch.func.functional_call(module, dict(zip(values, parameters, strict=True)), (x,))

    assert torch.autograd.gradcheck(out, tuple(values.values()), atol=1e-6)


@learnable
def test_no_weight_decay(activation: Activation) -> None:
    model = nn.Sequential(nn.Linear(5, UNITS), activation.make(UNITS), nn.Linear(UNITS, 3))
    sites = describe(model, drawn(2, 5))
    groups = parameter_groups(model, sites)
    assert {id(p) for p in groups[0]["params"]} == {id(model[0].weight), id(model[2].weight)}
    assert groups[1]["weight_decay"] == 0.0
    kinds = {s.name: s.kind for s in sites if s.name.startswith("1.")}
    assert kinds and set(kinds.values()) == {"activation"}


@learnable
def test_readings_are_scalars_with_names_that_a_metric_may_have(activation: Activation) -> None:
    readings = activation.make(UNITS).readings()  # pyright: ignore[reportCallIssue]
    assert readings
    for name, value in readings.items():
        assert name.replace("_", "").isalnum() and value.shape == () and not value.requires_grad


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
