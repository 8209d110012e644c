"""Measurements at initialisation against formulas, and against networks that are written out with numpy."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from initlab.errors import ConfigError
from initlab.papers.measures import MEASURES
from initlab.papers.measures.hidden import outputs_of
from initlab.run.prepare import Prepared, prepare
from initlab.spec import Experiment
from tests.cases import experiment

MLP = ("data=digits", "model=mlp", "tracking=none", "probes=none", "device=cpu")


def made(*overrides: str, seed: int = 0) -> tuple[Prepared, Experiment]:
    chosen = replace(experiment(*MLP, *overrides), seed=seed)
    return prepare(chosen), chosen


def measured(name: str, *overrides: str, seed: int = 0, **settings: Any) -> dict[str, float]:
    return dict(MEASURES[name](*made(*overrides, seed=seed), settings))


def by_hand(prepared: Prepared, x: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
    """Outputs of the hidden layers of a linear perceptron."""
    layers: list[np.ndarray[Any, Any]] = []
    for layer in prepared.model.layers:  # type: ignore[union-attr]
        x = x @ layer.weight.detach().double().numpy().T + layer.bias.detach().double().numpy()
        layers.append(x)
    return layers


# ------------------------------------------------------------------ moments
def test_moments_of_a_linear_network_are_those_by_hand() -> None:
    prepared, chosen = made("activation=identity", "init=lecun", "init.bias=0.3", "model.depth=4", "model.width=16")
    x = prepared.splits.prepare(prepared.splits.train.x[:50]).flatten(1).double().numpy()
    layers = by_hand(prepared, x)
    found = MEASURES["layer_moments"](prepared, chosen, {"inputs": "data", "examples": 50, "skip": 1})
    expected = {
        "mean_size": max(abs(y.mean()) for y in layers[1:]), "low_variance": min(y.var() for y in layers[1:]),
        "high_variance": max(y.var() for y in layers[1:]), "last_variance": layers[-1].var(),
        "last_square": (layers[-1] ** 2).mean(),
    }  # fmt: skip
    assert dict(found) == pytest.approx(expected, rel=1e-4)


# ------------------------------------------------------------------ gradients and Jacobians
def test_the_gradient_of_orthogonal_linear_layers_keeps_its_size() -> None:
    found = measured("gradient_growth", "activation=identity", "init=orthogonal", "model.depth=10", "model.width=64")
    assert found == pytest.approx({"growth": 1.0, "gradient_ratio": 1.0}, rel=1e-4)


@pytest.mark.parametrize("gain", [0.5, 1.5])
def test_the_gradient_of_scaled_orthogonal_layers_grows_by_the_squared_gain(gain: float) -> None:
    scaled = ("activation=identity", "init=orthogonal", f"init.gain={gain}", "model.depth=6", "model.width=64")
    found = measured("gradient_growth", *scaled)
    assert found["growth"] == pytest.approx(gain**2, rel=1e-4)
    assert found["gradient_ratio"] == pytest.approx(gain**5, rel=1e-4)
    some = measured("gradient_growth", *scaled, first=1, last=3)
    assert some["growth"] == pytest.approx(gain**2, rel=1e-4)
    assert some["gradient_ratio"] == pytest.approx(gain**2, rel=1e-4)


def test_the_jacobian_of_orthogonal_linear_layers_has_equal_singular_values() -> None:
    found = measured("jacobian", "activation=identity", "init=orthogonal", "model.depth=6", "model.width=32")
    assert found["mean_square"] == pytest.approx(1, rel=1e-4)
    assert found["largest"] == pytest.approx(1, rel=1e-4)
    assert found["spread"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("depth", [2, 5])
def test_the_spread_of_gaussian_layers_is_their_number(depth: int) -> None:
    """Pennington, Schoenholz & Ganguli, 2017: the variance of s² of a product of L square Gaussian matrices is L."""
    chosen = (
        "activation=identity",
        "init=lecun",
        "init.distribution=normal",
        f"model.depth={depth}",
        "model.width=256",
    )
    found = [measured("jacobian", *chosen, seed=s, examples=1)["spread"] for s in range(4)]
    assert float(np.mean(found)) == pytest.approx(depth - 1, rel=0.1)


def test_the_jacobian_is_that_of_numpy() -> None:
    prepared, chosen = made("activation=identity", "init=he", "model.depth=3", "model.width=12")
    product = np.eye(12)
    for layer in prepared.model.layers[1:]:  # type: ignore[index]
        product = layer.weight.detach().double().numpy() @ product
    squares = np.linalg.svd(product, compute_uv=False) ** 2
    found = MEASURES["jacobian"](prepared, chosen, {"examples": 1})
    expected = {
        "mean_square": squares.mean(), "spread": squares.var() / squares.mean() ** 2, "largest": squares.max() ** 0.5,
    }  # fmt: skip
    assert dict(found) == pytest.approx(expected, rel=1e-4)


# ------------------------------------------------------------------ draws
@pytest.mark.parametrize("depth", [3, 8])
def test_narrow_networks_are_born_dead_as_often_as_the_bounds_say(depth: int) -> None:
    """Between 1 - (1 - 2^-4)^(L-1) and 1 - (1 - 2^-2)^L for two units a layer, and as often as such draws in numpy."""
    chosen = ("activation=relu", "init=he", "model.bias=false", "model.width=2", f"model.depth={depth}")
    found = [measured("born_dead", *chosen, seed=s, draws=150, examples=100) for s in range(2)]
    share, error = float(np.mean([f["dead"] for f in found])), 3 * math.sqrt(0.25 / 300)
    assert found[0]["least"] == pytest.approx(1 - (15 / 16) ** (depth - 1))
    assert found[0]["bound"] == pytest.approx(1 - 0.75**depth)
    assert found[0]["least"] - error < share < found[0]["bound"] + error
    rng = np.random.default_rng(0)
    dead = 0
    for _ in range(600):
        h = rng.normal(size=(100, 64))
        for width in (64, *[2] * (depth - 1)):
            h = np.maximum(h @ rng.normal(size=(width, 2)), 0)
        dead += bool((h == h[0]).all())
    assert share == pytest.approx(dead / 600, abs=error + 3 * math.sqrt(0.25 / 600))


def test_a_wide_network_is_not_born_dead() -> None:
    found = measured("born_dead", "activation=relu", "init=he", "model.width=64", "model.depth=4", draws=5)
    assert found["dead"] == 0


@pytest.mark.slow
def test_the_length_spreads_by_five_layers_over_the_width() -> None:
    """Hanin & Rolnick, 2018: the variance of log |h|² of He's ReLU networks is about 5 times the sum of 1/n."""
    chosen = ("activation=relu", "init=he", "init.distribution=normal", "model.bias=false")
    for depth, width in ((10, 100), (20, 100)):
        found = [
            measured("length_spread", *chosen, f"model.depth={depth}", f"model.width={width}", seed=s, draws=250)
            for s in range(3)
        ]
        # the error of a variance of 750 draws is about 5 %, and the next order of the formula some per cent more
        assert float(np.mean([f["log_variance"] for f in found])) == pytest.approx(5 * depth / width, rel=0.2)
        assert all(f["dead"] == 0 for f in found)


