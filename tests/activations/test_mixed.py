"""Names with arguments, lists of layers, blends and homotopies: in networks, in training, in the configuration."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from initlab import activations
from initlab.activations import activations_of, parse_activation, recognise
from initlab.errors import ConfigError
from initlab.models import cnn, convnet, mlp, resnet, torchvision
from initlab.report.figures import figures
from initlab.spec import IO, ModelBuilder
from tests.cases import experiment, untracked

MNIST = IO(input_shape=(1, 28, 28), classes=10)
X = torch.linspace(-4, 4, 81)


# ------------------------------------------------------------------ names
def test_names_arguments_and_formulas() -> None:
    assert parse_activation("gelu").fn is activations.gelu().fn
    assert parse_activation(" relu() ").name == "relu"
    leaky = parse_activation("leaky_relu(negative_slope=0.2)")
    assert leaky.torch_param == 0.2
    assert parse_activation("hardtanh(min_val=-2, max_val=1)").kinks == (-2.0, 1.0)
    assert parse_activation("blend(of=['relu', 'tanh(x)'])").name == "blend"
    assert (
        torch.equal(parse_activation("tanh(x)").fn(X), torch.tanh(X)) and parse_activation("tanh(x)").name == "tanh(x)"
    )
    assert torch.equal(parse_activation("x").fn(X), X)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rleu", "activation=rleu: is no activation; near it: relu"),
        ("rleu()", "near it: relu"),
        ("recognise", "is no activation"),
        ("slope_band", "is no activation"),
        ("__import__('os')", "may not contain"),
        ("leaky_relu(slope=0.2)", "leaky_relu has no slope; choose from negative_slope"),
        ("relu(a=1)", "relu has no a; it takes no arguments"),
        ("leaky_relu(negative_slope=-1)", "negative_slope must be greater than or equal to 0"),
        ("leaky_relu(negative_slope=0.1+0.1)", "must be a number"),
        ("leaky_relu(negative_slope=open('x'))", "must be a number"),
        ("leaky_relu(**{})", "name=value"),
        ("maxout(pieces=1)", "must be 2 or more"),
        ("blend", "blend needs of"),
        ("gelu(x", "no formula"),
        ("x" * 2000, "at most 1000 characters"),
    ],
)
def test_names_that_are_none(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_activation(text)
    assert message in str(caught.value)
    assert caught.value.key.startswith("activation")


# ------------------------------------------------------------------ one for each layer
BUILDERS: list[tuple[ModelBuilder, int]] = [
    (mlp(depth=3, width=8), 3),
    (mlp(depth=5, width=8, residual=True, branch_depth=2), 5),
    (cnn(), 4),
    (convnet(depth=4, width=4), 4),
    (resnet(depth=8, width=4), 7),
    (torchvision(name="resnet18"), 17),
]


@pytest.mark.parametrize(("builder", "count"), BUILDERS, ids=["mlp", "residual", "cnn", "convnet", "resnet", "zoo"])
def test_a_list_of_layers_in_every_model(builder: ModelBuilder, count: int) -> None:
    names = ["tanh", "relu", "x*sin(x)", "leaky_relu(negative_slope=0.2)", "gelu", "mish", "abs"] * 3
    activation = activations.per_layer(layers=names[:count])
    model = builder(MNIST, activation)
    assert model(torch.zeros(2, *MNIST.input_shape)).shape == (2, 10)
    found = [a.name for a in activations_of(model, activation).values()]
    assert found == [a.name for a in activation.layers]
    with pytest.raises(
        ConfigError, match=rf"activation\.layers=.*names {count - 1} activations; this model has {count}"
    ):
        builder(MNIST, activations.per_layer(layers=names[: count - 1]))
    turns = builder(MNIST, activations.alternate(of=["relu", "tanh"]))
    expected = [("relu", "tanh")[i % 2] for i in range(count)]
    assert [a.name for a in activations_of(turns).values()] == expected


def test_lists_that_cannot_be() -> None:
    with pytest.raises(ConfigError, match=r"activation\.layers=\[\]: must name at least one"):
        activations.per_layer(layers=[])
    with pytest.raises(ConfigError, match=r"activation\.of=alternate.*is itself a list"):
        activations.alternate(of=["relu", "alternate(of=['relu'])"])
    with pytest.raises(ConfigError, match=r"activation\.layers=rleu: is no activation"):
        activations.per_layer(layers=["rleu"])
    with pytest.raises(ConfigError, match="another activation for each layer"):
        activations.per_layer(layers=["relu"]).make(3)


# ------------------------------------------------------------------ blends
def test_a_blend_is_the_weighted_sum() -> None:
    activation = activations.blend(of=["relu", "tanh", "x**2"])
    module = activation.make()
    torch.testing.assert_close(module(X), (torch.relu(X) + torch.tanh(X) + X**2) / 3)
    with torch.no_grad():
        module.get_parameter("mix").copy_(torch.tensor([0.0, 1.0, -1.0]))
    w = torch.softmax(torch.tensor([0.0, 1.0, -1.0]), 0)
    expected = w[0] * torch.relu(X) + w[1] * torch.tanh(X) + w[2] * X**2
    torch.testing.assert_close(module(X), expected)
    torch.testing.assert_close(recognise(module).fn(X), expected)
    readings = module.readings()  # pyright: ignore[reportCallIssue]
    assert list(readings) == ["blend_relu", "blend_tanh", "blend_x_2"]
    assert [float(v) for v in readings.values()] == pytest.approx(w.tolist())


def test_parts_with_one_name_are_told_apart() -> None:
    module = activations.blend(of=["leaky_relu", "leaky_relu(negative_slope=0.3)"]).make()
    assert list(module.readings()) == ["blend_leaky_relu", "blend_leaky_relu_1"]  # pyright: ignore[reportCallIssue]


@pytest.mark.parametrize("text", ["glu", "maxmin", "crelu", "swish", "prelu", "meta_acon", "homotopy", "alternate"])
def test_a_blend_takes_fixed_functions_of_one_number(text: str) -> None:
    part = {"alternate": "alternate(of=['relu'])"}.get(text, text)
    with pytest.raises(ConfigError, match=r"activation\.of=.*must be (elementwise|a fixed function)|keeps parameters"):
        activations.blend(of=["relu", part])
    with pytest.raises(ConfigError, match=r"activation\.end=.*must be (elementwise|a fixed function)|keeps parameters"):
        activations.homotopy(end=part)
    with pytest.raises(ConfigError, match="two or more"):
        activations.blend(of=["relu"])


def test_a_blend_in_training_is_watched_and_drawn() -> None:
    overrides = ("data=digits", "model=mlp", "model.width=16", "trainer.epochs=2", "activation=blend",
                 'activation.of=[relu,tanh,"x*sin(x)"]', "optimizer=adam", "optimizer.lr=0.03")  # fmt: skip
    result, told = untracked(*overrides)
    keys = {k for r in told.records for k in r.metrics if k.startswith("blend_")}
    names = ("blend_relu", "blend_tanh", "blend_x_sin_x")
    assert keys == {f"{n}/layers.{i}.weight" for n in names for i in range(2)}
    for step in {r.step for r in result.profile.rows if r.statistic == "blend_relu"}:
        rows = [r for r in result.profile.rows if r.step == step and r.site == "layers.0.weight"]
        assert sum(r.value for r in rows if r.statistic in names) == pytest.approx(1, abs=1e-6)
    last = {r.statistic: r.value for r in result.profile.rows if r.site == "layers.1.weight"}
    assert last["blend_relu"] != pytest.approx(1 / 3, abs=1e-3)
    drawn = figures(result.profile, [s.name for s in told.prepared.sites], baseline=None)
    assert "activation_mixture" in drawn and "activation_parameters" not in drawn
    assert len(drawn["activation_mixture"].panels) == 2
    # and probes disturb nothing
    _, without = untracked(*overrides, "probes=none")
    assert [r.metrics["train/loss"] for r in told.records if "train/loss" in r.metrics] == [
        r.metrics["train/loss"] for r in without.records if "train/loss" in r.metrics
    ]


def test_learnt_parameters_are_watched_and_drawn() -> None:
    result, told = untracked("data=digits", "model=cnn", "trainer.epochs=1", "activation=pelu")
    assert {"act_a/conv1.weight", "act_b/dense.weight"} <= {k for r in told.records for k in r.metrics}
    drawn = figures(result.profile, [s.name for s in told.prepared.sites], baseline=None)
    assert "activation_parameters" in drawn and "activation_mixture" not in drawn


# ------------------------------------------------------------------ homotopies
def test_a_homotopy_goes_from_one_to_the_other() -> None:
    module = activations.homotopy(start="identity", end="relu", until=0.5).make()
    for share, t in ((0.0, 0.0), (0.125, 0.25), (0.25, 0.5), (0.5, 1.0), (0.9, 1.0)):
        module.set_progress(share)  # pyright: ignore[reportCallIssue]
        expected = (1 - t) * X + t * torch.relu(X)
        torch.testing.assert_close(module(X), expected)
        found = recognise(module)
        torch.testing.assert_close(found.fn(X), expected)
        assert found.kinks == (() if t == 0 else (0.0,))
        assert float(module.readings()["homotopy"]) == t  # pyright: ignore[reportCallIssue]


def test_training_moves_a_homotopy() -> None:
    _, told = untracked(
        "data=digits", "model=mlp", "model.width=16", "trainer.max_steps=20", "activation=homotopy",
        "activation.until=0.5", "probes.dense_until=20",
    )  # fmt: skip
    seen = {
        r.step: r.metrics["homotopy/layers.0.weight"] for r in told.records if "homotopy/layers.0.weight" in r.metrics
    }
    assert seen == pytest.approx({step: min(1.0, step / 20 / 0.5) for step in range(20)})
    module = told.prepared.model.get_submodule("activations.0")
    assert float(module.get_buffer("progress")) == pytest.approx(19 / 20)


def test_a_stopped_homotopy_is_saved_where_it_was() -> None:
    module, fresh = (activations.homotopy().make() for _ in range(2))
    module.set_progress(0.2)  # pyright: ignore[reportCallIssue]
    fresh.load_state_dict(module.state_dict())
    assert torch.equal(fresh(X), module(X))


# ------------------------------------------------------------------ on the command line
@pytest.mark.parametrize(
    ("overrides", "names"),
    [
        (['activation.layers=[tanh,relu,relu,"leaky_relu(negative_slope=0.2)"]', "activation=per_layer"], 4),
        (['activation.layers=["x*sigmoid(x)",glu,crelu,kaf]', "activation=per_layer"], 4),
        (["activation=alternate"], 2),
    ],
)
def test_lists_from_the_configuration(overrides: list[str], names: int) -> None:
    assert len(experiment(*overrides).activation.layers) == names


def test_a_formula_from_the_configuration() -> None:
    activation = experiment("activation=expr", 'activation.f="x*erf(softplus(x))"').activation
    torch.testing.assert_close(activation.fn(X), activations.serf().fn(X))
    with pytest.raises(ConfigError, match=r"activation\.f=open\(x\): does not know open"):
        experiment("activation=expr", 'activation.f="open(x)"')
    with pytest.raises(ConfigError, match=r"activation\.of=rleu: is no activation; near it: relu"):
        experiment("activation=blend", "activation.of=[rleu,tanh]")
    with pytest.raises(ConfigError, match=r"activation\.until"):
        experiment("activation=homotopy", "activation.until=0")


def test_parts_are_not_modules_that_would_be_watched_twice() -> None:
    model = nn.Sequential(nn.Linear(2, 2), activations.blend(of=["relu", "tanh"]).make(), activations.homotopy().make())
    assert list(activations_of(model)) == ["1", "2"]
