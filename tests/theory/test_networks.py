"""Residual, normalised, convolutional, recurrent and self-normalising networks: theory, figures, measurement."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import initlab
from initlab.theory import moments_of
from initlab.theory.finite_width import batch_norm_growth, forget_timescale, saxe_mode, zero_padding_share
from tests.oracles import activation

Figures = Mapping[str, Any]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def gaussian(layer: nn.Linear, sw2: float, g: torch.Generator) -> nn.Linear:
    nn.init.normal_(layer.weight, 0, math.sqrt(sw2 / layer.in_features), generator=g)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


# ------------------------------------------------------------------ residual
class Blocks(nn.Module):
    """x ← x + scale · branch(x), `blocks` times; branch is W₂ φ(W₁ φ(...)) of `layers` layers, normed where asked."""

    def __init__(
        self, *, blocks: int, layers: int, scale: float = 1.0, norm: bool = False, width: int = 500, seed: int = 0
    ) -> None:
        super().__init__()
        g = generator(seed)
        self.scale = scale
        self.norms = nn.ModuleList([nn.BatchNorm1d(width) if norm else nn.Identity() for _ in range(blocks)])
        self.activations = nn.ModuleList([nn.ReLU() for _ in range(blocks * layers)])
        self.weights = nn.ModuleList(
            [gaussian(nn.Linear(width, width, bias=False), 2.0, g) for _ in range(blocks * layers)]
        )

    def forward(self, x: Tensor) -> Tensor:
        layers = len(self.weights) // len(self.norms)
        for i, norm in enumerate(self.norms):
            y = norm(x)
            for j in range(i * layers, (i + 1) * layers):
                y = self.weights[j](self.activations[j](y))
            x = x + self.scale * y
        return x


def output_q(model: nn.Module, x: Tensor) -> tuple[float, float]:
    """The output's mean square that is predicted, and that is measured."""
    with torch.no_grad():
        return initlab.predict(model, x).output_q, float(model.train()(x).square().mean())


@pytest.mark.parametrize("layers", [1, 2])
def test_residual_blocks_double_signal_and_gradient(layers: int, oracles: Figures) -> None:
    key = "x+W relu(x), sw2=2" if layers == 1 else "two-layer He branch"
    want = oracles["residual"][key]
    x = torch.empty(64, 500).normal_(generator=generator(1))
    said, seen = output_q(Blocks(blocks=6, layers=layers), x)
    start = float(x.square().mean())
    assert said == pytest.approx(start * want["q_factor_per_block"] ** 6, rel=0.02)
    assert seen == pytest.approx(said, rel=0.25)
    if "grad_sq_factor" in want:
        rows = initlab.predict(Blocks(blocks=6, layers=1), x).layers
        gradients = [10**r.log10_gradient for r in rows]
        factors = [a / b for a, b in pairwise(gradients)]
        assert factors == pytest.approx([want["grad_sq_factor"]] * len(factors), rel=0.02)
        assert [b.q / a.q for a, b in pairwise(rows)] == pytest.approx(factors, rel=0.02)


@pytest.mark.parametrize("blocks", [10, 50])
def test_branches_scaled_by_depth(blocks: int, oracles: Figures) -> None:
    row = oracles["residual"]["branch/sqrt(L)"]
    want = row[f"L{blocks}"]
    assert (1 + 1 / blocks) ** blocks == pytest.approx(want, rel=1e-9) and row["limit"] == pytest.approx(math.e)
    x = torch.empty(64, 300).normal_(generator=generator(1))
    said, seen = output_q(Blocks(blocks=blocks, layers=1, scale=blocks**-0.5, width=300), x)
    start = float(x.square().mean())
    assert said / start == pytest.approx(want, rel=0.02)
    assert seen / start == pytest.approx(want, rel=0.2)


def test_normed_branches_add_one_each(oracles: Figures) -> None:
    assert oracles["residual"]["BN branch (prenorm)"]["q_after_L"] == "L+1"
    x = torch.empty(128, 500).normal_(generator=generator(1))
    for blocks in (5, 20):
        said, seen = output_q(Blocks(blocks=blocks, layers=1, norm=True), x)
        assert said == pytest.approx(blocks + 1, rel=0.03)
        assert seen == pytest.approx(said, rel=0.1)


