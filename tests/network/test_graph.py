"""What the recorder sees of a forward pass, and where it finds residual branches, in networks of every make."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from initlab import activations, models
from initlab.network.branches import branches
from initlab.network.graph import Graph, example_moments, trace
from initlab.network.sites import describe
from initlab.spec import IO, Branch


def ops(graph: Graph) -> list[str]:
    return [f"{n.op}:{n.name}" for n in graph.nodes]


def places(graph: Graph) -> dict[str, Branch]:
    """The branches of modules; a parameter has the place of its module."""
    found = branches(graph)
    for node in graph.nodes:
        if node.op == "weight" and node.parameter in found:
            assert found[node.parameter] == found[node.name]
    parameters = {n.parameter for n in graph.nodes}
    return {n: b for n, b in found.items() if n not in parameters}


def images(n: int = 4, channels: int = 3, size: int = 16) -> Tensor:
    return torch.empty(n, channels, size, size).normal_(generator=torch.Generator().manual_seed(0))


def numbers(*shape: int) -> Tensor:
    return torch.empty(*shape).normal_(generator=torch.Generator().manual_seed(0))


# ------------------------------------------------------------------ plain networks
def test_a_chain() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.LayerNorm(5), nn.ReLU(), nn.Dropout(), nn.Linear(5, 2))
    graph = trace(model.eval(), numbers(3, 4, 3))
    assert ops(graph) == ["input:", "shape:flatten", "weight:1", "norm:2", "activation:3", "weight:5"]
    assert [n.inputs for n in graph.nodes] == [(), (0,), (1,), (2,), (3,), (4,)]
    assert graph.nodes[2].shape == (3, 5) and graph.output == 5
    assert branches(graph) == {}
    trained = trace(model.train(), numbers(3, 4, 3))
    assert ops(trained)[5] == "dropout:dropout" and trained.nodes[5].factor == 2.0


def test_moments_are_those_of_the_outputs() -> None:
    model = nn.Sequential(nn.Linear(6, 50), nn.Tanh(), nn.Linear(50, 3))
    x = numbers(7, 6)
    graph = trace(model, x, moments=True)
    outputs = [x, model[0](x), torch.tanh(model[0](x)), model(x)]
    assert len(graph.nodes) == 4
    for node, y in zip(graph.nodes, outputs, strict=True):
        values = y.detach().double()
        products = values @ values.T
        others = (products.sum() - products.trace()) / (7 * 6 * y.shape[1])
        assert node.moments is not None
        expected = (float(values.mean()), float(values.square().mean()), float(others))
        assert node.moments == pytest.approx(expected, rel=1e-4, abs=1e-6)
        assert example_moments(y).tolist() == pytest.approx(expected, rel=1e-4, abs=1e-6)
    assert trace(model, x).nodes[1].moments is None


def test_the_pass_is_not_disturbed() -> None:
    model = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 2))
    expected = model(numbers(3, 6))
    trace(model, numbers(3, 6), moments=True)
    assert torch.equal(expected, model(numbers(3, 6)))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())

    class Fails(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            self.layer(x)
            raise ValueError("no")

    failing = Fails()
    with pytest.raises(ValueError, match="no"):
        trace(failing, numbers(2, 3))
    assert not failing.layer._forward_hooks and not failing.layer._forward_pre_hooks


def test_a_norm_says_whether_it_looks_at_other_examples() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.GroupNorm(2, 4), nn.InstanceNorm2d(4), nn.LayerNorm([4, 16, 16])
    )
    found = {n.name: n.over_examples for n in trace(model.train(), images()).nodes if n.op == "norm"}
    assert found == {"1": True, "2": False, "3": False, "4": False}
    assert not trace(model.eval(), images()).named("norm")["1"].over_examples, "running statistics are constants"


def test_a_shared_activation_and_a_shared_layer() -> None:
    act, layer = nn.ReLU(), nn.Linear(4, 4)
    graph = trace(nn.Sequential(layer, act, layer, act), numbers(2, 4))
    assert ops(graph) == ["input:", "weight:0", "activation:1", "weight:0", "activation:1#1"]
    assert graph.named("weight")["0"].index == 1, "the first use counts"


# ------------------------------------------------------------------ sums and factors
class Written(nn.Module):
    """A network whose forward pass is a function."""

    def __init__(self, forward: Callable[[Written, Tensor], Tensor]) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)
        self.alpha = nn.Parameter(torch.ones(()))
        self.said = forward

    def forward(self, x: Tensor) -> Tensor:
        return self.said(self, x)


def in_place(m: Written, x: Tensor) -> Tensor:
    y = m.b(torch.relu(m.a(x)))
    y += x
    return y


def added(m: Written, x: Tensor) -> Tensor:
    y = m.b(torch.relu(m.a(x)))
    return y.add_(x)


def scaled(m: Written, x: Tensor) -> Tensor:
    return x + 0.5 * m.b(torch.relu(m.a(x)))


def learned(m: Written, x: Tensor) -> Tensor:
    return torch.add(x, m.alpha * m.b(torch.relu(m.a(x))))


def projected(m: Written, x: Tensor) -> Tensor:
    return m.c(x) + m.b(torch.relu(m.a(x)))


@pytest.mark.parametrize("forward", [in_place, added, scaled, learned, projected])
def test_a_branch_is_found_however_the_sum_is_written(forward: Callable[[Written, Tensor], Tensor]) -> None:
    graph = trace(Written(forward), numbers(3, 4))
    found = {n: b for n, b in places(graph).items() if n != "alpha"}
    assert {n: (b.position, b.length, b.count) for n, b in found.items()} == {"a": (0, 2, 1), "b": (1, 2, 1)}
    assert [n.op for n in graph.nodes].count("sum") == 1


def test_equals_are_not_branches() -> None:
    graph = trace(Written(lambda m, x: torch.tanh(m.a(x)) + torch.sigmoid(m.b(x))), numbers(3, 4))
    assert branches(graph) == {} and [n.op for n in graph.nodes].count("sum") == 1


def test_sums_of_constants_are_no_branches() -> None:
    graph = trace(Written(lambda m, x: m.b(m.a(x) + 1.0) - m.alpha), numbers(3, 4))
    assert [n.op for n in graph.nodes] == ["input", "weight", "shape", "weight", "shape"]
    assert branches(graph) == {}


def test_factors_know_their_number_or_their_parameter() -> None:
    graph = trace(Written(lambda m, x: (m.alpha * (2.0 * m.a(x))) / 4.0), numbers(3, 4))
    factors = [(n.name, n.factor) for n in graph.nodes if n.op == "factor"]
    assert [f for _, f in factors] == [2.0, None, 0.25]
    assert factors[1][0] == "alpha"


def test_joins() -> None:
    graph = trace(Written(lambda m, x: torch.cat([m.a(x), m.b(x)], 1)), numbers(3, 4))
    (join,) = [n for n in graph.nodes if n.op == "join"]
    assert [graph.nodes[i].name for i in join.inputs] == ["a", "b"] and join.shape == (3, 8)


# ------------------------------------------------------------------ networks of other people
class Functional(nn.Module):
    """No modules but parameters: everything is a call."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.ParameterDict(
            {"weight": nn.Parameter(torch.randn(8, 3, 3, 3)), "bias": nn.Parameter(torch.zeros(8))}
        )
        self.second = nn.Module()
        self.second.weight = nn.Parameter(torch.randn(8, 8, 3, 3))
        self.head = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(F.conv2d(x, self.first["weight"], self.first["bias"], padding=1))
        y = y + F.conv2d(y, self.second.weight, padding=1)
        return self.head(F.adaptive_avg_pool2d(y, 1).flatten(1))


