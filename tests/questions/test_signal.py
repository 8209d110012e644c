"""What people ask about depth, gains and scales; each test names its source."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import initlab
from tests.questions.networks import Siren, images, perceptron


def test_why_root_five_in_linear_and_is_that_he() -> None:
    """pytorch#15314, #1667: U(±1/√n) has variance 1/(3n); χ₁ = 1/6 a layer, 6ξ = 3.35 layers."""
    torch.manual_seed(0)
    layer = nn.Linear(1000, 1000)
    assert float(layer.weight.detach().var()) * 1000 == pytest.approx(1 / 3, rel=0.01)
    assert initlab.meanfield("relu", sigma_w=3**-0.5).chi_1 == pytest.approx(1 / 6)
    found = initlab.inspect(perceptron(256, 15, nn.ReLU), images())
    assert found.verdict == "untrainable"
    assert found.prediction.gradient_depth == pytest.approx(6 / math.log(6), rel=0.02)
    model = perceptron(256, 15, nn.ReLU)
    initlab.initialize(model, "he", example=images()[0])
    assert initlab.inspect(model, images()).verdict == "trainable"


def test_does_a_larger_a_raise_the_scale() -> None:
    """efficient-kan#72: kaiming's gain √(2/(1 + a²)) falls with a."""
    slopes = (0.1, math.sqrt(5), 2 * math.sqrt(5))
    gains = [initlab.gain(f"leaky_relu(negative_slope={a})") for a in slopes]
    assert gains == pytest.approx([math.sqrt(2 / (1 + a * a)) for a in slopes])
    assert gains == sorted(gains, reverse=True)
    layer = nn.Linear(500, 500)
    for a, gain in zip(slopes, gains, strict=True):
        nn.init.kaiming_uniform_(layer.weight, a=a)
        assert float(layer.weight.detach().std()) * 500**0.5 == pytest.approx(gain, rel=0.01)


def test_why_is_the_gain_of_tanh_five_thirds() -> None:
    """discuss.pytorch.org 20854: the signal is stable, the gradient grows 21 % a layer."""
    field = initlab.meanfield("tanh", sigma_w=5 / 3)
    assert field.q_star == pytest.approx(1.1785, abs=1e-4) and field.chi_1 == pytest.approx(1.2098, abs=1e-4)
    torch.manual_seed(0)
    model = perceptron(1000, 30, nn.Tanh, inputs=1000)
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.xavier_normal_(layer.weight, 5 / 3)
            nn.init.zeros_(layer.bias)
    x = torch.randn(64, 1000)
    with torch.no_grad():
        assert float(model[:-1](x).std()) == pytest.approx(0.6513, rel=0.03)
    grows = initlab.inspect(model, (x, images()[1])).seen.layers
    per_layer = 10 ** (grows[0].log10_gradient / (len(grows) - 1))
    assert per_layer == pytest.approx(1.21, rel=0.05)


def test_which_gain_has_selu() -> None:
    """pytorch#24991: 1; at torch's 3/4 self-normalisation is lost."""
    assert initlab.gain("selu") == pytest.approx(1.0)
    assert initlab.meanfield("selu", sigma_w=1.0).q_star == pytest.approx(1.0)
    assert initlab.meanfield("selu", sigma_w=0.75).q_star == pytest.approx(0.023, abs=1e-3)
    model, x = perceptron(1000, 100, nn.SELU), images()[0]
    initlab.initialize(model, "lecun", example=x)
    with torch.no_grad():
        assert float(model[:-1](x).var()) == pytest.approx(1.0, abs=0.25)


def test_which_forget_bias() -> None:
    """pytorch#20102, #750: 1 in one of the two biases, or chrono(T)."""
    lstm, x = nn.LSTM(2, 64, batch_first=True), torch.randn(4, 100, 2)
    forget = slice(64, 128)
    initlab.initialize(lstm, "recurrent", example=x)
    assert set(lstm.bias_ih_l0[forget].tolist()) == {1.0} and set(lstm.bias_hh_l0[forget].tolist()) == {0.0}
    initlab.initialize(lstm, "chrono(t_max=100)", example=x)
    bias = (lstm.bias_ih_l0 + lstm.bias_hh_l0)[forget].detach()
    assert float(bias.min()) >= 0 and math.log(20) < float(bias.max()) <= math.log(99)


