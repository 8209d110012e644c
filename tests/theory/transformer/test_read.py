"""Streams read from networks of this project and of others: places of norms, gains of the actual weights, settings."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from initlab import activations
from initlab.models import gpt, vit
from initlab.spec import IO
from initlab.theory.transformer import Attention, Perceptron, Stream
from initlab.theory.transformer.forecast import StreamSurvey, survey_stream

TEXT = IO(input_shape=(24,), classes=65, vocabulary=65, per_step=True)
TOKENS = torch.randint(65, (3, 24), generator=torch.Generator().manual_seed(0))


def survey(model: nn.Module, x: Any) -> StreamSurvey:
    found = survey_stream(model, x)
    assert found is not None
    return found


def parts(stream: Stream) -> tuple[Attention, Perceptron]:
    first, second = stream.branches[0].inner, stream.branches[1].inner
    assert isinstance(first, Attention)
    assert isinstance(second, Perceptron)
    return first, second


def gain(weight: Tensor) -> float:
    """s² = fan_in · E[W²] of a matrix (out, in)."""
    return float(weight.shape[1] * weight.detach().double().square().mean())


@pytest.mark.parametrize("norm_at", ["pre", "post", "peri"])
@pytest.mark.parametrize("norm", ["layer", "rms", "dyt", "derf"])
def test_our_decoder(norm: str, norm_at: str) -> None:
    model = gpt(depth=3, width=48, heads=3, norm=norm, norm_at=norm_at, tied=False, branch_scale="convex")(  # pyright: ignore[reportArgumentType]
        TEXT, activations.tanh()
    )
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "ln_" in name and name.endswith("weight"):
                p.fill_(1.5)
    found = survey(model, TOKENS)
    stream = found.stream
    assert stream.unknown == ()
    assert (len(stream.branches), stream.blocks, stream.width) == (6, (2, 4, 6), 48)
    for branch in stream.branches:
        kinds = (branch.before.kind, branch.end.kind, branch.after.kind)
        assert (
            kinds
            == {"pre": (norm, "none", "none"), "post": ("none", "none", norm), "peri": (norm, norm, "none")}[norm_at]
        )
        normed = branch.after if norm_at == "post" else branch.before
        assert normed.gain2 == pytest.approx(2.25, rel=1e-4)
        assert (branch.kept2, branch.factor2) == (pytest.approx(2 / 3), pytest.approx(1 / 3))
        if norm in ("dyt", "derf"):
            assert normed.alpha == 0.5
    attention, perceptron = parts(stream)
    block = model.get_submodule("transformer.h.0")
    qkv = block.get_parameter("attn.c_attn.weight").chunk(3)
    assert [attention.q2, attention.k2, attention.v2] == pytest.approx([gain(w) for w in qkv])
    assert attention.o2 == pytest.approx(gain(block.get_parameter("attn.c_proj.weight")))
    assert perceptron.in2 == pytest.approx(gain(block.get_parameter("mlp.c_fc.weight")))
    assert perceptron.out2 == pytest.approx(gain(block.get_parameter("mlp.c_proj.weight")))
    assert (attention.heads, attention.head, attention.causal, attention.scale) == (3, 16, True, pytest.approx(0.25))
    assert perceptron.activation.name == "tanh"
    assert found.from_tokens


def test_settings_of_attention() -> None:
    model = gpt(
        depth=1, width=32, heads=2, qk_norm=True, norm="rms", softcap=20.0, positions="rope", attention_scale=0.3
    )(TEXT, activations.swiglu())
    attention, perceptron = parts(survey(model, TOKENS).stream)
    assert (attention.softcap, attention.qk_norm) == (pytest.approx(20.0, rel=1e-5), "rms")
    assert attention.rope is not None
    assert attention.scale == pytest.approx(0.3, rel=1e-5)
    assert perceptron.activation.gate is not None
    # a norm of queries leaves the logits' variance to the scale alone
    assert attention.logit_variance == pytest.approx(16 * 0.09, rel=1e-4)


def test_our_encoder_sees_all_patches() -> None:
    model = vit(depth=2, width=32, heads=2, patch=7)(IO(input_shape=(1, 28, 28), classes=10), activations.relu())
    found = survey(model, torch.rand(3, 1, 28, 28))
    attention, _ = parts(found.stream)
    assert not attention.causal
    assert attention.value_bias2 > 0
    assert found.start.shape == (3, 17, 17)
    assert not found.from_tokens


def test_start_of_tokens_is_predicted() -> None:
    model = gpt(depth=1, width=2048, heads=2, tied=False)(TEXT, activations.relu())
    start = survey(model, TOKENS).start
    with torch.no_grad():
        parts_ = model.get_submodule("transformer")
        x = parts_.get_parameter("wte.weight")[TOKENS] + parts_.get_parameter("wpe.weight")[:24]
    assert float((start - (x @ x.mT / 2048).double()).abs().max()) < 0.2
    assert float(start.mean()) == pytest.approx(float((x @ x.mT).mean() / 2048), rel=0.1)


def test_networks_of_others() -> None:
    transformers = pytest.importorskip("transformers")
    tokens = {"vocab_size": 65}
    llama = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            num_hidden_layers=2,
            hidden_size=32,
            num_attention_heads=4,
            num_key_value_heads=2,
            intermediate_size=48,
            **tokens,
        )
    )
    attention, perceptron = parts(survey(llama, TOKENS).stream)
    layer = llama.model.layers[0]
    assert attention.k2 == pytest.approx(gain(layer.self_attn.k_proj.weight))
    assert (attention.heads, attention.head, attention.causal) == (4, 8, True)
    assert attention.rope is not None
    assert perceptron.gate2 == pytest.approx(gain(layer.mlp.gate_proj.weight))
    assert perceptron.in2 == pytest.approx(gain(layer.mlp.up_proj.weight))
    gpt2 = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            n_layer=2, n_embd=32, n_head=4, n_positions=32, bos_token_id=0, eos_token_id=0, **tokens
        )
    )
    attention, perceptron = parts(survey(gpt2, TOKENS).stream)
    fused = gpt2.transformer.h[0].attn.c_attn.weight.T.chunk(3)  # (in, out)
    assert [attention.q2, attention.k2, attention.v2] == pytest.approx([gain(w) for w in fused])
    bert = transformers.BertModel(
        transformers.BertConfig(
            num_hidden_layers=2, hidden_size=32, num_attention_heads=4, intermediate_size=48, **tokens
        )
    )
    stream = survey(bert, TOKENS).stream
    assert [b.after.kind for b in stream.branches] == ["layer"] * 4
    assert not parts(stream)[0].causal


@pytest.mark.parametrize("first", [True, False])
def test_torch_encoder(first: bool) -> None:
    layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, norm_first=first)
    model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    stream = survey(model, torch.randn(3, 12, 32)).stream
    attention, perceptron = parts(stream)
    own = model.layers[0].self_attn
    assert attention.q2 == pytest.approx(gain(own.in_proj_weight[:32]))
    assert attention.scale == pytest.approx(8**-0.5)
    assert perceptron.in2 == pytest.approx(gain(model.layers[0].linear1.weight))
    assert {(b.before.kind, b.after.kind) for b in stream.branches} == {
        ("layer", "none") if first else ("none", "layer")
    }
    assert stream.unknown == ()


class WrittenOut(nn.Module):
    """One block whose attention is written out, with queries that are scaled before the product."""

    def __init__(self, window: int = 0) -> None:
        super().__init__()
        self.window = window
        self.norm, self.norm2 = nn.LayerNorm(32), nn.LayerNorm(32)
        self.q, self.k, self.v, self.o = (nn.Linear(32, 32, bias=False) for _ in range(4))
        self.up, self.down = nn.Linear(32, 64), nn.Linear(64, 32)

    def forward(self, x: Tensor) -> Tensor:
        b, t, _ = x.shape
        h = self.norm(x)
        q, k, v = (m(h).view(b, t, 4, 8).transpose(1, 2) for m in (self.q, self.k, self.v))
        logits = (q * 0.2) @ k.transpose(-2, -1)
        if self.window:
            place = torch.arange(t)
            far = (place[:, None] - place[None]).abs() > self.window
            logits = logits.masked_fill(far, -math.inf)
        x = x + self.o((logits.softmax(-1) @ v).transpose(1, 2).reshape(b, t, 32))
        return x + self.down(torch.relu(self.up(self.norm2(x))))


def test_attention_that_is_written_out() -> None:
    model = nn.Sequential(WrittenOut(), WrittenOut())
    stream = survey(model, torch.randn(3, 12, 32)).stream
    attention, _ = parts(stream)
    assert attention.scale == pytest.approx(0.2)
    assert attention.v2 == pytest.approx(gain(model[0].v.weight))  # pyright: ignore[reportArgumentType]
    assert stream.unknown == ()


def test_what_is_not_understood_is_named() -> None:
    stream = survey(nn.Sequential(WrittenOut(window=2)), torch.randn(3, 12, 32)).stream
    assert any("mask" in u for u in stream.unknown)
    model = gpt(depth=1, width=32, heads=2)(TEXT, activations.maxout())
    assert any("maxout" in u for u in survey(model, TOKENS).stream.unknown)


def test_matrices_that_are_not_independent() -> None:
    model = WrittenOut()
    with torch.no_grad():
        model.k.weight.copy_(model.q.weight + 0.05 * torch.randn(32, 32))
        model.o.weight.copy_(-model.v.weight.T)
    unknown = survey(nn.Sequential(model), torch.randn(3, 12, 32)).stream.unknown
    assert any("queries and keys" in u for u in unknown)
    assert any("values and output" in u for u in unknown)


class Sloped(nn.Module):
    """Attention whose logits fall with the distance, as ALiBi's do."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.o = nn.Linear(32, 96), nn.Linear(32, 32)

    def forward(self, x: Tensor) -> Tensor:
        b, t, _ = x.shape
        q, k, v = (h.view(b, t, 4, 8).transpose(1, 2) for h in self.qkv(x).chunk(3, -1))
        place = torch.arange(t).float()
        slopes = -(place[:, None] - place[None]).abs()
        y = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=slopes)
        return x + self.o(y.transpose(1, 2).reshape(b, t, 32))


def test_biases_of_logits() -> None:
    unknown = survey(nn.Sequential(Sloped()), torch.randn(3, 12, 32)).stream.unknown
    assert any("bias" in u for u in unknown)


def test_networks_without_attention() -> None:
    assert survey_stream(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.randn(3, 4)) is None
