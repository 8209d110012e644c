"""Weight standardisation: the formula by numpy, which layers have it, and predictions of the weight that is used."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from initlab import activations
from initlab.models import convnet, mlp, resnet
from initlab.models.standardised import StandardisedConv2d, StandardisedLinear, standardise_weight
from initlab.run.prepare import foresee, prepare
from initlab.spec import IO, ModelBuilder
from tests.cases import experiment, untracked

DIGITS = IO(input_shape=(1, 8, 8), classes=5)


@pytest.mark.parametrize("shape", [(4, 7), (3, 2, 3, 3), (5, 1)])
def test_the_formula(shape: tuple[int, ...]) -> None:
    w = torch.randn(shape) * 0.3 + 0.1
    plain = w.double().numpy().reshape(len(w), -1)
    expected = (plain - plain.mean(1, keepdims=True)) / np.sqrt(plain.var(1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(standardise_weight(w).reshape(len(w), -1).numpy(), expected, atol=1e-5)
    assert bool((standardise_weight(torch.zeros(shape)) == 0).all())


def test_a_layer_uses_the_standardised_weight_and_trains_the_plain_one() -> None:
    layer, x = StandardisedConv2d(2, 3, 3, padding=1), torch.randn(4, 2, 6, 6)
    expected = nn.functional.conv2d(x, standardise_weight(layer.weight), layer.bias, padding=1)
    assert torch.equal(layer(x), expected)
    linear = StandardisedLinear(6, 3).double()
    linear(torch.randn(4, 6, dtype=torch.float64)).square().sum().backward()
    assert linear.weight.grad is not None
    # the function does not change with the mean and the size of a unit's weights: nor does the gradient go there
    torch.testing.assert_close(linear.weight.grad.sum(1), torch.zeros(3, dtype=torch.float64), atol=1e-10, rtol=0)
    along = (linear.weight.grad * linear.weight).sum(1).abs()
    assert bool((along <= 1e-2 * linear.weight.grad.norm(dim=1) * linear.weight.norm(dim=1)).all())


@pytest.mark.parametrize(
    "builder",
    [
        mlp(depth=3, weight_standardisation=True), convnet(depth=3, width=4, weight_standardisation=True),
        resnet(depth=8, width=4, shortcut="B", weight_standardisation=True),
    ],
    ids=["mlp", "convnet", "resnet"],
)  # fmt: skip
def test_all_layers_but_the_head_are_standardised(builder: ModelBuilder) -> None:
    model = builder(DIGITS, activations.relu())
    layers = {n: m for n, m in model.named_modules() if isinstance(m, (nn.Linear, nn.Conv2d))}
    kinds = {n: isinstance(m, (StandardisedLinear, StandardisedConv2d)) for n, m in layers.items()}
    assert [n for n, kind in kinds.items() if not kind] == ["head"] and len(kinds) > 3


@pytest.mark.parametrize(
    "net",
    [
        ("model=mlp", "model.depth=4", "model.width=256"),
        ("model=mlp", "model.depth=4", "model.width=256", "model.norm=layer"),
        ("model=convnet", "model.depth=4"),
        ("model=resnet", "model.depth=8", "model.norm=layer"),
    ],
    ids="-".join,
)
@pytest.mark.parametrize("init", ["he", "normal"])
def test_predictions_see_the_weight_that_is_used(net: tuple[str, ...], init: str) -> None:
    """Size of each layer within a third and a half of the measured one; what the initialiser drew plays no part."""
    found = foresee(prepare(experiment("data=digits", *net, f"init={init}", "model.weight_standardisation=true")))
    assert found.prediction.out_of_scope == ()
    for said, seen in zip(found.prediction.layers, found.seen.layers, strict=True):
        assert said.site == seen.site
        assert 0.66 < said.q / seen.q < 1.5, said.site
        assert abs(said.log10_gradient - seen.log10_gradient) < 0.4


def test_a_network_without_a_norm_is_predicted_to_grow() -> None:
    """Each layer multiplies the mean square by E[φ²]/q = 1/2 times its fan_in."""
    net = ("data=digits", "model=mlp", "model.depth=4", "model.width=128", "activation=relu", "init=he")
    layers = foresee(prepare(experiment(*net, "model.weight_standardisation=true"))).prediction.layers
    growth = [b.q / a.q for a, b in pairwise(layers)]
    # the mean of a layer's inputs is lost: E[φ²] - E[φ]² = q (1/2 - 1/(2π))
    assert growth == [pytest.approx(128 * (0.5 - 1 / (2 * np.pi)), rel=0.02)] * len(growth)


@pytest.mark.parametrize("net", [("model=mlp", "model.width=64"), ("model=convnet", "model.depth=3", "model.width=8")])
def test_it_trains_with_a_norm(net: tuple[str, ...]) -> None:
    fit = ("model.norm=layer", "model.weight_standardisation=true", "trainer.epochs=5", "optimizer.lr=0.003")
    result, _ = untracked("data=digits", *net, *fit, "probes=none")
    assert result.metrics["val/accuracy"] > 0.9