def test_no_spread_is_told_of_dead_networks_alone() -> None:
    found = measured("length_spread", "activation=relu", "init=zeros", "model.width=8", draws=4)
    assert math.isnan(found["log_variance"]) and found["dead"] == 1


def test_draws_are_of_the_seed() -> None:
    chosen = ("activation=relu", "init=he", "model.width=8")
    first, again, other = (measured("length_spread", *chosen, seed=s, draws=6)["log_variance"] for s in (0, 0, 1))
    assert first == again != other


# ------------------------------------------------------------------ tokens
VIT = ("data=digits", "model=vit", "model.width=32", "model.heads=4", "model.depth=6", "tracking=none", "probes=none")


def tokens(*overrides: str, **settings: Any) -> dict[str, float]:
    chosen = experiment(*VIT, "device=cpu", *overrides)
    return dict(MEASURES["token_residual"](prepare(chosen), chosen, settings))


def test_attention_alone_makes_tokens_equal_and_skips_prevent_it() -> None:
    """Dong, Cordonnier & Loukas, 2021."""
    alone = [tokens(f"model.depth={d}", skip=False, mlp=False) for d in (2, 4, 6)]
    fallen = [0.0, *(a["log10_ratio"] for a in alone)]
    steps = [before - after for before, after in pairwise(fallen)]
    assert 0 < steps[0] < steps[1] < steps[2], "it falls, and faster than exponentially"
    whole = tokens()
    assert whole["log10_ratio"] > fallen[-1] / 10
    for found in (*alone, whole):
        assert 0 <= found["last"] <= 1 and 0 <= found["first"] <= 1
        assert found["log10_ratio"] == pytest.approx(math.log10(found["last"]) - math.log10(found["first"]))


