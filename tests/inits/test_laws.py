"""Each initialiser has the variance, bounds and structure its formula says, for every kind of layer."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

import initlab
from initlab import activations, inits
from initlab.errors import ConfigError
from initlab.inits.laws import TRUNCATED_STD
from initlab.network.sites import describe
from initlab.spec import Activation, InitContext, Initializer
from initlab.theory import gain


def initialised(model: nn.Module, init: Initializer, activation: Activation | None = None, seed: int = 0) -> nn.Module:
    context = InitContext(activation=activation or activations.relu())
    inits.apply(model, describe(model), init, context=context, seed=seed)
    return model


def net(layer: nn.Module) -> nn.Module:
    return nn.Sequential(layer, nn.ReLU())


BIG = nn.Linear(400, 600)
FAN_CASES: list[tuple[str, Callable[[], Initializer], float]] = [
    ("he", inits.he, 2 / 400),
    ("he_out", lambda: inits.he(mode="fan_out"), 2 / 600),
    ("he_avg", lambda: inits.he(mode="fan_avg"), 2 / 500),
    ("he_gain", lambda: inits.he(gain=3.0), 9 / 400),
    ("he_uniform", lambda: inits.he(distribution="uniform"), 2 / 400),
    ("he_truncated", lambda: inits.he(distribution="truncated"), 2 / 400),
    ("xavier", inits.xavier, 2 / 1000),
    ("xavier_normal", lambda: inits.xavier(distribution="normal"), 2 / 1000),
    ("lecun", inits.lecun, 1 / 400),
    ("torch_default", inits.torch_default, 1 / 1200),
    ("uniform", lambda: inits.uniform(a=0.3), 0.09 / 3),
    ("normal", lambda: inits.normal(std=0.2), 0.04),
    ("truncated_normal", lambda: inits.truncated_normal(std=0.2), 0.04),
]


@pytest.mark.parametrize(("make", "variance"), [c[1:] for c in FAN_CASES], ids=[c[0] for c in FAN_CASES])
def test_variance_of_a_wide_layer(make: Callable[[], Initializer], variance: float) -> None:
    w = initialised(net(nn.Linear(400, 600)), make())[0].weight.detach()  # type: ignore[index]
    # the standard error of a variance of n values is at most variance·√(2/n) for these laws
    assert float(w.var(correction=0)) == pytest.approx(variance, rel=4 * math.sqrt(2 / w.numel()))
    assert float(w.mean().abs()) < 4 * math.sqrt(variance / w.numel())


@pytest.mark.parametrize(
    ("law", "kurtosis", "bound"), [("uniform", 1.8, math.sqrt(3)), ("truncated", 2.2, 2 / TRUNCATED_STD)]
)
def test_shape_and_bounds_of_the_laws(law: str, kurtosis: float, bound: float) -> None:
    w = initialised(net(nn.Linear(400, 600)), inits.he(distribution=law, gain=20.0))[0].weight.detach()  # type: ignore
    assert float(w.abs().max()) <= bound + 1e-5
    assert float((w**4).mean() / (w**2).mean() ** 2) == pytest.approx(kurtosis, abs=0.2)


@pytest.mark.parametrize(
    ("layer", "fan_in"),
    [
        (nn.Conv2d(32, 64, 3), 288),
        (nn.Conv2d(64, 64, 3, groups=64), 9),
        (nn.Conv2d(64, 128, 3, groups=4), 144),
        (nn.ConvTranspose2d(32, 64, 4, stride=2), 128),
        (nn.Conv1d(32, 64, 5), 160),
    ],
    ids=str,
)
def test_he_keeps_the_mean_square_through_a_layer(layer: nn.Module, fan_in: int) -> None:
    """The property and not the formula: E h² = 2·E x² in the interior, whatever the layer."""
    initialised(net(layer), inits.he(gain=math.sqrt(2)), seed=3)
    dims = 1 if isinstance(layer, nn.Conv1d) else 2
    channels = int(layer.in_channels)  # type: ignore[arg-type]
    x = torch.empty(16, channels, *[32] * dims).normal_(generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        h: Tensor = layer(x)
    interior = h[(slice(None), slice(None), *[slice(5, -5)] * dims)]
    weight = layer.weight
    assert isinstance(weight, Tensor)
    assert float(weight.detach().var(correction=0)) == pytest.approx(2 / fan_in, rel=0.15)
    assert float((interior**2).mean()) == pytest.approx(2.0, rel=0.15)


def test_deep_relu_network_keeps_its_signal_with_he_and_loses_it_with_torch_default() -> None:
    """q shrinks by 1/6 a layer under torch's default: 1/3 of the variance, half of it passed by ReLU."""
    x = torch.empty(256, 512).normal_(generator=torch.Generator().manual_seed(0))
    for init, expected in ((inits.he(), 1.0), (inits.torch_default(bias=0.0), 1 / 6)):
        model = nn.Sequential(*[m for _ in range(8) for m in (nn.Linear(512, 512, bias=False), nn.ReLU())])
        initialised(model, init)
        with torch.no_grad():
            squares = [float((model[: 2 * i + 1](x) ** 2).mean()) for i in range(8)]
        factor = (squares[-1] / squares[0]) ** (1 / 7)
        assert factor == pytest.approx(expected, rel=0.1)