class _Scale(nn.Module):
    initlab_role = "scale"

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * x


class _Branch(nn.Module):
    """x + scale · norm(W₂ φ(W₁ x)); `end` is what the last thing in the branch is."""

    def __init__(self, width: int, end: nn.Module) -> None:
        super().__init__()
        self.first, self.act, self.last, self.end = nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), end

    def forward(self, x: Tensor) -> Tensor:
        return x + self.end(self.last(self.act(self.first(x))))


@pytest.mark.parametrize(
    ("scheme", "end"),
    [
        ("skipinit", _Scale), ("rezero", _Scale), ("fixup", nn.Identity), ("zero_gamma", lambda: nn.BatchNorm1d(64)),
    ],
)  # fmt: skip
def test_branches_that_begin_at_zero(scheme: str, end: Callable[[], nn.Module], oracles: Figures) -> None:
    want = oracles["residual"]["SkipInit/ReZero/Fixup/zero-gamma"]
    model = nn.Sequential(*[_Branch(64, end()) for _ in range(20)])
    x = torch.empty(32, 64).normal_(generator=generator(1))
    # the example says which layers are branches
    initlab.initialize(nn.Sequential(model, nn.Linear(64, 3)), scheme, example=x)
    said, seen = output_q(model, x)
    start = float(x.square().mean())
    assert seen / start == pytest.approx(want["q_total_factor"], rel=1e-6)
    assert said / start == pytest.approx(want["q_total_factor"], rel=1e-5)
    assert float((model[0](x) - x).detach().abs().max()) == want["branch_output_at_init"]


# ------------------------------------------------------------------ batch norm
def test_batch_norm_explodes(oracles: Figures) -> None:
    """Yang et al., ICLR 2019: the gradient of a plain ReLU network grows by π/(π - 1) a layer whatever σ_w is."""
    row = oracles["batchnorm_vanilla_mlp"]
    want = row["relu_grad_sq_growth_per_layer"]
    assert batch_norm_growth(activation("relu")) == pytest.approx(want, rel=1e-11)
    assert want == pytest.approx(math.pi / (math.pi - 1), rel=1e-10)
    assert batch_norm_growth(activation("tanh")) == pytest.approx(1.187, abs=0.02)
    g, width, depth = generator(), 600, 30
    model = nn.Sequential(*[
        m for _ in range(depth)
        for m in (gaussian(nn.Linear(width, width, bias=False), 3.0, g), nn.BatchNorm1d(width), nn.ReLU())
    ])  # fmt: skip
    x = torch.empty(256, width).normal_(generator=g)
    rows = initlab.predict(model, x).layers
    steps = [a.log10_gradient - b.log10_gradient for a, b in pairwise(rows)]
    assert [10**s for s in steps[5:]] == pytest.approx([want] * len(steps[5:]), rel=0.01)
    # measured between layers 5 and 25, with a random cotangent at the top
    hs = [x]
    for module in model:
        hs.append(module(hs[-1]))
    ends = [hs[3 * layer - 2] for layer in (5, 25)]
    grads = torch.autograd.grad(hs[-1], ends, torch.empty(256, width).normal_(generator=g))
    growth = float(grads[0].square().sum() / grads[1].square().sum()) ** (1 / 20)
    assert growth == pytest.approx(row["measured_N600_B256"], abs=row["tol"])
    assert growth == pytest.approx(want, abs=row["tol"])


def test_batch_norm_of_a_linear_network(oracles: Figures) -> None:
    """(B - 2)/(B - 3) a layer at infinite width; with width 600 and B = 16 its own noise comes on top."""
    assert oracles["batchnorm_vanilla_mlp"]["linear"] == "(B-2)/(B-3)"
    g, width, batch, depth = generator(), 1000, 16, 24
    h = torch.empty(batch, width).normal_(generator=g).requires_grad_()
    hs = [h]
    for _ in range(depth):
        w = torch.empty(width, width).normal_(0, width**-0.5, generator=g)
        hs.append(F.batch_norm(hs[-1], None, None, training=True) @ w)
    first, last = torch.autograd.grad(hs[-1], (hs[2], hs[-2]), torch.empty(batch, width).normal_(generator=g))
    growth = float(first.square().sum() / last.square().sum()) ** (1 / (depth - 3))
    assert growth == pytest.approx((batch - 2) / (batch - 3), abs=0.015)


