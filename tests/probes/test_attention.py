"""Probes of transformers against attention's own weights, loops over tokens and exact singular values."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from initlab import activations
from initlab.models.transformer.attention import Attention
from initlab.models.transformer.gpt import gpt
from initlab.network.attention import watch_attention
from initlab.probes.attention import AttentionLayers, measure_heads, measure_tokens
from initlab.probes.spectral import spectral_norm
from initlab.spec import IO

TEXT = IO(input_shape=(24,), classes=19, vocabulary=19, per_step=True)
B, T, D, H = 3, 24, 32, 4


def seen_in(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    with torch.no_grad(), watch_attention(model.eval(), B, found.__setitem__):
        model(x)
    return found


def entropies(weights: Tensor) -> Tensor:
    """Entropy of (B, H, T, S) over ln of the keys seen, by head, in a loop."""
    found = torch.zeros(weights.shape[1])
    for head in range(weights.shape[1]):
        shares = []
        for row in weights[:, head].flatten(0, 1):
            kept = row[row > 0].double()
            if len(kept) >= 8:
                shares.append(float(-(kept * kept.log()).sum()) / math.log(len(kept)))
        found[head] = sum(shares) / len(shares)
    return found


@pytest.mark.parametrize(
    "options",
    [{}, {"positions": "rope"}, {"qk_norm": True}, {"softcap": 1.5}, {"attention_scale": "linear"}, {"norm": "none"}],
    ids=str,
)
def test_the_logits_of_our_models_are_those_of_the_explicit_attention(options: dict[str, object]) -> None:
    torch.manual_seed(1)
    model = gpt(depth=2, width=D, heads=H, **options)(TEXT, activations.gelu())  # type: ignore[arg-type]
    x = torch.randint(0, 19, (B, T))
    explicit: dict[str, Tensor] = {}
    found = seen_in(model, x)
    for name, module in model.named_modules():
        if isinstance(module, Attention):
            module.watcher = lambda logits, _, name=name: explicit.__setitem__(name, logits)
    with torch.no_grad():
        model.eval()(x)
    assert list(found) == list(explicit) == ["transformer.h.0.attn", "transformer.h.1.attn"]
    for name, logits in explicit.items():
        torch.testing.assert_close(found[name], logits, rtol=1e-5, atol=1e-5)


def mha(*, batch_first: bool, need_weights: bool) -> nn.Module:
    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.MultiheadAttention(D, H, batch_first=batch_first)
            self.weights: Tensor | None = None

        def forward(self, x: Tensor) -> Tensor:
            y, weights = self.inner(x, x, x, need_weights=need_weights, average_attn_weights=False)
            self.weights = weights
            return x + y

    return Layer()


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("need_weights", [True, False])
def test_torchs_own_attention(batch_first: bool, need_weights: bool) -> None:
    torch.manual_seed(2)
    model = mha(batch_first=batch_first, need_weights=need_weights)
    x = torch.randn(B, T, D) if batch_first else torch.randn(T, B, D)
    (logits,) = seen_in(model, x).values()
    with torch.no_grad():
        inner = model.inner
        assert isinstance(inner, nn.MultiheadAttention)
        _, weights = inner(x, x, x, need_weights=True, average_attn_weights=False)
    torch.testing.assert_close(logits.softmax(-1), weights, rtol=1e-4, atol=1e-5)


def test_a_whole_encoder_with_the_fast_path() -> None:
    torch.manual_seed(3)
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(D, H, batch_first=True), 3)
    rows = AttentionLayers(encoder, torch.randn(B, T, D)).rows(0)
    blocks = {r.site: r.value for r in rows if r.statistic == "stream_rms"}
    assert list(blocks) == ["layers.0", "layers.1", "layers.2"]
    assert list(blocks.values()) == pytest.approx([1, 1, 1], abs=1e-3)  # a norm is the end of each
    assert sum(r.statistic == "entropy" for r in rows) == 3 * H
    assert torch.backends.mha.get_fastpath_enabled()


def _gpt2(implementation: str) -> nn.Module:
    found = pytest.importorskip("transformers")
    config = found.GPT2Config(
        n_layer=2, n_head=H, n_embd=D, n_positions=T, vocab_size=19, attn_implementation=implementation,
        bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    return found.GPT2LMHeadModel(config)


def _llama(implementation: str) -> nn.Module:
    found = pytest.importorskip("transformers")
    config = found.LlamaConfig(
        num_hidden_layers=2, num_attention_heads=H, num_key_value_heads=2, hidden_size=D, intermediate_size=48,
        vocab_size=19, attn_implementation=implementation,
    )  # fmt: skip
    return found.LlamaForCausalLM(config)


@pytest.mark.parametrize("make", [_gpt2, _llama], ids=["gpt2", "llama, grouped queries"])
def test_two_implementations_of_a_network_have_the_same_readings(make: Callable[[str], nn.Module]) -> None:
    torch.manual_seed(4)
    fused, eager = make("sdpa"), make("eager")
    eager.load_state_dict(fused.state_dict())
    x = torch.randint(0, 19, (B, T))
    first, second = AttentionLayers(fused, x).rows(7), AttentionLayers(eager, x).rows(7)
    assert first and [(r.site, r.statistic, r.position) for r in first] == [
        (r.site, r.statistic, r.position) for r in second
    ]
    assert [r.value for r in first] == pytest.approx([r.value for r in second], rel=1e-3, abs=1e-5)


def test_a_vision_transformer_of_timm() -> None:
    timm = pytest.importorskip("timm")
    model = timm.create_model("vit_tiny_patch16_224", pretrained=False, depth=2, img_size=64)
    rows = AttentionLayers(model, torch.randn(2, 3, 64, 64)).rows(0)
    assert [r.site for r in rows if r.statistic == "token_cosine"] == ["blocks.0", "blocks.1", ""]


def test_heads_that_look_everywhere_and_at_one_key() -> None:
    logits = torch.zeros(2, 3, T, T).masked_fill(torch.ones(T, T, dtype=torch.bool).triu(1), -math.inf)
    logits[:, 1, :, 0] = 1e4
    logits[:, 2] += torch.finfo(torch.float32).min * torch.ones(T, T).triu(1)  # a mask that is added
    std, largest, entropy = measure_heads(logits)
    assert entropy.tolist() == pytest.approx([1, 0, 1], abs=1e-6)
    assert largest.tolist() == [0, 1e4, 0]
    assert std[0] == 0 and std[1] > 1e3 and std[2] == 0


def test_entropy_and_std_against_loops() -> None:
    torch.manual_seed(5)
    logits = 2 * torch.randn(B, H, T, T).masked_fill(torch.ones(T, T, dtype=torch.bool).triu(1), -math.inf)
    std, largest, entropy = measure_heads(logits)
    torch.testing.assert_close(entropy, entropies(logits.softmax(-1)), rtol=1e-5, atol=1e-6)
    assert largest.tolist() == [float(logits[:, h].max()) for h in range(H)]
    spread = [
        [float(logits[b, h, t, : t + 1].std(correction=0)) for b in range(B) for t in range(1, T)] for h in range(H)
    ]
    assert std.tolist() == pytest.approx([sum(s) / len(s) for s in spread], rel=1e-5)


def test_cosines_and_rank_against_loops() -> None:
    torch.manual_seed(6)
    x = torch.randn(B, 11, D) + 0.7 * torch.randn(B, 1, D)
    cosine, rank = measure_tokens(x)
    pairs = [
        float(torch.cosine_similarity(x[b, i].double(), x[b, j].double(), dim=0))
        for b in range(B) for i in range(11) for j in range(11) if i != j
    ]  # fmt: skip
    assert float(cosine) == pytest.approx(sum(pairs) / len(pairs), abs=1e-9)
    shares = [s / s.sum() for s in torch.linalg.svdvals(x.double())]
    assert float(rank) == pytest.approx(sum(math.exp(-float((p * p.log()).sum())) for p in shares) / B / 11, rel=1e-6)


def test_a_stream_of_equal_tokens() -> None:
    cosine, rank = measure_tokens(torch.randn(B, 1, D).expand(B, 9, D))
    assert float(cosine) == pytest.approx(1) and float(rank) == pytest.approx(1 / 9, rel=1e-3)


def test_networks_without_attention_are_left_alone() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(T * D, T), nn.Softmax(dim=-1))
    probe = AttentionLayers(model, torch.randn(B, T, D))
    assert not probe.finds_attention() and probe.rows(0) == ()


@pytest.mark.parametrize("shape", [(128, 128), (384, 128), (64, 256), (8, 3, 5, 5), (7, 1)])
def test_spectral_norm(shape: tuple[int, ...]) -> None:
    torch.manual_seed(7)
    for scale in (1.0, 1e-25, 1e12):
        w = torch.randn(shape) * scale
        flat = w.flatten(1).double()
        exact = float(torch.linalg.matrix_norm(flat, 2)) * math.sqrt(flat.shape[1] / flat.shape[0])
        assert exact * 0.95 <= float(spectral_norm(w)) <= exact * (1 + 1e-5)
    assert float(spectral_norm(torch.zeros(shape))) == 0
