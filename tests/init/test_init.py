"""`initlab.init`: tensors in the manner of torch.nn.init, and modules by their class."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import initlab
from initlab import init
from initlab.errors import ConfigError


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", [m.name for m in pkgutil.iter_modules(init.__path__)])
def test_examples_run(name: str) -> None:
    assert doctest.testmod(importlib.import_module(f"initlab.init.{name}")).failed == 0


def test_every_public_function_has_an_example_and_is_an_attribute_of_the_package() -> None:
    for name in init.__all__:
        assert "Example:" in (getattr(init, name).__doc__ or ""), name
    assert initlab.init is init


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (lambda w: init.he_(w, "relu"), lambda w: nn.init.kaiming_normal_(w, nonlinearity="relu")),
        (
            lambda w: init.he_(w, "tanh", gain="torch", distribution="uniform"),
            lambda w: nn.init.kaiming_uniform_(w, nonlinearity="tanh"),
        ),
        (
            lambda w: init.he_(w, fan="fan_out"),
            lambda w: nn.init.kaiming_normal_(w, mode="fan_out", nonlinearity="relu"),
        ),
        (init.xavier_, nn.init.xavier_uniform_),
        (lambda w: init.xavier_(w, gain=2, distribution="normal"), lambda w: nn.init.xavier_normal_(w, gain=2)),
        (init.lecun_, lambda w: nn.init.kaiming_normal_(w, nonlinearity="linear")),
        (lambda w: init.normal_(w, 0.3), lambda w: nn.init.normal_(w, std=0.3)),
        (lambda w: init.uniform_(w, 0.3), lambda w: nn.init.uniform_(w, -0.3, 0.3)),
        (lambda w: init.constant_(w, -2), lambda w: nn.init.constant_(w, -2)),
        (init.zeros_, nn.init.zeros_),
    ],
)
@pytest.mark.parametrize("shape", [(5, 7), (6, 4, 3), (6, 4, 3, 2)])
def test_where_torch_means_the_same_the_values_are_the_same(
    ours: Callable[[Tensor], Tensor], theirs: Callable[[Tensor], Tensor], shape: tuple[int, ...]
) -> None:
    torch.manual_seed(3)
    expected = theirs(torch.empty(shape))
    torch.manual_seed(3)
    w = torch.empty(shape)
    assert ours(w) is w
    torch.testing.assert_close(w, expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("shape", [(6, 6, 3), (6, 3, 3, 3), (3, 6, 3, 3, 3)])
def test_dirac_is_torchs(shape: tuple[int, ...]) -> None:
    assert torch.equal(init.dirac_(torch.empty(shape)), nn.init.dirac_(torch.empty(shape)))
    assert torch.equal(init.dirac_(torch.empty(shape), groups=3), nn.init.dirac_(torch.empty(shape), groups=3))
    assert torch.equal(init.identity_(torch.empty(4, 3)), nn.init.eye_(torch.empty(4, 3)))


def taps_by_hand(layer: nn.Module, inputs: Tensor) -> tuple[float, float]:
    """(How many inputs one output sums over, how many outputs one input feeds), of a convolution, in the middle."""
    with torch.no_grad():
        layer.weight.fill_(1.0)
        seen = layer(torch.ones_like(inputs))
    inside = tuple(slice(n // 4, 3 * n // 4) for n in seen.shape[2:])
    fan_in = float(seen[(slice(None), slice(None), *inside)].mean())
    probe = torch.zeros_like(inputs)
    probe[(0, 0, *(n // 2 for n in inputs.shape[2:]))] = 1.0
    with torch.no_grad():
        return fan_in, float((layer(probe) != 0).sum())


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_fans_of_transposed_and_grouped_convolutions(groups: int, stride: int) -> None:
    layers = [
        (nn.ConvTranspose2d(16, 24, 6, stride=stride, groups=groups, bias=False), True, torch.zeros(1, 16, 24, 24)),
        (nn.ConvTranspose1d(16, 24, 6, stride=stride, groups=groups, bias=False), True, torch.zeros(1, 16, 48)),
        (nn.Conv2d(16, 24, 3, groups=groups, bias=False), False, torch.zeros(1, 16, 12, 12)),
    ]
    for layer, transposed, inputs in layers:
        fan_in, fan_out = taps_by_hand(layer, inputs)
        strides = stride if transposed else 1
        for fan, wanted in (("fan_in", fan_in), ("fan_out", fan_out), ("fan_avg", (fan_in + fan_out) / 2)):
            w = init.he_(
                layer.weight, "identity", fan, transposed=transposed, groups=groups, stride=strides, generator=seeded()
            )  # fmt: skip
            # one draw scaled: the ratio to a unit normal of the same seed is the standard deviation, without noise
            unit = init.normal_(torch.empty(w.shape), 1.0, generator=seeded())
            assert float((w.detach() / unit).mean()) == pytest.approx(wanted**-0.5, rel=1e-4), (layer, fan)


def test_for_module_has_the_fans_of_the_layers() -> None:
    model = nn.Sequential(
        nn.Conv2d(8, 16, 3, groups=4), nn.ReLU(), nn.ConvTranspose2d(16, 8, 4, stride=2, groups=2), nn.BatchNorm2d(8),
        nn.GELU(), nn.Flatten(), nn.Linear(8 * 100, 30), nn.LayerNorm(30), nn.LSTM(30, 20),
    )  # fmt: skip
    assert model.apply(init.for_module("he", "relu", generator=seeded())) is model
    for layer, fan in ((model[0], 2 * 9), (model[2], 8 * 16 / 4), (model[6], 800)):
        assert float(layer.weight.detach().square().mean()) == pytest.approx(2 / fan, rel=0.15)
        assert not layer.bias.any()
    assert float(model[8].weight_ih_l0.detach().square().mean()) == pytest.approx(2 / 30, rel=0.1)
    for norm in (model[3], model[7]):
        assert torch.equal(norm.weight.detach(), torch.ones_like(norm.weight)) and not norm.bias.any()
    again = model[6].weight.detach().clone()
    model.apply(init.for_module("he", "relu", generator=seeded()))
    assert torch.equal(model[6].weight, again)
    model.apply(init.for_module("he", "relu", generator=seeded(1)))
    assert not torch.equal(model[6].weight, again)


def test_for_module_draws_equal_layers_apart_and_each_gate_by_itself() -> None:
    twins = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6)).apply(init.for_module("he"))
    assert not torch.equal(twins[0].weight, twins[1].weight)
    lstm = nn.LSTM(5, 5).apply(init.for_module("orthogonal(gain=1.0)"))
    for gate in lstm.weight_hh_l0.detach().chunk(4):
        torch.testing.assert_close(gate @ gate.T, torch.eye(5), atol=1e-5, rtol=0)
    attention = nn.MultiheadAttention(4, 2).apply(init.for_module("orthogonal", gain=1.0))
    for part in attention.in_proj_weight.detach().chunk(3):
        torch.testing.assert_close(part @ part.T, torch.eye(4), atol=1e-5, rtol=0)
    table = nn.Embedding(500, 40, padding_idx=3).apply(init.for_module("he", "gelu"))
    assert not table.weight[3].any() and float(table.weight.detach().std()) == pytest.approx(1, rel=0.05)
    slope = nn.PReLU(init=0.1).apply(init.for_module("he"))
    assert float(slope.weight.detach()) == pytest.approx(0.1)
    chaos = nn.Linear(40, 4000).apply(init.for_module("edge_of_chaos", "gelu"))
    assert float(chaos.bias.detach().std()) == pytest.approx(0.5, rel=0.05)
    assert float(chaos.weight.detach().std()) * 40**0.5 == pytest.approx(1.399868, rel=0.02)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_the_float32_draw_cast(dtype: torch.dtype) -> None:
    for draw in (init.he_, init.orthogonal_, init.sparse_, init.edge_of_chaos_):
        w = draw(torch.empty(6, 20, dtype=dtype), generator=seeded())
        assert torch.equal(w, draw(torch.empty(6, 20), generator=seeded()).to(dtype))
    with pytest.raises(ConfigError, match=r"dtype=torch.float16: cannot hold"):
        init.normal_(torch.empty(9, dtype=torch.float16), 1e6)


def test_complex_weights_have_the_mean_square_of_real_ones() -> None:
    w = torch.empty(200, 300, dtype=torch.complex64)
    for fill, wanted in (
        (lambda: init.he_(w, generator=seeded()), 2 / 300),
        (lambda: init.xavier_(w, generator=seeded()), 2 / 500),
        (lambda: init.uniform_(w, 0.3, generator=seeded()), 0.03),
        (lambda: init.truncated_normal_(w, 0.2, generator=seeded()), 0.04),
        (lambda: init.sparse_(w, 15, generator=seeded()), 15 / 300),
    ):
        assert float(fill().abs().square().mean()) == pytest.approx(wanted, rel=0.03)
        assert float(w.real.square().mean()) == pytest.approx(wanted / 2, rel=0.1)
    assert (init.sparse_(w, 15) != 0).sum(1).unique().tolist() == [15]
    for shape in ((6, 4), (4, 6)):
        q = init.orthogonal_(torch.empty(shape, dtype=torch.complex64))
        gram = q @ q.mH if shape[0] < shape[1] else q.mH @ q
        torch.testing.assert_close(gram, torch.eye(4, dtype=q.dtype), atol=1e-5, rtol=0)
        assert q.imag.abs().max() > 0
    assert torch.equal(init.identity_(torch.empty(3, 3, dtype=torch.complex64)), torch.eye(3, dtype=torch.complex64))


def test_orthogonal_of_grouped_and_transposed_weights() -> None:
    grouped = init.orthogonal_(torch.empty(8, 5, 3), groups=2)
    for block in grouped.reshape(2, 4, 15):
        torch.testing.assert_close(block @ block.T, torch.eye(4), atol=1e-5, rtol=0)
    transposed = init.orthogonal_(torch.empty(10, 4, 3), transposed=True)
    rows = transposed.transpose(0, 1).reshape(4, 30)
    torch.testing.assert_close(rows @ rows.T, torch.eye(4), atol=1e-5, rtol=0)
    matrix = init.he_(torch.empty(1000, 8), transposed=True)
    assert float(matrix.square().mean()) == pytest.approx(2 / 1000, rel=0.1)


def test_parameters_are_written_outside_of_autograd_and_views_in_place() -> None:
    layer = nn.Linear(30, 20)
    assert init.he_(layer.weight, torch.tanh) is layer.weight
    assert layer.weight.grad_fn is None and layer.weight.requires_grad
    stacked = torch.zeros(3, 4, 4)
    init.orthogonal_(stacked[1])
    assert stacked[1].any() and not stacked[0].any()
    assert init.he_(torch.empty(0, 4)).shape == (0, 4)
    assert init.normal_(torch.empty(()), 1.0).shape == ()


def test_edge_of_chaos_of_an_activation_without_one() -> None:
    with pytest.raises(ConfigError, match="softplus has no critical point"):
        init.edge_of_chaos_(torch.empty(3, 3), "softplus")


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: init.he_(torch.empty(3)), r"w=tensor of shape \(3,\): has no fans"),
        (lambda: init.xavier_(torch.empty(())), r"w=tensor of shape \(\): has no fans"),
        (lambda: init.he_(torch.empty(2, 2), fan="fanin"), "fan=fanin: did you mean fan_in.*choose from "),
        (lambda: init.he_(torch.empty(2, 2), "gelo"), "near it: gelu"),
        (lambda: init.he_(torch.empty(2, 2), gain="foward"), "gain=foward: did you mean forward.*choose from "),
        (lambda: init.he_(torch.empty(2, 2), gain=-1), "gain=-1: must be greater than 0"),
        (lambda: init.he_(torch.empty(2, 2), distribution="gauss"), "distribution=gauss: choose from normal"),
        (lambda: init.he_(torch.empty(2, 2, device="meta")), "w=meta tensor: has no memory"),
        (lambda: init.he_(torch.zeros(2, 2, dtype=torch.int64)), "w=tensor of torch.int64: must be of a floating"),
        (lambda: init.he_(nn.Linear(2, 2)), "w=Linear: is a module: give its .weight, or model.apply"),
        (lambda: init.zeros_(nn.Linear(2, 2, bias=False).bias), "w=NoneType: must be a tensor"),
        (lambda: init.he_(torch.empty(3, 2), groups=2), "groups=2: must divide dimension 0 of the weight, which is 3"),
        (lambda: init.he_(torch.empty(2, 2), groups=0), "groups=0: must be an integer"),
        (lambda: init.he_(torch.empty(2, 2, 3), stride=(1, 1)), r"stride=\(1, 1\): must be a number"),
        (lambda: init.he_(torch.empty(2, 2), transposed=1), "transposed=1: must be True or False"),
        (lambda: init.he_(torch.empty(2, 2), generator=0), "generator=0: must be a torch.Generator"),
        (lambda: init.normal_(torch.empty(2), float("nan")), "std=nan: must be a finite number"),
        (lambda: init.sparse_(torch.empty(2, 2), k=0), "k=0: must be an integer"),
        (lambda: init.for_module("hee"), "did you mean he"),
        (lambda: init.for_module("lsuv"), "name=lsuv: looks at the whole network: initlab.initialize"),
        (lambda: init.for_module("he(gain=1.0)", mode="fan_out"), "not both|either in the text"),
        (lambda: init.for_module("normal", standard=1), "normal has no standard"),
        (lambda: init.for_module("he")(torch.empty(2, 2)), "module=Tensor: is no nn.Module"),
        (lambda: nn.LazyLinear(3).apply(init.for_module("he")), "has no shape yet"),
        (lambda: nn.Conv2d(2, 2, 2).apply(init.for_module("delta_orthogonal")), "needs kernels of odd size"),
        (
            lambda: nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)).apply(init.for_module("he")),
            "has a parametrisation",
        ),
    ],
)
def test_wrong_arguments_get_a_sentence(call: Callable[[], object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        call()


def test_parameters_of_no_known_class_are_left_with_a_warning() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.full((2, 3), 7.0))

    with pytest.warns(UserWarning, match=r"Own.weight is of no known class and is left as it is"):
        own = Own().apply(init.for_module("he"))
    assert bool((own.weight == 7).all())
