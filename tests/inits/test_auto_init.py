"""AutoInit: whatever stands between two weight layers, each sends mean square 1, of the network and not of one draw.

The expectation over the weights of a layer's output, given what it receives, is fan_in · E[W²] · E[x²], the zeros of
the padding being part of x. That is what is looked at where layers are narrow; in wide networks the output itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import initlab
from initlab import inits
from initlab.run.prepare import prepare
from tests.cases import experiment
from tests.inits.networks import Attention, Branch, noise

Build = Callable[[], nn.Module]


def drawn(build: Build, x: Tensor, seed: int, init: str = "auto_init") -> nn.Module:
    model = build()
    initlab.initialize(model, init, data=[(x, torch.arange(len(x)) % 3)], seed=seed)
    return model


Read = Callable[[nn.Module, Tensor, Tensor], Tensor]


def looked_at(model: nn.Module, x: Tensor, read: Read, *, forced: bool = False) -> dict[str, float]:
    """Layer name → what `read` takes of (layer, input, output), in one forward pass in training mode.

    Args:
        forced: whether each layer's output is divided by its root mean square before it is sent on, so that what chance
            made of one layer is not what the next is judged by.
    """
    found: dict[str, float] = {}

    def hook(name: str) -> Callable[..., Tensor | None]:
        def look(module: nn.Module, inputs: tuple[Tensor, ...], out: Tensor) -> Tensor | None:
            found[name] = float(read(module, inputs[0], out))
            return out / out.square().mean().sqrt() if forced else None

        return look

    layers = [(n, m) for n, m in model.named_modules() if isinstance(m, (nn.Linear, nn.Conv2d))]
    handles = [module.register_forward_hook(hook(name)) for name, module in layers]
    with torch.no_grad():
        model.train()(x)
    for handle in handles:
        handle.remove()
    return found


def expected_square(layer: nn.Module, x: Tensor, _out: Tensor) -> Tensor:
    w = layer.get_parameter("weight")
    if isinstance(layer, nn.Conv2d):
        x = F.unfold(x, layer.kernel_size, padding=layer.padding, stride=layer.stride)  # type: ignore[arg-type]
    return w[0].numel() * w.square().mean() * x.square().mean()


def measured_square(_layer: nn.Module, _x: Tensor, out: Tensor) -> Tensor:
    return out.square().mean()


def over_seeds(build: Build, x: Tensor, seeds: int) -> dict[str, float]:
    """Layer → its expected mean square where each before it sends 1, averaged over draws."""
    rows = [looked_at(drawn(build, x, seed), x, expected_square, forced=True) for seed in range(seeds)]
    return {name: sum(row[name] for row in rows) / seeds for name in rows[0]}


def near_one(found: dict[str, float], tol: float) -> None:
    off = {name: value for name, value in found.items() if abs(value - 1) > tol}
    assert found and not off, off


# ------------------------------------------------------------------ plain networks
def plain(make: Callable[[], nn.Module], width: int, depth: int) -> Build:
    def build() -> nn.Module:
        layers = [module for _ in range(depth) for module in (nn.Linear(width, width), make())]
        return nn.Sequential(*layers, nn.Linear(width, 10))

    return build


@pytest.mark.slow
@pytest.mark.parametrize("make", [nn.ReLU, nn.Tanh, nn.GELU, nn.SiLU, nn.Sigmoid])
def test_plain_networks_keep_unit_variance(make: type[nn.Module]) -> None:
    """Within 2 % in expectation: what a layer of width 1024 receives times the variance it was given, over six draws.

    The outputs themselves swing more about it, those of a sigmoid the most: five sixths of the mean square that it
    sends are one direction, along which 1024 weights are summed but once.
    """
    build, x = plain(make, 1024, 4), noise(128, 1024)
    expected: dict[str, float] = {}
    measured: dict[str, float] = {}
    for seed in range(6):
        model = drawn(build, x, seed)
        for name, value in looked_at(model, x, expected_square, forced=True).items():
            expected[name] = expected.get(name, 0.0) + value / 6
        for name, value in looked_at(model, x, measured_square).items():
            measured[name] = measured.get(name, 0.0) + value / 6
    del expected["8"], measured["8"]  # the head has ten units to be averaged over
    near_one(expected, 0.02)
    near_one(measured, 0.04)


@pytest.mark.parametrize("make", [nn.ReLU, nn.Tanh, nn.GELU, nn.SiLU, nn.Sigmoid, nn.ELU, nn.Softplus])
def test_in_a_plain_network_it_is_the_rule_of_he(make: type[nn.Module]) -> None:
    """With the forward gain of the activation before each layer; of the first layer, with the inputs' mean square."""
    build, x = plain(make, 40, 3), 2 * noise(64, 40) + 0.5
    theirs = drawn(build, x, 0, "he(distribution='truncated')")
    ours = drawn(build, x, 0)
    own_scale = float(x.square().mean()) ** -0.5 / initlab.gain(make())
    for i in (0, 2, 4, 6):
        a, b = (model.get_parameter(f"{i}.weight").detach() for model in (ours, theirs))
        assert torch.allclose(a, b * (own_scale if i == 0 else 1.0), rtol=1e-4, atol=1e-7), i
        gain = float(x.square().mean()) ** -0.5 if i == 0 else initlab.gain(make())
        assert float(a.square().mean() * 40) == pytest.approx(gain**2, rel=0.1)


