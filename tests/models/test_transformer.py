"""Decoder and encoder against the networks whose names they share, and against their own formulas."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from initlab import activations
from initlab.errors import ConfigError
from initlab.models import gpt, vit
from initlab.models.transformer import DEFAULT_ACTIVATIONS, GPT
from initlab.models.transformer.attention import Attention, turned
from initlab.models.transformer.norms import DynamicErf, DynamicTanh
from initlab.spec import IO

TEXT = IO(input_shape=(16,), classes=11, vocabulary=11, per_step=True)
IMAGE = IO(input_shape=(3, 12, 12), classes=5)
GELU = activations.parse_activation("gelu")
TOKENS = torch.randint(11, (3, 16), generator=torch.Generator().manual_seed(0))
PIXELS = torch.randn(4, 3, 12, 12, generator=torch.Generator().manual_seed(0))


def decoder(activation: str = "gelu", **options: Any) -> nn.Module:
    torch.manual_seed(0)
    return gpt(**{"depth": 2, "width": 32, "heads": 4, **options})(
        TEXT, activations.parse_activation(activation)
    ).eval()


def encoder(activation: str = "gelu", **options: Any) -> nn.Module:
    torch.manual_seed(0)
    return vit(**{"depth": 2, "width": 32, "heads": 4, **options})(
        IMAGE, activations.parse_activation(activation)
    ).eval()


def test_the_usual_activation_is_taken() -> None:
    assert DEFAULT_ACTIVATIONS == {"gpt": "gelu", "vit": "gelu"}


def test_decoder_is_gpt2() -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    theirs = GPT2LMHeadModel(
        GPT2Config(vocab_size=11, n_positions=16, n_embd=32, n_layer=2, n_head=4, activation_function="gelu")
    ).eval()
    ours = decoder(bias=True)
    weights = theirs.state_dict()
    for name, value in ours.state_dict().items():
        other = weights[name]
        # theirs keeps linear layers as (in, out)
        linear = name.endswith("weight") and any(f".{part}." in name for part in ("c_attn", "c_proj", "c_fc"))
        value.copy_(other.T if linear else other)
    with torch.no_grad():
        assert torch.allclose(ours(TOKENS), theirs(TOKENS).logits, atol=2e-5)


@pytest.mark.parametrize("pool", ["token", "mean"])
def test_encoder_is_timms_vision_transformer(pool: str) -> None:
    from timm.models.vision_transformer import VisionTransformer

    token = pool == "token"
    theirs = VisionTransformer(
        img_size=12, patch_size=3, in_chans=3, num_classes=5, embed_dim=32, depth=2, num_heads=4, class_token=token,
        global_pool="token" if token else "avg", fc_norm=False,
    ).eval()  # fmt: skip
    ours = encoder(pool=pool)
    assert dict(ours.named_parameters()).keys() == dict(theirs.named_parameters()).keys()
    ours.load_state_dict(theirs.state_dict())
    for module in theirs.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = 1e-5  # theirs is 1e-6
    with torch.no_grad():
        assert torch.allclose(ours(PIXELS), theirs(PIXELS), atol=1e-5)


@pytest.mark.parametrize("place", ["pre", "post"])
def test_a_block_is_torchs_encoder_layer(place: str) -> None:
    layer = nn.TransformerEncoderLayer(
        32, 4, 128, dropout=0.0, activation="gelu", batch_first=True, norm_first=place == "pre"
    ).eval()
    block: Any = encoder(norm_at=place).blocks[0]  # pyright: ignore[reportIndexIssue, reportOptionalSubscript]
    with torch.no_grad():
        block.attn.qkv.weight.copy_(layer.self_attn.in_proj_weight)
        block.attn.qkv.bias.copy_(layer.self_attn.in_proj_bias)
        block.attn.proj.load_state_dict(layer.self_attn.out_proj.state_dict())
        block.mlp.fc1.load_state_dict(layer.linear1.state_dict())
        block.mlp.fc2.load_state_dict(layer.linear2.state_dict())
        block.norm1.load_state_dict(layer.norm1.state_dict())
        block.norm2.load_state_dict(layer.norm2.state_dict())
        x = torch.randn(2, 7, 32)
        assert torch.allclose(block(x), layer(x), atol=1e-5)


def test_norms_on_both_sides() -> None:
    block: Any = encoder(norm_at="peri", branch_scale="inverse").blocks[0]  # pyright: ignore[reportIndexIssue, reportOptionalSubscript]
    x = torch.randn(2, 7, 32)
    y = x + block.end1(block.attn(block.norm1(x))) / 2
    assert torch.allclose(block(x), y + block.end2(block.mlp(block.norm2(y))) / 2, atol=1e-6)


@pytest.mark.parametrize(
    ("scale", "kept", "factor"),
    [("one", 1, 1), ("inverse", 1, 1 / 2), ("inverse_sqrt", 1, 1 / 2), (0.3, 1, 0.3), ("learned", 1, 1),
     ("convex", math.sqrt(1 / 2), math.sqrt(1 / 2))],
)  # fmt: skip
def test_scales_of_branches(scale: Any, kept: float, factor: float) -> None:
    block: Any = encoder(branch_scale=scale).blocks[1]  # pyright: ignore[reportIndexIssue, reportOptionalSubscript]
    x = torch.randn(2, 7, 32)
    y = kept * x + factor * block.attn(block.norm1(x))
    assert torch.allclose(block(x), kept * y + factor * block.mlp(block.norm2(y)), atol=1e-6)
    learnt = [n for n, _ in block.named_parameters() if "scale" in n]
    assert learnt == (["scale1.weight", "scale2.weight"] if scale == "learned" else [])


@pytest.mark.parametrize(
    "options",
    [{}, {"qk_norm": True}, {"positions": "rope"}, {"attention_scale": "linear"}, {"attention_scale": 1.0},
     {"norm": "rms", "qk_norm": True, "positions": "rope"}],
    ids=str,
)  # fmt: skip
def test_step_by_step_attention_is_the_fused_one(options: dict[str, Any]) -> None:
    model = decoder(**options)
    seen: list[tuple[Tensor, Tensor]] = []
    with torch.no_grad():
        fused = model(TOKENS)
        for module in model.modules():
            if isinstance(module, Attention):
                module.watcher = lambda logits, weights: seen.append((logits, weights))
        assert torch.allclose(model(TOKENS), fused, atol=1e-5)
    assert len(seen) == 2
    for logits, weights in seen:
        assert weights.shape == (3, 4, 16, 16) and torch.allclose(weights.sum(-1), torch.ones(3, 4, 16))
        assert torch.equal(weights > 0, torch.ones(16, 16).tril().bool().expand(3, 4, 16, 16))
        assert torch.isneginf(logits[..., 0, 1:]).all()


def test_logits_are_bounded_by_the_softcap() -> None:
    model = decoder(softcap=0.5, attention_scale=30.0)
    seen: list[Tensor] = []
    for module in model.modules():
        if isinstance(module, Attention):
            module.watcher = lambda logits, weights: seen.append(logits)
    with torch.no_grad():
        model(TOKENS)
    assert all(0.4 < float(z[torch.isfinite(z)].abs().max()) <= 0.5 for z in seen)


@pytest.mark.parametrize("positions", ["learned", "rope", "none"])
@pytest.mark.parametrize("norm", ["layer", "rms", "dyt", "derf", "none"])
def test_a_token_sees_nothing_ahead(positions: Any, norm: Any) -> None:
    model = decoder(positions=positions, norm=norm)
    changed = TOKENS.clone()
    changed[:, 9:] = (changed[:, 9:] + 1) % 11
    with torch.no_grad():
        before, after = model(TOKENS), model(changed)
    assert torch.allclose(before[:, :9], after[:, :9], atol=1e-6)
    assert not torch.allclose(before[:, 9:], after[:, 9:], atol=1e-3)


def test_rotated_products_depend_on_the_distance_alone() -> None:
    q, k = torch.randn(8), torch.randn(8)
    rows = turned(torch.stack([q] * 12)), turned(torch.stack([k] * 12))
    products = rows[0] @ rows[1].T
    for distance in range(-5, 6):
        diagonal = products.diagonal(distance)
        assert torch.allclose(diagonal, diagonal[:1].expand_as(diagonal), atol=1e-4)
    assert torch.allclose(rows[0].norm(dim=-1), q.norm().expand(12))


def test_stand_ins_of_norms() -> None:
    x = torch.randn(5, 6)
    assert torch.allclose(DynamicTanh(6)(x), torch.tanh(0.5 * x))
    assert torch.allclose(DynamicErf(6)(x), torch.erf(0.5 * x))


@pytest.mark.parametrize("activation", ["relu", "swiglu", "geglu", "squared_relu", "crelu", "swish"])
def test_any_activation(activation: str) -> None:
    for model, x, shape in ((decoder(activation), TOKENS, (3, 16, 11)), (encoder(activation), PIXELS, (4, 5))):
        output = model(x)
        assert output.shape == shape
        output.square().sum().backward()
        assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in model.parameters())


def test_a_gated_perceptron_has_as_many_weights_as_a_plain_one() -> None:
    plain, gated = (sum(p.numel() for p in decoder(a, width=96).parameters()) for a in ("gelu", "swiglu"))
    assert abs(gated / plain - 1) < 0.02


def test_a_tied_matrix_is_one_parameter() -> None:
    model: Any = decoder()
    assert model.lm_head.weight is model.transformer["wte"].weight
    assert decoder(tied=False).lm_head.weight is not model.transformer["wte"].weight
    assert "lm_head.weight" not in dict(model.named_parameters())


@pytest.mark.parametrize(("shape", "wanted"), [((12, 50), 50), ((40, 61), 61), ((64, 130), 44)])
def test_spectrograms(shape: tuple[int, int], wanted: int) -> None:
    model: Any = vit(depth=1, width=16, heads=2)(IO(input_shape=shape, classes=4), GELU)
    assert model.pos_embed.shape == (1, wanted + 1, 16)
    assert model(torch.randn(2, *shape)).shape == (2, 4)


def test_images_are_filled_up_to_whole_patches() -> None:
    model: Any = vit(depth=1, width=16, heads=2, patch=5)(IMAGE, GELU)
    assert model.pos_embed.shape == (1, 10, 16) and model(PIXELS).shape == (4, 5)


@pytest.mark.parametrize(
    ("make", "options", "io", "key", "says"),
    [
        (gpt, {"heads": 5}, TEXT, "heads", "must divide width=128"),
        (gpt, {"depth": 0}, TEXT, "depth", "1 or more"),
        (gpt, {"softcap": 0.0}, TEXT, "softcap", "above 0"),
        (gpt, {"norm": "none", "norm_at": "post"}, TEXT, "norm_at", "needs a norm"),
        (gpt, {"mlp_width": 0}, TEXT, "mlp_width", "auto or 1"),
        (gpt, {"width": 12, "heads": 4, "positions": "rope"}, TEXT, "positions", "even"),
        (gpt, {}, IMAGE, "model", "use task=text, or model=vit"),
        (gpt, {}, IO(input_shape=(16,), classes=2, vocabulary=11), "model", "next token"),
        (vit, {}, TEXT, "model", "tokens"),
        (vit, {}, IO(input_shape=(20,), classes=3), "model", "model=mlp"),
        (vit, {"patch": 13}, IMAGE, "patch", "12 x 12"),
    ],
)
def test_what_is_refused(make: Any, options: dict[str, Any], io: IO, key: str, says: str) -> None:
    with pytest.raises(ConfigError) as refused:
        make(**options)(io, GELU)
    assert refused.value.key == key and says in str(refused.value)


def test_dropout_acts_in_training_alone() -> None:
    model = decoder(dropout=0.3)
    assert torch.equal(model(TOKENS), model(TOKENS))
    model.train()
    assert not torch.equal(model(TOKENS), model(TOKENS))
    assert isinstance(model, GPT)