def test_siren_diverges_is_it_just_xavier() -> None:
    """vsitzmann/siren#19, #5: √(6/n)/ω₀ inside, ±1/n first, inputs in [-1, 1]."""
    torch.manual_seed(0)
    model, x = Siren(), torch.rand(256, 2) * 2 - 1
    batch = (x, torch.rand(256, 3))
    assert initlab.inspect(model, batch).verdict == "untrainable"
    initlab.initialize(model, "siren", example=x)
    first, inner = model.layers[0].weight, model.layers[1].weight  # type: ignore[union-attr]
    assert isinstance(first, torch.Tensor) and isinstance(inner, torch.Tensor)
    assert float(first.detach().abs().max()) == pytest.approx(1 / 2, rel=0.02)
    assert float(inner.detach().abs().max()) == pytest.approx(math.sqrt(6 / 256) / 30, rel=0.01)
    found = initlab.inspect(model, batch)
    assert found.verdict == "trainable"
    inside = [900 * layer.q for layer in found.seen.layers[1:]]
    # 1 of the weights, and 900/(3·256) of the biases U(±1/√n)
    assert inside == pytest.approx([1 + 900 / 768] * 2, rel=0.15)
    pixels = initlab.inspect(model, (127.5 * (x + 1), batch[1]))
    assert any("the inputs' mean square is" in n for n in pixels.notes)
    xavier = Siren()
    initlab.initialize(xavier, "xavier", example=x)
    assert initlab.inspect(xavier, batch).verdict == "untrainable"


@pytest.mark.timeout(300)
def test_vgg16_without_batch_norm_stays_at_ten_percent() -> None:
    """kuangliu/pytorch-cifar#28: 15 weight layers against a gradient depth of 3.35."""
    torchvision = pytest.importorskip("torchvision")
    torch.manual_seed(0)
    model = torchvision.models.vgg16(num_classes=10)
    batch = (torch.randn(8, 3, 32, 32), torch.randint(10, (8,)))
    initlab.initialize(model, "torch_default", example=batch[0])
    found = initlab.inspect(model, batch)
    assert found.verdict == "untrainable"
    assert any(r.startswith("15 hidden layers, theory allows about 6ξ = 3.3") for r in found.reasons)
    initlab.initialize(model, "he", example=batch[0])
    assert initlab.inspect(model, batch).verdict == "trainable"


def test_inputs_of_0_to_255() -> None:
    """stats.stackexchange 367057: it is not the initialisation."""
    torch.manual_seed(0)
    x, y = images()
    model = perceptron(128, 2, nn.ReLU)
    notes = initlab.inspect(model, (255 * torch.rand(64, 784), y)).notes
    assert any("the inputs' mean square is" in n and "subtract the mean" in n for n in notes)
    assert not any("mean square" in n for n in initlab.inspect(model, (x, y)).notes)


def test_four_layers_of_500_sigmoids_do_not_learn() -> None:
    """ai.stackexchange 16557: the gradient's square falls by 10^5.1, χ₁ = 0.020, 6ξ = 1.53."""
    torch.manual_seed(0)
    found = initlab.inspect(perceptron(500, 4, nn.Sigmoid), images())
    assert found.verdict == "untrainable"
    assert found.prediction.gradient_depth == pytest.approx(1.53, abs=0.03)
    assert found.seen.layers[0].log10_gradient == pytest.approx(-5.1, abs=0.2)
    assert initlab.meanfield("sigmoid", sigma_w=3**-0.5).chi_1 == pytest.approx(0.020, abs=1e-3)


def test_my_relu_network_fails_to_launch() -> None:
    """A ReLU on the output: dead output units."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 10), nn.ReLU())
    notes = initlab.inspect(model, images()).notes
    assert any(n.startswith("relu stands directly before the loss") and "remove it" in n for n in notes)
    assert not any("before the loss" in n for n in initlab.inspect(model[:3], images()).notes)
