"""Forecasts against networks that are drawn and measured here, with seeds that nothing was tuned on."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.transformer_grid import build, draw, grid, inputs
from benchmarks.transformer_theory import auc, figures, one
from initlab.probes import StreamComparison, compare_stream, look_at_stream
from initlab.theory.transformer.forecast import forecast_of, survey_stream
from initlab.theory.transformer.prevention import branch_limit

PLAIN: dict[str, Any] = {
    "number": 0, "seed": 5, "depth": 8, "width": 128, "heads": 4, "norm": "layer", "norm_at": "post", "causal": True,
    "tokens": 32, "activation": "relu", "branch_scale": "one", "qk_norm": False, "softcap": None, "positions": "none",
    "logit_gain": 0.5, "value_gain": 1.0, "out_gain": 1.0, "in_gain": 1.4, "end_gain": 1.0, "embedding": 1.0,
}  # fmt: skip


def network(**changes: Any) -> tuple[nn.Module, torch.Tensor]:
    cell = PLAIN | changes
    model, x = build(cell), inputs(cell, 4)
    draw(model, cell, 0)
    return model, x


def compared(**changes: Any) -> StreamComparison:
    model, x = network(**changes)
    found = compare_stream(model, x, loss=lambda out: F.cross_entropy(out.flatten(0, -2), x.flatten() % out.shape[-1]))
    assert found is not None
    return found


def test_random_networks() -> None:
    """The fast part of benchmarks/transformer_theory.py: what it claims holds in nine blocks of ten."""
    cells = [c for c in grid(40, 123) if c["depth"] <= 8 and c["width"] <= 128][:8]
    rows = [one(c) for c in cells]
    found = figures(rows)
    assert found["claimed"] > 0.6
    assert found["signal"] >= 0.9
    assert found["gradient"] >= 0.9
    assert found["cosine_90"] < 0.08


def test_auc() -> None:
    assert auc([(0.1, False), (0.4, True), (0.35, False)]) == 1.0
    assert auc([(0.4, False), (0.1, True)]) == 0.0
    assert math.isnan(auc([(0.4, False)]))


def test_rank_collapse_is_said_and_prevented() -> None:
    """What is said to prevent collapse does, on the network it is said of: measured, with another draw."""
    found = compared(depth=12)
    assert any(s.startswith("rank collapse predicted") for s in found.sentences)
    assert found.look.cosine[-1] > 0.93
    model, x = network(depth=12)
    read = survey_stream(model, x)
    assert read is not None
    limit = branch_limit(read.stream, read.start)
    assert limit is not None
    assert any(f"every branch times {limit:.2g} or less" in s for s in found.sentences)
    for factor, collapsed in ((0.8 * limit, False), (1.3 * limit, True)):
        changed = compared(depth=12, branch_scale=factor, number=1)
        assert (changed.look.cosine[-1] > 0.95) == collapsed
        assert any("rank collapse" in s for s in changed.sentences) == collapsed


def test_saturated_attention_is_said() -> None:
    found = compared(depth=3, logit_gain=60.0)
    assert any("attention is saturated" in s for s in found.sentences)
    assert found.look.entropy_ratio[0] < 0.1
    assert any("gradient through saturated attention" in u for u in found.unknown)
    # the gradient is not claimed, the stream is
    row = found.rows()[1]
    assert math.isnan(row["predicted_gradient"])
    assert row["predicted_entropy_ratio"] == pytest.approx(row["measured_entropy_ratio"], abs=0.05)
    assert not any("saturated" in s for s in compared(depth=3, logit_gain=1.0).sentences)


def test_full_post_norm_names_its_exponent() -> None:
    model, x = network(causal=False, depth=10, activation="relu", value_gain=1.2)
    found = compare_stream(model, x)
    assert found is not None
    assert any("no residual strength prevents collapse at any depth" in s for s in found.sentences)


def test_gradient_along_the_tokens() -> None:
    """The squared output of a last norm has no gradient: theory neglects that part and says so."""
    model, x = network(depth=2)
    h = nn.Sequential(model.get_submodule("transformer.wte"), *model.get_submodule("transformer.h").children())
    found = compare_stream(h, x, loss=lambda out: out.square().mean())
    assert found is not None
    assert any("along the tokens" in u for u in found.unknown)


def test_streams_that_leave_the_range() -> None:
    model, x = network(norm="none", norm_at="pre", depth=20, activation="squared_relu", in_gain=4.0)
    read = survey_stream(model, x)
    assert read is not None
    said = forecast_of(read)
    assert any("range of floating point" in u for u in said.unknown)
    assert not said.blocks[-1].claimed


def test_measurement_changes_nothing() -> None:
    model, x = network(depth=2)
    model.train()
    before = {n: p.clone() for n, p in model.named_parameters()}
    state = torch.random.get_rng_state()
    assert look_at_stream(model, x) is not None
    assert compare_stream(model, x) is not None
    assert torch.equal(state, torch.random.get_rng_state())
    assert model.training
    assert all(torch.equal(p, before[n]) and p.grad is None for n, p in model.named_parameters())


def test_measured_gradient_is_autograds() -> None:
    model, x = network(depth=3)
    look = look_at_stream(model, x, loss=lambda out: out.square().sum())
    assert look is not None
    kept: list[torch.Tensor] = []

    def keep(_module: nn.Module, _args: object, output: torch.Tensor) -> None:
        output.retain_grad()
        kept.append(output)

    handles = [b.register_forward_hook(keep) for b in model.get_submodule("transformer.h").children()]
    model.eval()(x).square().sum().backward()
    for handle in handles:
        handle.remove()
    grads = [k.grad for k in kept]
    assert grads[0] is not None
    assert grads[-1] is not None
    assert look.gradient[1] == pytest.approx(float(grads[0].square().sum() / grads[-1].square().sum()), rel=1e-4)
    assert look.mean_square[3] == pytest.approx(float(kept[-1].detach().square().mean()), rel=1e-5)
