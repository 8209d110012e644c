"""The outlook: each part of the risk moves as it says, and real networks come out in the order in which they train."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

from initlab import activations, inits
from initlab.diagnosis.trainability import (
    LARGE_LOSS_FACTOR,
    MIDDLE,
    POWER,
    judge,
    risk,
    score_of,
    verdict_of_probability,
)
from initlab.network.sites import describe
from initlab.probes import LayerSnapshot, Snapshot, snapshot
from initlab.probes.snapshot import alignment
from initlab.run.prepare import Forecast, Prepared, foresee, prepare
from initlab.spec import Batch, InitContext, LayerPrediction, Prediction
from tests.cases import experiment

CHANCE = math.log(10)
#: what is seen where nothing is there to be seen, or too much
BAD = (math.nan, math.inf, -math.inf)


def layer(order: int = 0, *, log10_gradient: float = 0.0, c: float = 0.0) -> LayerSnapshot:
    return LayerSnapshot(
        site=f"layers.{order}.weight", order=order, q=1.0, mean=0.0, c=c, log10_gradient=log10_gradient, grad_norm=1.0,
        weight_norm=1.0, saturated=0.0, off=0.0, effective_rank=10.0,
    )  # fmt: skip


def seen(*, log10_gradient: float = 0.0, kept: float = 1.0, loss: float = CHANCE, c: float = 0.0) -> Snapshot:
    """Two hidden layers on one batch."""
    layers = (layer(0, log10_gradient=log10_gradient), layer(1, c=c))
    return Snapshot(layers=layers, loss=loss, output_q=1.0, output_c=0.0, kept=kept, grad_norm=1.0, examples=64)


def predicted(*, depth: int = 10, gradient_depth: float = math.inf) -> Prediction:
    row = LayerPrediction(
        site="layers.0.weight", order=0, sigma_w2=1.0, sigma_b2=0.0, q=1.0, mean=0.0, c=0.0, log10_gradient=0.0,
        saturated=0.0, chi=1.0,
    )  # fmt: skip
    return Prediction(
        layers=(row,), output_q=1.0, depth=depth, trainable_depth=math.inf, gradient_depth=gradient_depth,
        log_q_sd=0.0, born_dead=0.0, stable=True,
    )  # fmt: skip


def at_risk(total: float) -> Snapshot:
    """A network of this risk."""
    return seen(kept=math.exp(-total))


# ------------------------------------------------------------------ parts
def test_the_gradient_counts_by_its_logarithm_up_and_down() -> None:
    for log10 in (0.0, 0.5, 6 / math.log(10), 20.0):
        up, down = (risk(predicted(), seen(log10_gradient=sign * log10)) for sign in (1, -1))
        assert up == down
        assert up.gradient == pytest.approx(log10 * math.log(10) / 6)
        assert (up.depth, up.information) == (0.0, 0.0)
    assert risk(predicted(), seen(log10_gradient=6 / math.log(10))).gradient == pytest.approx(1)


def test_depth_counts_against_what_theory_allows() -> None:
    parts = risk(predicted(depth=30, gradient_depth=12), seen(log10_gradient=1.0))
    assert parts.depth == 2.5 and parts.gradient == pytest.approx(math.log(10) / 6) and parts.information == 0
    assert risk(predicted(depth=30, gradient_depth=math.inf), seen()).depth == 0
    assert risk(predicted(depth=30, gradient_depth=0.0), seen()).depth == math.inf


def test_where_theory_has_no_depth_the_measured_gradient_stands_in() -> None:
    parts = risk(predicted(depth=500, gradient_depth=math.nan), seen(log10_gradient=-3.0))
    assert parts.depth == parts.gradient == pytest.approx(math.log(10) / 2)


def test_information_is_what_the_alignment_lacks() -> None:
    assert risk(predicted(), seen(kept=math.exp(-2))).information == pytest.approx(2)
    assert risk(predicted(), seen(kept=1.0)).information == 0
    assert risk(predicted(), seen(kept=1.0 + 1e-7)).information == 0, "rounding is no gain"
    assert risk(predicted(), seen(kept=0.0)).information == math.inf
    assert risk(predicted(), seen(kept=math.nan)).total == 0, "tokens have no distances that could be lost"


@given(
    st.tuples(st.floats(-20, 20), st.floats(0, 1), st.integers(1, 100), st.floats(0.01, 1e6)),
    st.floats(0.01, 5),
    st.sampled_from(("gradient", "information", "depth")),
)
def test_more_of_any_part_is_more_risk(start: tuple[float, float, int, float], more: float, part: str) -> None:
    log10, kept, depth, allowed = start
    kept = max(kept, 1e-6)
    before = risk(predicted(depth=depth, gradient_depth=allowed), seen(log10_gradient=log10, kept=kept))
    log10 = math.copysign(abs(log10) + more, log10) if part == "gradient" else log10
    kept = kept * math.exp(-more) if part == "information" else kept
    depth = depth * 2 if part == "depth" else depth
    after = risk(predicted(depth=depth, gradient_depth=allowed), seen(log10_gradient=log10, kept=kept))
    assert after.total > before.total and score_of(after.total) <= score_of(before.total)
    unchanged = {"gradient", "information", "depth"} - {part}
    assert all(getattr(before, name) == getattr(after, name) for name in unchanged)


@pytest.mark.parametrize("bad", BAD)
def test_what_is_not_finite_is_infinite_risk(bad: float) -> None:
    broken = [seen(log10_gradient=bad), seen(loss=bad), seen(log10_gradient=bad, kept=bad, loss=bad)]
    broken += [seen(kept=math.nan, loss=bad), seen(kept=math.inf), seen(kept=-math.inf)]
    for case in broken:
        assert risk(predicted(), case).total == math.inf, case
        outlook = judge(predicted(), case, untrained_loss=math.log(10))
        assert outlook.verdict == "untrainable" and 0 <= outlook.score < 1e-6 and outlook.reasons


@pytest.mark.parametrize("bad", BAD)
def test_a_linear_classifier_whose_loss_is_no_number_does_not_train(bad: float) -> None:
    overflown = Snapshot(
        layers=(), loss=bad, output_q=math.inf, output_c=1.0, kept=math.nan, grad_norm=bad, examples=64
    )
    outlook = judge(predicted(depth=0), overflown, untrained_loss=math.log(10))
    assert outlook.verdict == "untrainable" and "before the first step" in outlook.reasons[0]


# ------------------------------------------------------------------ verdict and reasons
def test_verdicts_change_where_they_should() -> None:
    trains, fails = MIDDLE * (1 / 3) ** (1 / POWER), MIDDLE * 3 ** (1 / POWER)  # scores 3/4 and 1/4
    for total, verdict in (
        (0.0, "trainable"), (trains - 1e-6, "trainable"), (trains + 1e-6, "marginal"), (MIDDLE, "marginal"),
        (fails - 1e-6, "marginal"), (fails + 1e-6, "untrainable"), (40.0, "untrainable"),
    ):  # fmt: skip
        outlook = judge(predicted(), at_risk(total), untrained_loss=math.log(10))
        assert outlook.verdict == verdict, total
        assert outlook.score == pytest.approx(1 / (1 + (total / MIDDLE) ** POWER), abs=1e-9)
    assert score_of(MIDDLE) == 0.5 and score_of(0) == 1 and score_of(math.inf) < 1e-100


def test_a_verdict_is_that_of_the_number_that_is_printed() -> None:
    of_text: dict[str, set[str]] = {}
    for k in range(10_001):
        of_text.setdefault(f"{k / 10_000:.2f}", set()).add(verdict_of_probability(k / 10_000))
    assert all(len(v) == 1 for v in of_text.values())
    assert of_text["0.15"] == {"untrainable"} and of_text["0.16"] == of_text["0.89"] == {"marginal"}
    assert of_text["0.90"] == {"trainable"}


@pytest.mark.parametrize("order", [(4.0, 3.0, 2.0), (2.0, 4.0, 3.0), (3.0, 2.0, 4.0), (2.0, 3.0, 4.0)])
def test_the_gravest_reason_comes_first(order: tuple[float, float, float]) -> None:
    gradient, depth, information = order
    outlook = judge(
        predicted(depth=60, gradient_depth=60 / depth),
        seen(log10_gradient=-gradient * 6 / math.log(10), kept=math.exp(-information), c=0.99),
        untrained_loss=math.log(10),
    )  # fmt: skip
    words = {gradient: "the gradient vanishes", depth: "60 hidden layers", information: "all inputs become alike"}
    expected = [words[weight] for weight in sorted(order, reverse=True)]
    assert len(outlook.reasons) == 3
    assert all(reason.startswith(word) for reason, word in zip(outlook.reasons, expected, strict=True))


def test_reasons_say_which_way_it_goes() -> None:
    def first(of: Snapshot) -> str:
        return judge(predicted(), of, untrained_loss=math.log(10)).reasons[0]

    assert "explodes" in first(seen(log10_gradient=9.0)) and "10^9.0" in first(seen(log10_gradient=9.0))
    assert "vanishes" in first(seen(log10_gradient=-9.0))
    assert "no gradient reaches" in first(seen(log10_gradient=math.nan))
    assert "alike" in first(seen(kept=1e-3, c=0.95)) and "scrambled" in first(seen(kept=1e-3, c=0.2))
    assert first(seen()) == "no vanishing or exploding gradient expected"


def test_a_loud_loss_is_told_and_decides_nothing() -> None:
    limit = LARGE_LOSS_FACTOR * CHANCE
    quiet, loud = (judge(predicted(), seen(loss=limit * f), untrained_loss=math.log(10)) for f in (0.999, 1.001))
    assert quiet.verdict == loud.verdict == "trainable" and quiet.score == loud.score
    assert not any("loss" in reason for reason in quiet.reasons)
    assert loud.reasons == (f"the loss before training is {limit * 1.001:.3g}; guessing gives 2.30",)
    # with more classes the same loss is none
    assert not any(
        "loss" in r for r in judge(predicted(), seen(loss=limit * 1.001), untrained_loss=math.log(100)).reasons
    )


# ------------------------------------------------------------------ real networks
@cache
def forecast(*overrides: str) -> tuple[Prepared, Forecast, float]:
    """Of the network alone, for no optimiser in particular: the score is that of the risk."""
    prepared = prepare(experiment("data=digits", *overrides))
    found = foresee(replace(prepared, context=replace(prepared.context, training=None)))
    return prepared, found, risk(found.prediction, found.seen).total


def test_a_linear_classifier_is_trainable() -> None:
    for init in (("init=he",), ("init=zeros",)):
        _, found, total = forecast("model=linear", *init)
        assert found.outlook.verdict == "trainable" and total == 0
    _, found, _ = forecast("model=linear", "init=normal", "init.std=100")
    assert found.outlook.verdict == "trainable" and "the loss before training" in found.outlook.reasons[0]


def test_depth_of_relu_networks() -> None:
    """He, 2015, section 2.2: at 30 layers Xavier stalls. H1 of the public references has the accuracies."""
    deep = ("model=mlp", "model.depth=30", "model.width=100")
    he, xavier = forecast(*deep, "init=he"), forecast(*deep, "init=xavier")
    small = forecast(*deep, "init=normal", "init.std=0.01")
    assert he[2] < xavier[2] < small[2]
    assert he[1].outlook.score > 0.5
    assert xavier[1].outlook.score < 0.05
    assert small[1].outlook.verdict == xavier[1].outlook.verdict == "untrainable"
    # the same schemes where depth does nothing
    assert all(forecast("model=mlp", f"init={name}")[1].outlook.verdict == "trainable" for name in ("he", "xavier"))


def test_zeros_are_untrainable() -> None:
    for activation in ("relu", "tanh"):
        _, found, total = forecast("model=mlp", "model.depth=3", "init=zeros", f"activation={activation}")
        assert found.outlook.verdict == "untrainable" and total == math.inf, activation
        assert "no gradient reaches the first hidden layer" in found.outlook.reasons[0]


def test_the_phases_of_tanh() -> None:
    """Schoenholz et al., ICLR 2017: at σ_b² = 0.05 the edge of chaos is σ_w² = 1.760955; either side is limited."""
    deep = ("model=mlp", "model.depth=50", "model.width=150", "activation=tanh", "init=mean_field")

    def at(sigma_w2: float) -> tuple[Prepared, Forecast, float]:
        return forecast(*deep, f"init.sigma_w={sigma_w2**0.5}", f"init.sigma_b={0.05**0.5}")

    ordered, critical, chaotic = at(1.0), at(1.760955), at(4.0)
    assert critical[2] < min(ordered[2], chaotic[2]) - 3
    assert [f.outlook.verdict for _, f, _ in (ordered, critical, chaotic)] == [
        "untrainable",
        "trainable",
        "untrainable",
    ]
    assert any("vanishes" in r for r in ordered[1].outlook.reasons)
    assert any("explodes" in r for r in chaotic[1].outlook.reasons)
    assert any("scrambled" in r for r in chaotic[1].outlook.reasons)


def test_overflow_is_untrainable() -> None:
    """The hidden layers are healthy; the head's logits are so large that the loss is not finite."""
    _, found, _ = forecast("model=mlp", "init=by_role", "init.head='normal(std=5e37)'")
    assert found.outlook.verdict == "untrainable" and "the signal explodes" in found.outlook.reasons[0]