# ------------------------------------------------------------------ convolutions
def test_zero_padding(oracles: Figures) -> None:
    for size in (28, 14, 7):
        want = oracles["conv"][f"zero_pad_fraction_{size}x{size}_k3"]
        assert zero_padding_share(size, 3, 1) ** 2 == pytest.approx(want, rel=1e-9)
        # by counting: a convolution of ones with ones
        counted = F.conv2d(torch.ones(1, 1, size, size), torch.ones(1, 1, 3, 3), padding=1)
        assert float(counted.mean()) / 9 == pytest.approx(want, rel=1e-6)
        # in a network: the first layer's mean square
        model = nn.Sequential(nn.Conv2d(8, 512, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(512 * size**2, 2))
        nn.init.normal_(model[0].weight, 0, 72**-0.5, generator=generator(size))
        nn.init.zeros_(model[0].bias)
        x = torch.empty(8, 8, size, size).normal_(generator=generator())
        (said,) = initlab.predict(model, x).layers
        assert said.q == pytest.approx(want * said.sigma_w2 * float(x.square().mean()), rel=1e-5)
        assert float(model[0](x).detach().square().mean()) == pytest.approx(said.q, rel=0.05)


def test_delta_orthogonal_convolutions_keep_the_norm() -> None:
    """Xiao et al., ICML 2018; REFERENCE 4, H17: 1.0000002 after fifty linear layers."""
    model = nn.Sequential(*[nn.Conv2d(16, 16, 3, padding=1, bias=False) for _ in range(50)])
    initlab.initialize(model, "delta_orthogonal(gain=1.0)", activation="identity")
    x = torch.empty(4, 16, 14, 14).normal_(generator=generator())
    assert float(model(x).detach().norm() / x.norm()) == pytest.approx(1.0, abs=1e-4)


# ------------------------------------------------------------------ recurrence
def _radius(w: Tensor) -> float:
    return float(torch.linalg.eigvals(w.detach().double()).abs().max())


def test_recurrent_spectra(oracles: Figures) -> None:
    rows, n = oracles["rnn"], 256
    assert rows["gauss N(0,g^2/N)"] == {"spectral_radius": "g", "sigma_max": "2g"}
    for g in (0.9, 1.5):
        rnn = nn.RNN(8, n)
        initlab.initialize(rnn, "normal", std=g / n**0.5)
        assert _radius(rnn.weight_hh_l0) == pytest.approx(g, rel=0.1)  # 1.054 g was measured at this size
        assert float(torch.linalg.matrix_norm(rnn.weight_hh_l0.detach(), 2)) == pytest.approx(2 * g, rel=0.05)
    rnn = nn.RNN(8, n)
    initlab.initialize(rnn, "torch_default")
    want = rows["torch default U(+-1/sqrt N)"]["spectral_radius"]
    assert want == pytest.approx(3**-0.5, rel=1e-9)
    assert _radius(rnn.weight_hh_l0) == pytest.approx(want, rel=0.1)
    initlab.initialize(rnn, "irnn")
    assert _radius(rnn.weight_hh_l0) == pytest.approx(1.0, rel=1e-6)


def test_relu_recurrence_is_stable_below_root_two(oracles: Figures) -> None:
    assert oracles["rnn"]["relu_rnn_threshold"] == "g=sqrt(2)"
    assert initlab.gain("relu") == pytest.approx(2**0.5, rel=1e-12)
    n, growth = 1000, {}
    for factor in (0.9, 1.1):
        w = torch.empty(n, n).normal_(0, factor * 2**0.5 / n**0.5, generator=generator())
        h = torch.empty(n).normal_(generator=generator(1))
        start = float(h.norm())
        for _ in range(40):
            h = torch.relu(w @ h)
        growth[factor] = float(h.norm()) / start
    assert growth[0.9] < 0.1 and growth[1.1] > 5


def test_forget_gates(oracles: Figures) -> None:
    rows = oracles["rnn"]["forget_gate"]
    for bias, key in ((0.0, "b=0"), (1.0, "b=1"), (2.0, "b=2 (both torch biases set to 1!)")):
        assert 1 / (1 + math.exp(-bias)) == pytest.approx(rows[key]["f"], rel=1e-9)
        assert forget_timescale(bias) == pytest.approx(rows[key]["tau"], rel=1e-9)
        # of the initialised layer: torch has two biases, and their sum is what counts
        lstm = nn.LSTM(4, 8)
        initlab.initialize(lstm, "recurrent", forget_bias=bias)
        total = (lstm.bias_ih_l0 + lstm.bias_hh_l0).detach()[8:16]
        assert total.tolist() == pytest.approx([bias] * 8)
        assert float(torch.sigmoid(total).mean()) == pytest.approx(rows[key]["f"], rel=1e-5)


def test_baseline_of_the_adding_problem(oracles: Figures) -> None:
    """Always answering 1 errs by the variance of the sum of two uniform numbers; 0.1767 is a misprint."""
    pairs = torch.rand(1_000_000, 2, generator=generator())
    seen = float((pairs.sum(1) - 1).square().mean())
    assert oracles["rnn"]["adding_problem_baseline_mse"] == pytest.approx(1 / 6, rel=1e-9)
    assert seen == pytest.approx(1 / 6, rel=5e-3)


# ------------------------------------------------------------------ learning dynamics
def test_modes_of_a_linear_network(oracles: Figures) -> None:
    """Saxe, McClelland & Ganguli, ICLR 2014: formula, and gradient descent on ½(s - ab)²."""
    rows, s, start, lr = oracles["saxe_two_layer"]["s=3,u0=0.01,lr=1e-3"], 3.0, 0.01, 1e-3
    a = b = start**0.5
    walked: dict[int, float] = {}
    for step in range(1, 2001):
        gap = s - a * b
        a, b = a + lr * gap * b, b + lr * gap * a
        walked[step] = a * b
    for step, want in rows.items():
        said = saxe_mode(int(step) * lr, strength=s, start=start)
        assert said == pytest.approx(want, rel=1e-9)
        assert walked[int(step)] == pytest.approx(said, abs=0.005 * s)
    assert [walked[t] for t in (500, 1000, 1500, 2000)] == pytest.approx([0.1881, 1.7192, 2.8934, 2.9946], abs=1e-4)


# ------------------------------------------------------------------ SELU and LSUV
@pytest.mark.parametrize("width", [64, 256, 1024])
def test_selu_keeps_mean_and_variance_over_32_layers(width: int, oracles: Figures) -> None:
    """Klambauer et al., NeurIPS 2017; REFERENCE 4, H5: LeCun's scale, 500 inputs N(0, 1)."""
    row = oracles["selu_32_layers"]
    want = row[f"N{width}"]
    model = nn.Sequential(*[m for _ in range(32) for m in (nn.Linear(width, width), nn.SELU())])
    initlab.initialize(model, "lecun", seed=0)
    h = torch.empty(500, width).normal_(generator=generator(1))
    with torch.no_grad():
        for module in model:
            h = module(h)
            if isinstance(module, nn.SELU):
                assert abs(float(h.mean())) < want["max_abs_mean"]
                assert want["var_range"][0] < float(h.var()) < want["var_range"][1]
    assert moments_of(activation("selu")).slope_second == pytest.approx(row["chi1"], rel=1e-9)


def test_lsuv_needs_one_rescaling(oracles: Figures) -> None:
    want = oracles["lsuv"]
    assert want["iterations_needed_no_bias"] == 1 and want["var_after"].startswith("1 +- 1e-5")
    model = nn.Sequential(*[m for _ in range(8) for m in (nn.Linear(50, 50, bias=False), nn.ReLU())])
    g = generator()
    data = [(torch.empty(256, 50).normal_(generator=g) * 3, torch.randint(0, 10, (256,), generator=g))]
    initlab.initialize(model, "lsuv", data=data, tol=1e-9, max_iterations=1)
    h = data[0][0]
    with torch.no_grad():
        for module in model:
            h = module(h)
            if isinstance(module, nn.Linear):
                assert float(h.var(correction=0)) == pytest.approx(1.0, abs=1e-5)