@pytest.mark.parametrize("distribution", ["truncated", "normal", "uniform"])
def test_the_law_is_as_asked_for(distribution: str) -> None:
    build, x = plain(nn.GELU, 500, 2), noise(64, 500)
    w = drawn(build, x, 0, f"auto_init(distribution='{distribution}')").get_parameter("2.weight").detach()
    std = initlab.gain("gelu") / math.sqrt(500)
    assert float(w.std()) == pytest.approx(std, rel=0.01)
    bound = {"truncated": 2.2738, "normal": math.inf, "uniform": math.sqrt(3) * 1.0001}[distribution]
    assert float(w.abs().max()) <= bound * std
    kurtosis = {"truncated": 2.36, "normal": 3.0, "uniform": 1.8}[distribution]
    assert float((w**4).mean() / std**4) == pytest.approx(kurtosis, rel=0.1)


# ------------------------------------------------------------------ all else
def residual(count: int, *, first: bool) -> Build:
    """Branches that begin with an activation, or end before one."""

    def build() -> nn.Module:
        inside = [nn.ReLU(), nn.Linear(256, 256)] if first else [nn.Linear(256, 256)]
        blocks = [
            Branch(nn.Sequential(*[type(m)(256, 256) if isinstance(m, nn.Linear) else nn.ReLU() for m in inside],
                                 nn.ReLU(), nn.Linear(256, 256)))
            for _ in range(count)
        ]  # fmt: skip
        return nn.Sequential(nn.Linear(256, 256), *blocks, nn.ReLU(), nn.Linear(256, 3))

    return build


@pytest.mark.parametrize("first", [False, True])
def test_residual_sums(first: bool) -> None:
    """The sum grows by one with each branch, and what reads it is scaled for it."""
    build, x = residual(8, first=first), noise(96, 256)
    found = over_seeds(build, x, 4)
    assert len(found) == 18
    near_one(found, 0.1)
    model = drawn(build, x, 0)
    sent: list[float] = []
    for module in list(model)[1:9]:  # type: ignore[call-overload]
        module.register_forward_hook(lambda _m, _i, o: sent.append(float(o.square().mean())))
    with torch.no_grad():
        model(x)
    assert sent == pytest.approx(range(2, 10), rel=0.15)


def convolutions(make: Callable[[], nn.Module], pool: Callable[[], nn.Module], padding: int, *, norm: bool) -> Build:
    def block(channels: int) -> list[nn.Module]:
        normed: list[nn.Module] = [nn.BatchNorm2d(96)] if norm else []
        return [nn.Conv2d(channels, 96, 3, padding=padding, bias=not norm), *normed, make()]

    def build() -> nn.Module:
        return nn.Sequential(
            *block(3), pool(), *block(96), pool(), *block(96), nn.Flatten(), nn.LazyLinear(256), make(),
            nn.Linear(256, 30),
        )  # fmt: skip

    return build


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "pool", "padding", "norm"),
    [
        (nn.ReLU, nn.AvgPool2d, 1, False), (nn.ReLU, nn.MaxPool2d, 0, False), (nn.ReLU, nn.MaxPool2d, 1, False),
        (nn.Tanh, nn.AvgPool2d, 0, False), (nn.Tanh, nn.MaxPool2d, 1, False), (nn.ReLU, nn.MaxPool2d, 1, True),
        (nn.Tanh, nn.AvgPool2d, 1, True),
    ],
)  # fmt: skip
def test_pools(make: type[nn.Module], pool: Callable[[int], nn.Module], padding: int, norm: bool) -> None:
    build, x = convolutions(make, lambda: pool(2), padding, norm=norm), noise(24, 3, 20, 20)

    def shaped() -> nn.Module:
        model = build()
        model(x[:2])
        return model

    found = over_seeds(shaped, x, 6)
    assert len(found) == 5
    near_one(found, 0.1)


