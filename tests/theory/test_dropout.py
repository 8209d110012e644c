"""Dropout of both kinds in predictions: the map of one layer by samples, and deep perceptrons by measurement."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import initlab
from initlab.run.prepare import foresee, predict, prepare
from initlab.theory.state import State, alpha_dropout
from tests.cases import experiment, untracked


@pytest.mark.parametrize("p", [0.05, 0.2, 0.5])
@pytest.mark.parametrize(("mean", "std", "c"), [(0.0, 1.0, 0.4), (0.7, 1.5, 0.9), (-0.3, 0.5, 0.0)])
def test_the_map_of_alpha_dropout_against_samples(p: float, mean: float, std: float, c: float) -> None:
    torch.manual_seed(0)
    n = 1_000_000
    common, own, other = torch.randn(3, n).double()
    x, y = (mean + std * (c**0.5 * common + (1 - c) ** 0.5 * z) for z in (own, other))
    x.requires_grad_(True)
    a, b = (F.alpha_dropout(z, p, training=True) for z in (x, y))
    before = State(mean, std**2 + mean**2, c * std**2 + mean**2)
    after, (slope,) = alpha_dropout(before, kept=1 - p)
    seen = (a.mean(), a.square().mean(), (a * b).mean())
    assert [after.m, after.s, after.p] == [pytest.approx(float(v.detach()), abs=0.02) for v in seen]
    (gradient,) = torch.autograd.grad(a.sum(), x)
    assert slope == pytest.approx(float(gradient.square().mean()), rel=0.01)


def test_alpha_dropout_keeps_mean_0_and_variance_1() -> None:
    after, _ = alpha_dropout(State(0.0, 1.0, 0.5), kept=0.8)
    assert (after.m, after.s) == (pytest.approx(0, abs=1e-12), pytest.approx(1))
    assert after.p < 0.5


def correlation(h: torch.Tensor) -> float:
    """Mean product of two examples over the mean square of one; inputs here have mean 0."""
    products = h @ h.T
    n = len(h)
    return float((products.sum() - products.trace()) / (n * (n - 1)) / (products.trace() / n))


@pytest.mark.parametrize("kind", ["plain", "alpha"])
@pytest.mark.parametrize(
    ("activation", "init", "depth"), [("relu", "he", 8), ("tanh", "xavier", 12), ("selu", "lecun", 12)]
)
def test_a_perceptron_with_dropout_is_predicted(kind: str, activation: str, init: str, depth: int) -> None:
    """Mean square and correlation behind the last hidden layer, over a hundred draws of the masks."""
    net = ("model=mlp", f"model.depth={depth}", "model.width=400", "model.dropout=0.3", f"model.dropout_kind={kind}")
    prepared = prepare(experiment("data=digits", *net, f"activation={activation}", f"init={init}"))
    said = predict(prepared)
    assert said.out_of_scope == ()
    model = prepared.model.train()
    assert prepared.context.batches is not None
    x = prepared.context.batches(0).inputs[:64]
    seen: list[torch.Tensor] = []
    model.layers[-1].register_forward_hook(lambda _, args, output: seen.append(output.detach()))  # pyright: ignore
    with torch.no_grad():
        for _ in range(100):
            model(x)
    last = next(r for r in said.layers if r.site == f"layers.{depth - 1}.weight")
    square = float(torch.stack([h.square().mean() for h in seen]).mean())
    assert 0.75 < last.q / square < 1.33
    assert last.c == pytest.approx(sum(map(correlation, seen)) / len(seen), abs=0.08)


def test_dropout_is_in_what_a_run_predicts_and_changes_it() -> None:
    net = ("data=digits", "model=mlp", "model.depth=12", "model.width=64", "activation=relu", "init=he")
    plain, dropped = (foresee(prepare(experiment(*net, *o))).prediction for o in ((), ("model.dropout=0.5",)))
    ratio = dropped.layers[-2].q / plain.layers[-2].q
    assert ratio == pytest.approx(2.0 ** (len(plain.layers) - 2), rel=1e-3)


@pytest.mark.parametrize("kind", ["plain", "alpha"])
def test_a_network_with_dropout_trains(kind: str) -> None:
    net = ("model=mlp", "model.width=64", "model.dropout=0.2", f"model.dropout_kind={kind}", "activation=selu")
    result, _ = untracked("data=digits", *net, "init=lecun", "trainer.epochs=5", "probes=none")
    assert result.metrics["val/accuracy"] > 0.9


def test_one_of_your_own_with_alpha_dropout_is_predicted() -> None:
    layers = [m for _ in range(10) for m in (nn.Linear(64, 64), nn.SELU(), nn.AlphaDropout(0.3))]
    model = nn.Sequential(*layers, nn.Linear(64, 3))
    x = torch.randn(256, 64, generator=torch.Generator().manual_seed(0))
    initlab.initialize(model, "lecun", example=x)
    said = initlab.predict(model, x)
    with torch.no_grad():
        seen = float(model.train()[:-3](x).square().mean())
    assert said.out_of_scope == () and 0.6 < said.layers[-2].q / seen < 1.6