def test_gain_auto_is_the_activations_and_1_without_one() -> None:
    for activation in (activations.tanh(), activations.gelu(), activations.leaky_relu(negative_slope=0.2)):
        model = nn.Sequential(nn.Linear(500, 500), activation.make(), nn.Linear(500, 500))
        initialised(model, inits.he(), activation)
        for layer in (model[0], model[2]):
            assert float(layer.weight.detach().std()) * math.sqrt(500) == pytest.approx(gain(activation), rel=0.02)
    linear = initialised(nn.Linear(500, 500), inits.he(), activations.relu())
    assert float(linear.weight.detach().std()) * math.sqrt(500) == pytest.approx(1.0, rel=0.02)  # type: ignore[operator]


def test_torch_default_is_what_torch_does() -> None:
    torch.manual_seed(0)
    for layer in (nn.Linear(300, 200), nn.Conv2d(16, 64, 3), nn.ConvTranspose2d(64, 16, 3), nn.LSTM(100, 80)):
        theirs = {n: float(p.detach().abs().max()) for n, p in layer.named_parameters()}
        initialised(layer, inits.torch_default())
        for name, parameter in layer.named_parameters():
            tolerance = 0.25 if parameter.numel() < 100 else 0.1 if parameter.numel() < 1000 else 0.01
            assert float(parameter.detach().abs().max()) == pytest.approx(theirs[name], rel=tolerance), (layer, name)
    attention = nn.MultiheadAttention(64, 4)
    theirs = {n: float(p.detach().abs().max()) for n, p in attention.named_parameters()}
    initialised(attention, inits.torch_default())
    for name, parameter in attention.named_parameters():
        assert float(parameter.detach().abs().max()) == pytest.approx(theirs[name], rel=0.01, abs=1e-12), name


@pytest.mark.parametrize("shape", [(64, 64), (256, 64), (64, 256)])
def test_orthogonal_of_a_linear_layer(shape: tuple[int, int]) -> None:
    w = initialised(nn.Linear(shape[1], shape[0]), inits.orthogonal(gain=1.5)).weight
    assert isinstance(w, Tensor)
    product = w @ w.T if shape[0] <= shape[1] else w.T @ w
    assert torch.allclose(product, 2.25 * torch.eye(min(shape)), atol=1e-5)


def test_orthogonal_has_one_matrix_a_group_and_a_gate() -> None:
    conv = initialised(nn.Conv2d(8, 16, 3, groups=4), inits.orthogonal(gain=1.0)).weight
    assert isinstance(conv, Tensor)
    for group in conv.flatten(1).split(4):
        assert torch.allclose(group @ group.T, torch.eye(4), atol=1e-5)
    transposed = initialised(nn.ConvTranspose2d(8, 16, 3, groups=4), inits.orthogonal(gain=1.0)).weight
    assert isinstance(transposed, Tensor)
    for group in transposed.split(2):  # (in / groups, out / groups, 3, 3): units lie along dimension 1
        rows = group.transpose(0, 1).flatten(1)
        assert torch.allclose(rows @ rows.T, torch.eye(4), atol=1e-5)
    lstm = nn.LSTM(10, 12)
    initialised(lstm, inits.orthogonal(gain=1.0))
    for gate in lstm.weight_hh_l0.detach().split(12):
        assert torch.allclose(gate @ gate.T, torch.eye(12), atol=1e-5)


def test_orthogonal_is_haar() -> None:
    """The first entry of a Haar matrix has mean 0; without the sign of diag R it would be negative always."""
    site, context = describe(nn.Linear(3, 3))[0], InitContext(activation=activations.relu())
    draw = inits.orthogonal(gain=1.0).weight
    entries = [float(draw(site, torch.Generator().manual_seed(s), context)[0, 0]) for s in range(400)]
    assert abs(sum(entries) / len(entries)) < 4 * math.sqrt(1 / 3 / 400)


def test_constant_zeros_and_biases() -> None:
    layer = initialised(nn.Linear(4, 3), inits.constant(value=0.25, bias=-1.0))
    assert torch.equal(layer.weight, torch.full((3, 4), 0.25)) and torch.equal(layer.bias, torch.full((3,), -1.0))
    zero = initialised(nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 3)), inits.zeros())
    assert all(not p.any() for p in zero.parameters())
    lstm = initialised(nn.LSTM(4, 4), inits.he())
    assert not lstm.bias_ih_l0.any()  # type: ignore[union-attr, operator]


