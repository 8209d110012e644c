"""What is to hold of the initialisers of transformers: the deviation of every matrix, on networks of this project and
on others whose parameters have other names."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn

from initlab import activations, inits
from initlab.errors import ConfigError
from initlab.models import gpt, vit
from initlab.network.sites import describe
from initlab.spec import IO, InitContext, Initializer

D, L, V, T = 128, 4, 65, 32
TEXT = IO(input_shape=(T,), classes=V, vocabulary=V, per_step=True)
IMAGE = IO(input_shape=(1, 28, 28), classes=10)
TOKENS = torch.randint(V, (2, T), generator=torch.Generator().manual_seed(0))
PIXELS = torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))

#: pattern of names → deviation, or a function of the block's number
Table = Mapping[str, float | Callable[[int], float]]


def decoder(init: Initializer, *, tied: bool = False, **options: Any) -> nn.Module:
    """An initialised decoder of L blocks and D features."""
    torch.manual_seed(0)
    model = gpt(depth=L, width=D, heads=4, tied=tied, **options)(TEXT, activations.gelu())
    return initialised(model, init, TOKENS)


def encoder(init: Initializer) -> nn.Module:
    """An initialised encoder of patches of 7 x 7 pixels."""
    torch.manual_seed(0)
    return initialised(vit(depth=L, width=D, heads=4, patch=7)(IMAGE, activations.gelu()), init, PIXELS)


def initialised(model: nn.Module, init: Initializer, x: Any) -> nn.Module:
    """`model` with values drawn by `init`, its wiring seen on `x`."""
    context = InitContext(activation=activations.gelu())
    inits.apply(model, describe(model, x), init, context=context, seed=0)
    return model


def deviations(model: nn.Module, table: Table) -> None:
    """Check the deviation of each parameter that a pattern of `table` finds; each pattern must find some."""
    for pattern, wanted in table.items():
        found = [(n, p.detach()) for n, p in model.named_parameters() if re.search(pattern, n)]
        assert found, pattern
        for name, value in found:
            number = re.search(r"\.(\d+)\.", name)
            std = wanted if isinstance(wanted, (int, float)) else wanted(int(number[1]) if number else 0)
            if std == 0:
                assert not value.any(), name
            else:
                tolerance = 4 / math.sqrt(2 * value.numel())
                assert float(value.std(correction=0)) == pytest.approx(std, rel=tolerance), name


def needs_branches(init: Initializer) -> None:
    """A scheme of residual branches refuses a network without any."""
    model = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 2))
    with pytest.raises(ConfigError, match=f"init={init.name}: needs residual branches"):
        initialised(model, init, torch.randn(2, 6))


def rows(model: nn.Module, name: str, part: int) -> float:
    """Deviation of queries (0), keys (1) or values (2) of a stacked matrix."""
    return float(dict(model.named_parameters())[name].detach().chunk(3)[part].std(correction=0))


BLOCKS = r"(c_attn|c_fc)\.weight"
ENDS = r"c_proj\.weight"


def llama(init: Initializer) -> None:
    deviations(decoder(init), {r"(c_attn|c_fc|c_proj|wte|wpe|lm_head)\.weight": 0.02})


def bert(init: Initializer) -> None:
    model = encoder(init)
    deviations(model, {r"(qkv|proj|fc1|fc2|head)\.weight|pos_embed": 0.0175925})
    assert all(float(p.detach().abs().max()) <= 0.04 for n, p in model.named_parameters() if "norm" not in n)


def torchtitan(init: Initializer) -> None:
    needs_branches(init)
    deviations(
        decoder(init, positions="rope"),
        {BLOCKS: 0.02, "wte": 1.0, "lm_head": 0.9865784 * D**-0.5, ENDS: lambda i: 0.02 / math.sqrt(2 * (i + 1))},
    )


def nanochat(init: Initializer) -> None:
    needs_branches(init)
    model = decoder(init, norm="rms", qk_norm=True, positions="rope")
    deviations(
        model,
        {"wte": 0.8, "lm_head": 0.001, "c_attn": D**-0.5, r"c_fc\.weight": 0.4 * D**-0.5, ENDS: 0.0},
    )
    largest = max(float(p.detach().abs().max()) for n, p in model.named_parameters() if "c_attn" in n)
    assert 0.99 * math.sqrt(3 / D) < largest <= math.sqrt(3 / D)
    passes_on(model)


def zero_projection(init: Initializer) -> None:
    needs_branches(init)
    model = decoder(init)
    deviations(model, {ENDS: 0.0, BLOCKS: 0.02})
    passes_on(model)
    loss = nn.functional.cross_entropy(model(TOKENS).flatten(0, 1), TOKENS.roll(-1, 1).flatten())
    loss.backward()
    moved = {n for n, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert not any("c_attn" in n or "c_fc" in n for n in moved)
    assert sum("c_proj" in n for n in moved) == 2 * L


def passes_on(model: nn.Module) -> None:
    """Each block gives its input."""
    x = torch.randn(2, T, D)
    for block in model.transformer["h"]:  # type: ignore[index, union-attr]  # pyright: ignore
        assert torch.equal(block(x), x)


def t5(init: Initializer) -> None:
    deviations(decoder(init), {r"(c_attn|c_fc|attn.c_proj)": D**-0.5, r"mlp.c_proj": (4 * D) ** -0.5, "wte": 1.0})
    model = decoder(inits.t5(head_width=32.0), attention_scale=1.0)
    names = [f"transformer.h.{i}.attn.c_attn.weight" for i in range(L)]
    assert all(rows(model, n, 0) == pytest.approx((D * 32) ** -0.5, rel=0.02) for n in names)
    assert all(rows(model, n, part) == pytest.approx(D**-0.5, rel=0.02) for n in names for part in (1, 2))
    # the logits of normed tokens have variance 1
    q, k, _ = (torch.randn(4096, D) @ dict(model.named_parameters())[names[0]].detach().T).chunk(3, dim=1)
    logits = (q.view(-1, 4, 32) * k.view(-1, 4, 32)).sum(-1)
    assert float(logits.var()) == pytest.approx(1.0, rel=0.1)


def t_fixup(init: Initializer) -> None:
    needs_branches(init)
    model = decoder(init, norm="none", norm_at="pre")
    factor, square = 0.67 * L**-0.25, math.sqrt(2 / (2 * D))
    names = [f"transformer.h.{i}.attn.c_attn.weight" for i in range(L)]
    assert all(rows(model, n, part) == pytest.approx(square / math.sqrt(2), rel=0.02) for n in names for part in (0, 1))
    assert all(rows(model, n, 2) == pytest.approx(square * factor, rel=0.02) for n in names)
    deviations(
        model,
        {r"attn.c_proj": square * factor, r"(c_fc|mlp.c_proj)\.weight": factor * math.sqrt(2 / (5 * D)),
         "wte": D**-0.5 * (9 * L) ** -0.25},
    )  # fmt: skip


def deepscalelm(init: Initializer) -> None:
    needs_branches(init)
    model = decoder(init, branch_scale="convex", bias=True)
    similar = inits.transformer_depth.similarities(2 * L, start=0.221, dropout=0.0)
    assert similar[0] == 0.221 and all(a < b for a, b in pairwise(similar))
    for i in range(L):
        assert rows(model, f"transformer.h.{i}.attn.c_attn.weight", 0) == pytest.approx(D**-0.5, rel=0.02)
        wanted = D**-0.5 * similar[2 * i] ** -0.25
        assert rows(model, f"transformer.h.{i}.attn.c_attn.weight", 2) == pytest.approx(wanted, rel=0.02)
    deviations(
        model,
        {r"attn.c_proj.weight": lambda i: D**-0.5 * similar[2 * i] ** -0.25, r"mlp.*weight": D**-0.5 * 0.5**0.25,
         "wte": 3**-0.5, "lm_head": D**-0.5},
    )  # fmt: skip


def vision(init: Initializer) -> None:
    model = encoder(init)
    patch = 1 / math.sqrt(3 * 49)
    deviations(
        model,
        {r"(qkv|attn.proj|fc1|fc2|head)\.weight|pos_embed": 0.02, "cls_token": 1e-6, "patch_embed.proj.weight": patch},
    )
    jax = encoder(inits.vit(variant="jax"))
    deviations(
        jax,
        {r"qkv\.weight": math.sqrt(2 / (4 * D)), r"attn.proj\.weight": D**-0.5, r"fc.\.weight": math.sqrt(2 / (5 * D)),
         "patch_embed.proj.weight": 1 / 7, "head": 0.0, r"fc1\.bias": 1e-6, r"qkv\.bias": 0.0},
    )  # fmt: skip
    assert not jax(PIXELS).any()
    deviations(
        encoder(inits.vit(variant="moco")), {r"qkv\.weight": D**-0.5, r"patch_embed.*weight": math.sqrt(2 / (D + 49))}
    )
    scaled = encoder(inits.vit(depth_scaled=True))
    deviations(scaled, {r"(attn.proj|fc2)\.weight": lambda i: 0.02 / math.sqrt(2 * (i + 1)), r"fc1\.weight": 0.02})


PROPERTIES: dict[str, Callable[[Initializer], None]] = {
    "bert": bert,
    "deepscalelm": deepscalelm,
    "llama": llama,
    "nanochat": nanochat,
    "t5": t5,
    "t_fixup": t_fixup,
    "torchtitan": torchtitan,
    "vit": vision,
    "zero_projection": zero_projection,
}