def test_a_functional_network() -> None:
    graph = trace(Functional(), images())
    assert [n.name for n in graph.nodes if n.op == "weight"] == ["first", "second", "head"]
    assert branches(graph)["second"].length == 1
    assert set(places(graph)) == {"second"}


@pytest.mark.parametrize("shortcut", ["A", "B"])
@pytest.mark.parametrize("norm", ["none", "batch", "layer"])
def test_the_blocks_of_a_resnet(norm: str, shortcut: str) -> None:
    build = models.resnet(depth=14, width=4, norm=norm, shortcut=shortcut)  # type: ignore[arg-type]
    model = build(IO(input_shape=(3, 16, 16), classes=10), activations.relu())
    found = branches(trace(model, images()))
    last = {n for n, b in found.items() if b.position == b.length - 1 and n.endswith("conv2")}
    assert last == {f"blocks.{i}.conv2" for i in range(6)}
    assert all(found[f"blocks.{i}.conv1"].position == 0 for i in range(6))
    assert {b.count for b in found.values()} == {6} and "stem" not in found and "head" not in found
    assert not any("project" in n for n in found), "a projection belongs to the shortcut"
    if norm != "none":
        assert found["blocks.3.norm2"].position == 1
    assert {s.name for s in describe(model, images(2)) if s.branch and s.name.endswith("conv2.weight")} == {
        f"blocks.{i}.conv2.weight" for i in range(6)
    }