def test_a_gain_that_is_not_positive_is_refused() -> None:
    for make in (inits.he, inits.xavier, inits.lecun):
        with pytest.raises(ConfigError, match="gain=-1"):
            make(gain=-1)


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
def test_torchs_law_of_recurrent_layers_has_the_states_size_as_its_fan(kind: type[nn.RNNBase]) -> None:
    model = kind(3, 400)
    init = inits.recurrent(inputs="torch", state="torch")
    initialised(model, init)
    own = kind(3, 400)
    for name in ("weight_ih_l0", "weight_hh_l0"):
        drawn, given = getattr(model, name), getattr(own, name)
        assert float(drawn.detach().abs().max()) <= 1 / math.sqrt(400)
        assert float(drawn.detach().std()) == pytest.approx(float(given.detach().std()), rel=0.05)


@pytest.mark.parametrize("fan_in", [2, 5])
def test_rai_is_the_authors_draw(fan_in: int) -> None:
    """V = σ·randn(out, in + 1)/√in with one entry of each row from Beta(2, 1): weights and biases by their laws."""
    units, rng = 4000, np.random.default_rng(0)
    theirs = rng.standard_normal((units, fan_in + 1)) * 0.6007 / fan_in**0.5
    theirs[np.arange(units), rng.integers(0, fan_in + 1, units)] = rng.beta(2, 1, units)
    layer = initialised(nn.Linear(fan_in, units), inits.rai())
    assert isinstance(layer, nn.Linear)
    for ours, column in ((layer.weight, theirs[:, :-1]), (layer.bias, theirs[:, -1])):
        values = ours.detach().double().numpy().ravel()
        assert float(stats.ks_2samp(values, column.ravel())[1]) > 1e-3  # pyright: ignore[reportArgumentType]


class Stacked(nn.Module):
    """ReLU recurrent layers, read at the last step."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.rnn = nn.RNN(40, 40, layers, nonlinearity="relu", batch_first=True)
        self.head = nn.Linear(40, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(x)[0][:, -1])


def test_irnn_says_what_a_second_layer_does_to_the_signal() -> None:
    """The share of the signal that the note names is that of the pre-activations of the second layer's inputs."""
    x = torch.randn(64, 3, 40, generator=torch.Generator().manual_seed(0))
    for layers in (1, 2):
        model = Stacked(layers)
        notes = [n for n in initlab.initialize(model, "irnn(std=0.01)", example=x).notes if n.startswith("irnn")]
        assert len(notes) == layers - 1
    weight = dict(model.named_parameters())["rnn.weight_ih_l1"].detach()
    signal = torch.randn(20_000, 40, generator=torch.Generator().manual_seed(1))
    share = float((signal @ weight.T).square().mean().sqrt())
    assert share == pytest.approx(0.063, rel=0.05) and "about 0.063 of the signal" in notes[0]


@pytest.mark.parametrize("layer", ["torch", "written"])
def test_deepnorm_is_for_post_norm_networks(layer: str) -> None:
    x = torch.randn(2, 4, 8)

    def model(*, norm_first: bool) -> nn.Module:
        if layer == "written":
            return nn.Sequential(*(Block(norm_first=norm_first) for _ in range(2)), nn.Linear(8, 3))
        block = nn.TransformerEncoderLayer(8, 2, 16, norm_first=norm_first, batch_first=True)
        return nn.Sequential(nn.TransformerEncoder(block, 2, enable_nested_tensor=False), nn.Linear(8, 3))

    initlab.initialize(model(norm_first=False), "deepnorm", example=x)
    with pytest.raises(ConfigError, match=r"init=deepnorm: is for post-norm .*norm.* use init=gpt2"):
        initlab.initialize(model(norm_first=True), "deepnorm", example=x)


class Block(nn.Module):
    """A perceptron's residual block with its norm before the branch or after the sum."""

    def __init__(self, *, norm_first: bool) -> None:
        super().__init__()
        self.norm, self.norm_first = nn.LayerNorm(8), norm_first
        self.branch = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 8))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(self.norm(x)) if self.norm_first else self.norm(x + self.branch(x))


def test_embeddings_by_name_in_python() -> None:
    model = nn.Sequential(nn.Embedding(3000, 100), nn.Linear(100, 100))
    for text, std in (("embedding", 0.1), ("embedding(std=0.02, base='torch_default')", 0.02)):
        initlab.initialize(model, text, example=torch.randint(0, 3000, (4, 5)))
        assert float(dict(model.named_parameters())["0.weight"].detach().std()) == pytest.approx(std, rel=0.01)
    assert float(dict(model.named_parameters())["1.weight"].detach().abs().max()) <= 0.1  # torch's, by its plan