# ------------------------------------------------------------------ what is looked at
def kernel_alignment(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Kornblith et al., ICML 2019, equations 2 and 3, with the centring matrix H = 1 - 11ᵀ/n written out."""
    n = len(x)
    h = np.eye(n) - np.ones((n, n)) / n

    def hsic(k: NDArray[np.float64], m: NDArray[np.float64]) -> float:
        return float(np.trace(k @ h @ m @ h)) / (n - 1) ** 2

    k, m = (z.reshape(n, -1) @ z.reshape(n, -1).T for z in (x, y))
    return hsic(k, m) / math.sqrt(hsic(k, k) * hsic(m, m))


def representations() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    x = torch.empty(24, 3, 4, 5).normal_(generator=generator) + 0.7
    w = torch.empty(60, 9).normal_(generator=generator)
    return x, torch.tanh(x.flatten(1) @ w / 8 + 0.3)


def test_alignment_is_that_of_the_paper() -> None:
    x, y = representations()
    found = float(alignment(x, y))
    assert found == pytest.approx(kernel_alignment(x.double().numpy(), y.double().numpy()), rel=1e-5)
    assert 0.1 < found < 0.99
    assert float(alignment(y, x)) == pytest.approx(found, rel=1e-6)
    assert float(alignment(x, x)) == pytest.approx(1, abs=1e-6)


def test_alignment_sees_neither_scale_nor_rotation_nor_shift() -> None:
    x, y = representations()
    q, _ = torch.linalg.qr(torch.empty(9, 9).normal_(generator=torch.Generator().manual_seed(4)))
    found = float(alignment(x, y))
    for other in (1e-12 * y, 1e12 * y, y @ q, y + 5.0, y[:, torch.randperm(9)], -y):
        assert float(alignment(x, other)) == pytest.approx(found, rel=1e-4)
    assert float(alignment(1e-9 * x - 3e-9, y)) == pytest.approx(found, rel=1e-4)
    stretched = y * torch.logspace(-2, 2, 9)
    assert float(alignment(x, stretched)) != pytest.approx(found, rel=1e-2), (
        "unlike CCA it sees which direction is large"
    )


def test_nothing_aligns_with_a_constant() -> None:
    x, y = representations()
    assert float(alignment(x, torch.zeros(24, 7))) == 0
    assert float(alignment(x, torch.full((24, 7), 2.0))) == 0
    assert float(alignment(torch.ones_like(x), y)) == 0


def test_what_is_kept_is_the_alignment_of_the_last_hidden_layer() -> None:
    prepared, found, _ = forecast("model=mlp", "model.depth=4", "model.width=50", "activation=tanh")
    assert prepared.context.batches is not None
    inputs = prepared.context.batches(0).inputs
    sent: list[Tensor] = []
    handle = prepared.model.get_submodule("activations.3").register_forward_hook(lambda _m, _i, o: sent.append(o))
    prepared.model(inputs)
    handle.remove()
    slow = kernel_alignment(inputs.double().numpy(), sent[0].detach().double().numpy())
    assert found.seen.kept == pytest.approx(slow, rel=1e-5)


def test_a_look_leaves_everything_as_it_was() -> None:
    model = nn.Sequential(
        nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)
    )
    x = torch.empty(16, 6).normal_(generator=torch.Generator().manual_seed(0))
    described = describe(model, x[:2])
    batch = Batch(inputs=x, targets=torch.arange(16) % 3, loss=nn.functional.cross_entropy)
    context = InitContext(activation=activations.relu(), batches=lambda _i: batch)
    inits.apply(model, described, inits.he(), context=context, seed=0)
    for i, module in enumerate(model.modules()):
        module.training = i % 2 == 1
    modes = [m.training for m in model.modules()]
    first = next(model.parameters())
    gradient = first.grad = torch.full_like(first, 7.0)
    state = {k: v.clone() for k, v in model.state_dict().items()}
    torch.manual_seed(11)
    generator = torch.get_rng_state()
    with torch.no_grad():  # gradients are measured wherever it is called
        found = snapshot(model, described, batch, context)
    assert len(found.layers) == 2 and all(math.isfinite(row.log10_gradient) for row in found.layers)
    assert torch.equal(generator, torch.get_rng_state())
    assert [m.training for m in model.modules()] == modes
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
    assert first.grad is gradient and bool((gradient == 7).all())
    assert all(p.grad is None for p in list(model.parameters())[1:])
    assert not any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in model.modules())