def test_torchvision_resnet18() -> None:
    from torchvision.models import resnet18

    model = resnet18(num_classes=10)
    graph = trace(model.eval(), images(2, 3, 32))
    found = places(graph)
    convs = {n for n, b in found.items() if ".conv" in n}
    assert convs == {f"layer{i}.{j}.conv{k}" for i in (1, 2, 3, 4) for j in (0, 1) for k in (1, 2)}
    assert {found[n].length for n in convs} == {2} and {found[n].count for n in convs} == {8}
    assert not any("downsample" in n for n in found)
    # one ReLU module is used twice a block
    used = [n.name for n in graph.nodes if n.op == "activation"]
    assert used[:3] == ["relu", "layer1.0.relu", "layer1.0.relu#1"]


@pytest.mark.parametrize("norm_first", [True, False])
def test_a_transformer_layer(norm_first: bool) -> None:
    layer = nn.TransformerEncoderLayer(
        8, 2, 16, batch_first=True, norm_first=norm_first, dropout=0.0, activation=nn.ReLU()
    )
    model = nn.Sequential(layer, nn.Linear(8, 3)).train()
    graph = trace(model, numbers(3, 5, 8))
    found = branches(graph)
    assert found["0.self_attn"].index != found["0.linear1"].index
    assert found["0.self_attn.out_proj"].position == found["0.self_attn.out_proj"].length - 1
    assert (found["0.linear1"].position, found["0.linear2"].position, found["0.linear2"].length) == (0, 1, 2)
    assert ("0.norm1" in found) is norm_first
    assert [n.op for n in graph.nodes].count("attention") == 1 and [n.op for n in graph.nodes].count("sum") == 2


def test_a_recurrent_network_is_one_node() -> None:
    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.rnn, self.head = nn.Embedding(9, 4), nn.GRU(4, 6, batch_first=True), nn.Linear(6, 2)

        def forward(self, tokens: Tensor) -> Tensor:
            return self.head(self.rnn(self.embedding(tokens))[0][:, -1])

    graph = trace(Reader(), torch.randint(0, 9, (3, 5)), moments=True)
    assert [n.op for n in graph.nodes if n.op not in ("opaque", "shape")] == ["input", "weight", "recurrent", "weight"]
    assert graph.output == len(graph.nodes) - 1


def test_an_activation_that_was_swapped_in_is_seen() -> None:
    build = models.torchvision(name="mobilenet_v3_small")
    model = build(IO(input_shape=(3, 32, 32), classes=4), activations.tanh())
    graph = trace(model.eval(), images(2, 3, 32))
    assert sum(n.op == "activation" for n in graph.nodes) > 10
    assert branches(graph), "its inverted residuals"
