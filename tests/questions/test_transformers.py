"""What people ask about transformers, asked of `inspect`, `initialize` and `describe`; each test names its source."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import initlab
from initlab.probes import AttentionLayers
from tests.questions.networks import LanguageModel, encoder, redraw, tokens


def test_my_language_model_does_not_train_the_embedding_is_n01() -> None:
    """pytorch#3121."""
    torch.manual_seed(0)
    found = initlab.inspect(LanguageModel(tied=True), tokens())
    assert found.seen.loss > 7 * math.log(65)
    assert any("the loss before training is" in r and "guessing gives 4.17" in r for r in found.reasons)
    assert any("embedding and head at once" in n and "0.02" in n and "0.088" in n for n in found.notes)
    for name in ("gpt2", "normal(std=0.02)"):  # std 0.02 cures it
        model = LanguageModel(tied=True)
        initlab.initialize(model, name, example=tokens()[0])
        assert abs(initlab.inspect(model, tokens()).seen.loss - math.log(65)) < 0.2
    untied = initlab.inspect(LanguageModel(tied=False), tokens())  # and so does a head of its own
    assert abs(untied.seen.loss - math.log(65)) < 0.5 and not any("head at once" in n for n in untied.notes)


def test_are_all_my_encoder_layers_equal() -> None:
    """pytorch#86274, #72253, #120396."""
    torch.manual_seed(0)
    model, x = encoder(6), torch.randn(8, 12, 64)
    notes = initlab.inspect(model, x).notes
    assert sum("hold the same numbers" in n and "initialise them anew" in n for n in notes) == 4
    initlab.initialize(model, "xavier", example=x)
    assert not any("hold the same numbers" in n for n in initlab.inspect(model, x).notes)


def test_twelve_layers_and_more_are_unstable() -> None:
    """pytorch#55270: post-norm, xavier_uniform."""
    torch.manual_seed(1)
    model, x = encoder(16), torch.randn(16, 24, 64)
    redraw(model, nn.init.xavier_uniform_)
    found = initlab.inspect(model, x)
    assert found.verdict in ("marginal", "untrainable")
    assert "rank collapse" in found.reasons[0]
    before = encoder(16, norm_first=True)
    redraw(before, nn.init.xavier_uniform_)
    assert not any("rank collapse" in r for r in initlab.inspect(before, x).reasons)
    for name in ("deepnorm", "normal(std=0.02)"):
        initlab.initialize(model, name, example=x)
        assert not any("rank collapse" in r for r in initlab.inspect(model, x).reasons), name


@pytest.mark.parametrize("norm_first", [False, True])
def test_the_same_in_a_loop_of_ones_own(norm_first: bool) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(encoder(16, width=32, norm_first=norm_first), nn.Linear(32, 5))
    redraw(model, nn.init.xavier_uniform_)
    step = torch.optim.Adam(model.parameters(), lr=1e-3)
    with initlab.watch(model, step, classes=5, track=False) as seen:
        for _ in range(12):
            loss = F.cross_entropy(model(torch.randn(4, 16, 32)).flatten(0, 1), torch.randint(5, (64,)))
            step.zero_grad()
            loss.backward()
            step.step()
            seen.log(loss=loss)
    names = [f.name for f in seen.findings]
    assert ("rank_collapse" in names) != norm_first
    assert ("rank collapse" in seen.reasons[0]) != norm_first
    assert {r.step for r in seen.profile.rows if r.statistic == "token_cosine"} == {0, 12}


def test_why_one_over_root_n_if_the_layers_normalise() -> None:
    """karpathy/minGPT#134: norms take the branches' inputs to scale 1; the stream itself grows."""
    sizes: dict[str, list[float]] = {}
    for name in ("llama(std=0.125)", "gpt2(std=0.125)"):  # 1/√64, with and without 1/√(2L)
        for depth in (4, 16):
            model = encoder(depth, norm_first=True)
            x = torch.randn(8, 16, 64, generator=torch.Generator().manual_seed(2))
            initlab.initialize(model, name, example=x)
            rows = AttentionLayers(model, x).rows(0)
            sizes.setdefault(name, []).append([r.value for r in rows if r.statistic == "stream_rms" and r.site][-1])
    plain, scaled = sizes["llama(std=0.125)"], sizes["gpt2(std=0.125)"]
    assert (plain[1] ** 2 - 1) / (plain[0] ** 2 - 1) == pytest.approx(4, rel=0.25)  # ∝ the number of blocks
    assert (scaled[1] ** 2 - 1) / (scaled[0] ** 2 - 1) == pytest.approx(1, rel=0.35)


class _Normed(nn.Module):
    """A head of 256 with normalised queries and keys."""

    def __init__(self, scale: float, width: int = 256) -> None:
        super().__init__()
        self.scale = scale
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x)[:, None].chunk(3, dim=-1)
        q, k = F.rms_norm(q, q.shape[-1:]), F.rms_norm(k, k.shape[-1:])
        return x + self.out(F.scaled_dot_product_attention(q, k, v, scale=self.scale)[:, 0])


def test_gradients_explode_with_qk_norm_and_scale_1() -> None:
    """transformers#45676: logits of deviation scale·√d = 16 over 128 keys."""
    torch.manual_seed(3)
    x = torch.randn(8, 128, 256)

    def look(scale: float) -> tuple[Any, dict[str, float]]:
        torch.manual_seed(4)
        model = nn.Sequential(_Normed(scale), nn.Linear(256, 4))
        rows = AttentionLayers(model, x).rows(0)
        return initlab.inspect(model, x), {r.statistic: r.value for r in rows if r.position == 0}

    found, head = look(1.0)
    assert head["logit_std"] == pytest.approx(16, rel=0.05)
    assert head["entropy"] * 7 == pytest.approx(0.43, abs=0.05)  # of 7 bits
    assert "attention is saturated" in found.reasons[0] and found.verdict != "trainable"
    found, head = look(1 / 16)
    assert head["logit_std"] == pytest.approx(1, rel=0.05) and head["entropy"] > 0.85
    assert not any("saturated" in r for r in found.reasons)


def test_is_trunc_normal_of_002_wrong() -> None:
    """timm#1286: bounds of ±2 cut nothing; a cut at two deviations without a factor leaves 0.0176."""
    layer, x = nn.Linear(1000, 1000), torch.randn(2, 1000)
    nn.init.trunc_normal_(layer.weight, std=0.02)
    assert float(layer.weight.detach().std()) == pytest.approx(0.02, rel=0.01)
    initlab.initialize(layer, "truncated_normal(std=0.02)", example=x)  # its deviation is what is said
    assert float(layer.weight.detach().std()) == pytest.approx(0.02, rel=0.01)
    assert float(layer.weight.detach().abs().max()) < 2.3 * 0.02
    initlab.initialize(layer, "bert", example=x)
    assert float(layer.weight.detach().std()) == pytest.approx(0.0176, rel=0.01)
