"""initlab's own networks: shapes, what depth counts, one module per use of an activation."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from initlab import activations
from initlab.errors import ConfigError
from initlab.models import cnn, convnet, mlp, resnet, torchvision
from initlab.models.mlp import MLP
from initlab.spec import IO, Activation, ModelBuilder
from initlab.testing import ModelCases
from initlab.testing.model import BENT, Bent

MNIST = IO(input_shape=(1, 28, 28), classes=10)
CIFAR = IO(input_shape=(3, 32, 32), classes=10)
DIGITS = IO(input_shape=(1, 8, 8), classes=5)
FLAT = IO(input_shape=(20,), classes=3)


BUILDERS: list[tuple[str, ModelBuilder, IO, int]] = [
    ("mlp", mlp(), MNIST, 2),
    ("mlp-flat", mlp(depth=5, width=7), FLAT, 5),
    ("mlp-residual", mlp(depth=4, width=16, residual=True), MNIST, 4),
    ("mlp-batch", mlp(depth=3, width=16, norm="batch"), MNIST, 3),
    ("mlp-layer-residual", mlp(depth=3, width=16, norm="layer", residual=True, bias=False), DIGITS, 3),
    ("mlp-dropout", mlp(depth=3, width=16, dropout=0.3, residual=True, branch_depth=2), DIGITS, 3),
    ("mlp-alpha", mlp(depth=3, width=16, dropout=0.3, dropout_kind="alpha"), FLAT, 3),
    ("mlp-standardised", mlp(depth=3, width=16, weight_standardisation=True, norm="layer"), DIGITS, 3),
    ("convnet-standardised", convnet(depth=3, width=4, weight_standardisation=True, norm="batch"), DIGITS, 3),
    ("resnet-standardised", resnet(depth=8, width=4, weight_standardisation=True, shortcut="B"), DIGITS, 7),
    ("cnn", cnn(), MNIST, 4),
    ("cnn-colour", cnn(), CIFAR, 4),
    ("cnn-small", cnn(), DIGITS, 4),
    ("cnn-same", cnn(padding="same"), MNIST, 4),
    ("convnet", convnet(), MNIST, 8),
    ("convnet-one", convnet(depth=1, downsample=0, width=4, readout="flatten"), DIGITS, 1),
    ("convnet-pools", convnet(depth=5, width=4, downsample_by="max", norm="layer", widen=True), CIFAR, 5),
    ("convnet-flat", convnet(depth=4, width=4, downsample_by="average", readout="flatten", kernel=5), MNIST, 4),
    ("convnet-odd", convnet(depth=4, width=4, readout="flatten"), IO(input_shape=(2, 9, 13), classes=4), 4),
    ("convnet-residual", convnet(depth=6, width=4, residual=True, norm="batch", padding_mode="circular"), MNIST, 6),
    ("resnet", resnet(), CIFAR, 19),
    ("resnet-b", resnet(depth=8, width=4, shortcut="B", norm="layer"), DIGITS, 7),
    ("resnet-odd", resnet(depth=8, width=4, norm="none"), IO(input_shape=(2, 9, 13), classes=4), 7),
]


class TestEveryBuilder(ModelCases):
    """The contract, for each of them."""

    @pytest.fixture(autouse=True, params=BUILDERS, ids=[b[0] for b in BUILDERS])
    def chosen(self, request: pytest.FixtureRequest) -> None:
        _, builder, io, self.uses = request.param
        self.factory = lambda: builder
        self.supports = (io,)
        tokens = IO(input_shape=(9,), classes=7, vocabulary=7)
        self.refuses = (tokens,) if isinstance(builder, partial) and builder.func is MLP else (tokens, FLAT)


def test_the_reference_cnn_is_the_reference() -> None:
    model = cnn()(MNIST, BENT)
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters() if name.endswith("weight")}
    assert shapes == {
        "conv1.weight": (32, 1, 3, 3),
        "conv2.weight": (64, 32, 3, 3),
        "conv3.weight": (64, 64, 3, 3),
        "dense.weight": (64, 576),
        "head.weight": (10, 64),
    }
    assert sum(p.numel() for p in model.parameters()) == 93_322


@pytest.mark.parametrize(("side", "features"), [(17, 64 * 4 * 4), (18, 64)])
def test_auto_padding_turns_where_valid_no_longer_fits(side: int, features: int) -> None:
    model = cnn()(IO(input_shape=(1, side, side), classes=10), BENT)
    assert model.get_submodule("dense").in_features == features


def test_images_too_small_for_the_cnn() -> None:
    with pytest.raises(ConfigError, match=r"padding=valid: needs images of at least 18 x 18, these are \[8, 8\]"):
        cnn(padding="valid")(DIGITS, BENT)
    with pytest.raises(ConfigError, match="at least 4 x 4"):
        cnn()(IO(input_shape=(1, 3, 3), classes=2), BENT)


@pytest.mark.parametrize("depth", [1, 2, 17])
def test_depth_of_an_mlp_counts_hidden_layers(depth: int) -> None:
    model = mlp(depth=depth, width=8)(FLAT, BENT)
    weights = [n for n, _ in model.named_parameters() if n.endswith("weight")]
    assert weights == [*(f"layers.{i}.weight" for i in range(depth)), "head.weight"]


def test_depth_of_a_resnet_counts_as_the_paper() -> None:
    model = resnet(depth=20)(CIFAR, BENT)
    assert sum(isinstance(m, (nn.Conv2d, nn.Linear)) for m in model.modules()) == 20
    assert sum(p.numel() for p in model.parameters()) == 269_722
    assert "blocks.3.conv1.weight" in dict(model.named_parameters())


@pytest.mark.parametrize("builder", [mlp(norm="batch"), convnet(norm="batch"), resnet(norm="layer", shortcut="B")])
def test_no_bias_before_a_norm(builder: ModelBuilder) -> None:
    model = builder(MNIST, BENT)
    mapped = {n: m for n, m in model.named_modules() if isinstance(m, (nn.Conv2d, nn.Linear))}
    assert [n for n, m in mapped.items() if m.bias is not None] == ["head"]


@pytest.mark.parametrize("kind", ["plain", "alpha"])
def test_dropout_of_an_mlp_stands_behind_every_activation(kind: str) -> None:
    """By hand, with the same draws: x → drop(φ(Wx + b)) twice, then the head; in eval mode there is none."""
    model = mlp(depth=2, width=5, dropout=0.4, dropout_kind=kind)(FLAT, activations.selu())  # pyright: ignore[reportArgumentType]
    plain = mlp(depth=2, width=5)(FLAT, activations.selu())
    plain.load_state_dict(model.state_dict())
    x = torch.randn(7, 20)
    drop = nn.functional.dropout if kind == "plain" else nn.functional.alpha_dropout
    torch.manual_seed(3)
    found = model.train()(x)
    torch.manual_seed(3)
    h = x
    for layer in model.layers:  # pyright: ignore[reportGeneralTypeIssues]
        h = drop(nn.functional.selu(layer(h)), 0.4, training=True)
    assert torch.equal(found, model.head(h)) and not torch.equal(found, plain(x))  # pyright: ignore[reportCallIssue]
    assert torch.equal(model.eval()(x), plain.eval()(x))


def test_residual_mlp_adds_its_input() -> None:
    model = mlp(depth=2, width=4, residual=True)(FLAT, BENT)
    layers = model.get_submodule("layers")
    x = torch.randn(3, 20)
    first = torch.tanh(layers.get_submodule("0")(x))
    expected = model.get_submodule("head")(first + torch.tanh(layers.get_submodule("1")(first)))
    assert torch.equal(model(x), expected)


def test_zero_weights_leave_option_a_as_the_identity() -> None:
    """With the residual branch silent, what enters a stage leaves it: every other pixel, new channels zero."""
    from initlab.models.resnet import Block

    block = Block(BENT, BENT, channels=2, out=4, stride=2, norm="none", shortcut="A")
    for parameter in block.parameters():
        nn.init.zeros_(parameter)
    x = torch.randn(1, 2, 5, 5)
    expected = torch.cat([x[:, :, ::2, ::2], torch.zeros(1, 2, 3, 3)], 1)
    assert torch.equal(block(x), torch.tanh(expected))


@pytest.mark.parametrize(
    ("builder", "message"),
    [
        (lambda: mlp(depth=0), "depth=0: must be 1 or more"),
        (lambda: mlp(width=0), "width=0"),
        (lambda: mlp(dropout=1.0), "dropout=1.0: must be 0 or more and less than 1"),
        (lambda: mlp(dropout=-0.1), "dropout=-0.1"),
        (lambda: mlp(dropout_kind="alpha"), "dropout_kind=alpha: needs model.dropout above 0"),
        (lambda: mlp(dropout=0.1, dropout_kind="beta"), "dropout_kind=beta: choose from plain, alpha"),  # pyright: ignore[reportArgumentType]
        (lambda: convnet(depth=0), "depth=0"),
        (lambda: convnet(depth=2, downsample=2), "downsample=2: must be less than depth=2"),
        (lambda: convnet(kernel=4), "kernel=4: must be odd"),
        (lambda: resnet(depth=18), r"depth=18: must be 6n \+ 2.*nearest are 14 and 20"),
        (lambda: resnet(depth=2), "depth=2: .*nearest are 8"),
        (lambda: resnet(depth=7), "depth=7: .*nearest are 8"),
        (lambda: resnet(depth=0), "depth=0: .*nearest are 8"),
        (lambda: cnn()(FLAT, BENT), "model=cnn: needs images"),
        (lambda: convnet()(FLAT, BENT), "model=convnet: needs images"),
        (lambda: resnet()(FLAT, BENT), "model=resnet: needs images"),
        (lambda: convnet(depth=8, downsample=4)(DIGITS, BENT), "downsample=4: halves the images 4 times"),
    ],
)
def test_what_cannot_be_built(builder: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        builder()  # pyright: ignore[reportCallIssue]


# ------------------------------------------------------------------ activations that change the number of units
WIDTHS = [
    (mlp(depth=3, width=12, norm="layer"), MNIST),
    (mlp(depth=3, width=12, residual=True, branch_depth=2, branch_scale=True), FLAT),
    (cnn(), MNIST),
    (cnn(), CIFAR),
    (convnet(depth=5, width=12, norm="batch", residual=True, branch_scale=True), MNIST),
    (convnet(depth=4, width=12, norm="layer", widen=True, downsample_by="max", readout="flatten"), CIFAR),
]


@pytest.mark.parametrize("name", ["glu", "swiglu", "crelu", "maxmin", "maxout", "relu", "meta_acon"])
@pytest.mark.parametrize(("builder", "io"), WIDTHS, ids=["mlp", "residual", "cnn", "cnn-colour", "convnet", "widen"])
def test_each_activation_sends_what_the_next_layer_expects(builder: ModelBuilder, io: IO, name: str) -> None:
    activation = activations.parse_activation(name)
    model = builder(io, activation)
    received, sent = activation.units
    plain = dict(builder(io, BENT).named_parameters())
    for key, parameter in model.named_parameters():
        if key in plain and parameter.dim() > 1:  # inputs stay, outputs of hidden layers grow or shrink
            factor = 1 if key.startswith("head") else received / sent
            assert parameter.shape[0] == plain[key].shape[0] * factor, key
            assert parameter.shape[1:] == plain[key].shape[1:], key
    output = model(torch.randn(4, *io.input_shape))
    assert output.shape == (4, io.classes)
    output.square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_a_model_tells_an_activation_how_many_units_it_receives() -> None:
    model = mlp(depth=2, width=10)(FLAT, BENT)
    assert [m.features for m in model.modules() if isinstance(m, Bent)] == [10, 10]
    wide = Activation(name="wide", make=Bent, fn=torch.tanh, units=(2, 1))
    assert [m.features for m in mlp(depth=2, width=10)(FLAT, wide).modules() if isinstance(m, Bent)] == [20, 20]


def test_widths_that_do_not_divide() -> None:
    with pytest.raises(ConfigError, match=r"model\.width=7: must be a multiple of 2 for activation=crelu"):
        mlp(width=7)(FLAT, activations.crelu())
    with pytest.raises(ConfigError, match=r"model\.width=7: must be a multiple of 2 for activation=maxmin"):
        mlp(width=7)(FLAT, activations.maxmin())


@pytest.mark.parametrize(("builder", "name"), [(resnet(), "resnet"), (torchvision(name="resnet18"), "torchvision")])
def test_shortcuts_of_fixed_width_take_elementwise_activations(builder: ModelBuilder, name: str) -> None:
    with pytest.raises(ConfigError, match=rf"activation=glu: changes .* model={name} .* use model=mlp") as caught:
        builder(CIFAR, activations.glu())
    assert caught.value.key == "activation"
    with pytest.raises(ConfigError, match="activation=crelu"):
        builder(CIFAR, activations.alternate(of=["relu", "crelu"]))
    mixed = builder(CIFAR, activations.maxmin()).eval()
    assert mixed(torch.zeros(1, 3, 32, 32)).shape == (1, 10)


def test_torchvision_does_not_tell_the_number_of_units() -> None:
    with pytest.raises(ConfigError, match="meta_acon: keeps parameters for each unit and this model does not say"):
        torchvision(name="resnet18")(CIFAR, activations.meta_acon())


# ------------------------------------------------------------------ residual branches
SCALED = [
    (mlp(depth=5, width=6, residual=True, branch_depth=2, branch_scale=True), FLAT, ["scales.0", "scales.1"]),
    (convnet(depth=4, width=4, residual=True, branch_scale=True, downsample=1), DIGITS, ["scales.1", "scales.3"]),
    (resnet(depth=8, width=4, branch_scale=True), DIGITS, ["blocks.0.scale", "blocks.1.scale", "blocks.2.scale"]),
]


@pytest.mark.parametrize(("builder", "io", "names"), SCALED, ids=["mlp", "convnet", "resnet"])
def test_branch_scales(builder: ModelBuilder, io: IO, names: list[str]) -> None:
    """One number a branch, that changes nothing at 1 and silences the branch at 0."""
    model = builder(io, BENT).eval()
    scales = {n: m for n, m in model.named_modules() if getattr(m, "initlab_role", None) == "scale"}
    assert list(scales) == names and all(m.get_parameter("weight").shape == () for m in scales.values())
    without = type(model)(io, BENT, **{**builder.keywords, "branch_scale": False}).eval()  # pyright: ignore
    x = torch.randn(3, *io.input_shape)
    assert not without.load_state_dict(model.state_dict(), strict=False).missing_keys
    assert torch.equal(model(x), without(x))
    model(x).sum().backward()
    assert all(m.get_parameter("weight").grad is not None for m in scales.values())
    with torch.no_grad():
        for m in scales.values():
            m.get_parameter("weight").zero_()
    inner = [p for n, p in model.named_parameters() if n.startswith(("blocks.0.conv", "layers.1.", "layers.3."))]
    before = model(x).detach()
    with torch.no_grad():
        for p in inner:
            p.add_(1.0)
    assert inner and torch.equal(model(x), before)


def test_branches_of_several_layers() -> None:
    model = mlp(depth=5, width=4, residual=True, branch_depth=2)(FLAT, BENT)
    layers = [model.get_submodule(f"layers.{i}") for i in range(5)]
    x = torch.randn(3, 20)
    h = torch.tanh(layers[0](x))
    for a, b in ((1, 2), (3, 4)):
        h = h + torch.tanh(layers[b](torch.tanh(layers[a](h))))
    assert torch.equal(model(x), model.get_submodule("head")(h))


@pytest.mark.parametrize(
    ("builder", "message"),
    [
        (lambda: mlp(branch_scale=True), "branch_scale=True: needs model.residual=true"),
        (lambda: mlp(branch_depth=2), "branch_depth=2: needs model.residual=true"),
        (lambda: mlp(depth=6, residual=True, branch_depth=2), "branch_depth=2: must divide depth - 1 = 5"),
        (lambda: convnet(branch_scale=True), "branch_scale=True: needs model.residual=true"),
    ],
)
def test_branches_that_cannot_be_built(builder: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        builder()  # pyright: ignore[reportCallIssue]