def test_the_whole_blocks_are_those_of_the_network() -> None:
    """With all parts, the tokens behind the last block are those that the network itself computes."""
    chosen = experiment(*VIT, "device=cpu")
    prepared = prepare(chosen)
    found = MEASURES["token_residual"](prepared, chosen, {"examples": 5})
    model = prepared.model.eval()
    blocks = next(m for m in model.modules() if isinstance(m, torch.nn.ModuleList) and hasattr(m[0], "attn"))
    seen: list[torch.Tensor] = []
    hook = blocks[-1].register_forward_hook(lambda _m, _i, out: seen.append(out))
    with torch.no_grad():
        model(prepared.splits.prepare(prepared.splits.train.x[:5]))
    hook.remove()
    y = seen[0].double().numpy()
    apart = np.linalg.norm((y - y.mean(1, keepdims=True)).reshape(5, -1), axis=1)
    assert found["last"] == pytest.approx(float((apart / np.linalg.norm(y.reshape(5, -1), axis=1)).mean()), rel=1e-4)


# ------------------------------------------------------------------ settings and networks that do not fit
@pytest.mark.parametrize(
    ("name", "settings", "told"),
    [
        ("jacobian", {"example": 3}, "did you mean examples?"),
        ("jacobian", {"examples": 0}, "must be 1 or more"),
        ("jacobian", {"examples": True}, "must be of type int"),
        ("jacobian", {"examples": "4"}, "must be of type int"),
        ("jacobian", {"inputs": "noise"}, "choose from data, normal"),
        ("layer_moments", {"skip": 2}, "leaves none of the 2 hidden layers"),
        ("layer_moments", {"skip": -1}, "must be 0 or more"),
        ("gradient_growth", {"first": 1}, "two hidden layers or more"),
        ("gradient_growth", {"last": 9}, "two hidden layers or more"),
        ("born_dead", {"draws": -1}, "must be 1 or more"),
        ("token_residual", {"skip": 1}, "must be of type bool"),
        ("token_residual", {}, "takes model=gpt or model=vit"),
    ],
)
def test_a_setting_that_does_not_fit_is_told(name: str, settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as raised:
        measured(name, "activation=relu", "init=he", "model.width=8", **settings)
    assert told in str(raised.value)


@pytest.mark.parametrize("other", ["model.norm_at=post", "model.branch_scale=inverse"])
def test_blocks_that_it_would_not_repeat_are_refused(other: str) -> None:
    with pytest.raises(ConfigError, match="token_residual takes"):
        tokens(other)


def test_a_network_without_a_list_of_layers_is_told() -> None:
    chosen = experiment("data=digits", "model=cnn", "tracking=none", "probes=none")
    with pytest.raises(ConfigError, match="model=mlp or model=convnet"):
        MEASURES["jacobian"](prepare(chosen), chosen, {})


def test_every_measurement_is_sound_of_a_network_of_one_layer() -> None:
    with pytest.raises(ConfigError, match="two hidden layers"):
        measured("gradient_growth", "model.depth=1", "model.width=8")
    with pytest.raises(ConfigError, match="two hidden layers"):
        measured("jacobian", "model.depth=1", "model.width=8")
    assert measured("layer_moments", "model.depth=1", "model.width=8")["last_variance"] > 0


def test_the_layers_are_those_behind_the_activation() -> None:
    prepared, _ = made("activation=relu", "model.depth=3", "model.width=8")
    x = torch.randn(5, *prepared.splits.io.input_shape)
    layers = outputs_of(prepared.model, x)
    assert [tuple(y.shape) for y in layers] == [(5, 8)] * 3 and all(bool((y >= 0).all()) for y in layers)
    assert not any(m._forward_hooks for m in prepared.model.modules())