def test_padding_is_part_of_the_input() -> None:
    """On 8x8 pixels a sixth of what a 3x3 kernel sees is zeros; ten layers that forget it send a fifth."""

    def build() -> nn.Module:
        layers = [m for i in range(10) for m in (nn.Conv2d(48 if i else 2, 48, 3, padding=1), nn.Tanh())]
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(48 * 64, 3))

    near_one(over_seeds(build, noise(32, 2, 8, 8), 3), 0.1)


class Dense(nn.Module):
    """Each layer reads the concatenation of all before it (Huang et al., CVPR 2017)."""

    def __init__(self, *, norm: bool) -> None:
        super().__init__()
        widths = [32 * (i + 1) for i in range(5)]
        self.stem = nn.Conv2d(3, 32, 3, padding=1)
        self.norms = nn.ModuleList([nn.BatchNorm2d(n) if norm else nn.Identity() for n in widths[:-1]])
        self.activations = nn.ModuleList([nn.SiLU() for _ in widths[:-1]])
        self.layers = nn.ModuleList([nn.Conv2d(n, 32, 3, padding=1, bias=not norm) for n in widths[:-1]])
        self.head = nn.Linear(widths[-1], 3)

    def forward(self, x: Tensor) -> Tensor:
        found = [self.stem(x)]
        for norm, activation, layer in zip(self.norms, self.activations, self.layers, strict=True):
            found.append(layer(activation(norm(torch.cat(found, 1)))))
        return self.head(torch.cat(found, 1).mean((2, 3)))


@pytest.mark.parametrize("norm", [False, True])
def test_joins(norm: bool) -> None:
    """The inputs are five times too loud, which is what the average before the head sees in the first pass only."""
    x = 5 * noise(48, 3, 10, 10)
    near_one(over_seeds(lambda: Dense(norm=norm), x, 4), 0.1)


def test_batch_norm_decides_what_is_received() -> None:
    """Of layers that a norm follows the scale is no matter to the network, but the rule is the same."""

    def build() -> nn.Module:
        sizes = [200, 300, 300, 300]
        layers = [m for a, b in pairwise(sizes) for m in (nn.Linear(a, b, bias=False), nn.BatchNorm1d(b), nn.GELU())]
        return nn.Sequential(*layers, nn.Linear(300, 3))

    near_one(over_seeds(build, 4 * noise(128, 200) + 1, 3), 0.03)


def test_attention_is_followed_by_what_was_seen() -> None:
    x = noise(64, 6, 32)
    found = over_seeds(lambda: Attention(32, 4), x, 4)
    assert {"wide", "narrow", "head"} <= set(found)
    near_one(found, 0.1)


def test_the_residual_networks_that_are_trained_here() -> None:
    """An activation after each sum makes it far from Gaussian: the mean square creeps up (measured 3 after 9 blocks),
    which is little beside what He's rule gives."""
    network = ("data=digits", "data.limit=300", "model=resnet", "model.depth=20", "model.norm=none")
    squares: dict[str, dict[str, float]] = {}
    for init in ("auto_init", "he"):
        p = prepare(experiment(*network, f"init={init}"))
        assert p.context.batches is not None
        squares[init] = looked_at(p.model, p.context.batches(0).inputs, measured_square)
    assert max(squares["auto_init"].values()) < 6 and min(squares["auto_init"].values()) > 0.3
    assert max(squares["he"].values()) > 30


# ------------------------------------------------------------------ what it owes
def test_dropout_changes_nothing_and_draws_nothing() -> None:
    """Its mask is not the initialiser's to draw: one seed gives one result, whatever torch's generator is at."""

    def build() -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Dropout(0.5), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3), nn.ReLU(),
            nn.Flatten(), nn.Linear(8 * 4, 3),
        )  # fmt: skip

    x, values = noise(32, 3, 10, 10), []
    for state in (1, 2):
        torch.manual_seed(state)
        values.append([p.detach().clone() for p in drawn(build, x, 0).parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*values, strict=True))


def test_labels_are_not_looked_at() -> None:
    x = noise(32, 20)
    models = [plain(nn.GELU, 20, 2)() for _ in range(2)]
    for model, y in zip(models, (torch.zeros(32, dtype=torch.int64), noise(32)), strict=True):
        initlab.initialize(model, "auto_init", data=[(x, y)])
    assert all(torch.equal(a, b) for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True))


def test_the_note_tells_the_range() -> None:
    model = plain(nn.ReLU, 30, 3)()
    done = initlab.initialize(model, inits.auto_init().name, data=[(3 * noise(64, 30), torch.arange(64) % 3)])
    (note,) = done.notes
    assert note.startswith("inputs of the 4 weight layers have mean squares from 0.5 to 9")
