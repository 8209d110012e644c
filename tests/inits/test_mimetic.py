"""Mimetic initialisation of attention that is no module of torch's: stacked, apart, and called as a function."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

import initlab
from initlab.errors import ConfigError
from tests.cases import experiment

D, HEADS = 64, 4


def _assert_mimetic(q: Tensor, k: Tensor, v: Tensor, out: Tensor, heads: int) -> None:
    """Trockman & Kolter, 2023: W_Q W_Kᵀ has a positive diagonal in each head, W_V W_O is near -0.4 I."""
    d = q.shape[1]
    for a, b in zip(q.split(d // heads), k.split(d // heads), strict=True):
        assert float((a.T @ b).diagonal().mean()) > 0.1
    product = v.T @ out.T
    assert float(product.diagonal().mean()) == pytest.approx(-0.4, abs=0.1)
    assert float((product + 0.4 * torch.eye(d)).std()) == pytest.approx(0.4 / math.sqrt(d), rel=0.15)


class Functional(nn.Module):
    """Attention of one's own, apart, called as a function."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, D)
        self.query, self.key, self.value, self.join = (nn.Linear(D, D) for _ in range(4))
        self.head = nn.Linear(D, 11)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        q, k, v = (m(x).unflatten(-1, (HEADS, -1)).transpose(1, 2) for m in (self.query, self.key, self.value))
        y = nn.functional.scaled_dot_product_attention(q, k, v)
        return self.head(x + self.join(y.transpose(1, 2).flatten(2)))


def test_attention_called_as_a_function() -> None:
    model = Functional()
    done = initlab.initialize(model, "mimetic", example=torch.randint(0, 11, (2, 6)))
    assert any("4 heads" in n for n in done.notes)
    _assert_mimetic(*(m.weight.detach() for m in (model.query, model.key, model.value, model.join)), heads=HEADS)


@pytest.mark.parametrize("name", ["gpt", "vit"])
def test_stacked_weights(name: str) -> None:
    from initlab.run.prepare import prepare

    task = ["task=text"] if name == "gpt" else ["task=image", "data=digits"]
    settings = (*task, f"model={name}", "model.width=64", "model.heads=4", "model.depth=2", "init=mimetic")
    prepared = prepare(experiment(*settings))
    weights = {n: p.detach() for n, p in prepared.model.named_parameters()}
    stacked = [n for n in weights if n.endswith(("c_attn.weight", "qkv.weight"))]
    assert len(stacked) == 2
    for name_ in stacked:
        out = name_.replace("c_attn", "c_proj").replace("qkv", "proj")
        _assert_mimetic(*weights[name_].split(64), weights[out], heads=4)


def test_weights_of_another_library() -> None:
    transformers = pytest.importorskip("transformers")
    plain = {"hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 96, "num_hidden_layers": 1}
    tokens = torch.randint(0, 50, (2, 8))
    llama = transformers.LlamaForCausalLM(transformers.LlamaConfig(vocab_size=50, **plain))
    initlab.initialize(llama, "mimetic", example=tokens)
    own = llama.model.layers[0].self_attn
    _assert_mimetic(*(m.weight.detach() for m in (own.q_proj, own.k_proj, own.v_proj, own.o_proj)), heads=4)
    config = transformers.GPT2Config(
        vocab_size=50, n_embd=64, n_head=4, n_layer=1, n_positions=16, bos_token_id=0, eos_token_id=0
    )
    gpt2 = transformers.GPT2LMHeadModel(config)
    initlab.initialize(gpt2, "mimetic", example=tokens)
    block = gpt2.transformer.h[0].attn  # its weights lie as (in, out)
    _assert_mimetic(*block.c_attn.weight.detach().T.split(64), block.c_proj.weight.detach().T, heads=4)


def test_what_it_cannot_do_is_refused_by_name() -> None:
    transformers = pytest.importorskip("transformers")
    tokens = torch.randint(0, 50, (2, 8))
    grouped = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=50, hidden_size=64, num_attention_heads=4, num_key_value_heads=2, intermediate_size=96,
            num_hidden_layers=1,
        )
    )  # fmt: skip
    before = {n: p.detach().clone() for n, p in grouped.named_parameters()}
    with pytest.raises(ConfigError, match=r"k_proj\.weight: makes 32 of 64"):
        initlab.initialize(grouped, "mimetic", example=tokens)
    assert all(torch.equal(p, before[n]) for n, p in grouped.named_parameters())
    with pytest.raises(ConfigError, match="needs attention"):
        initlab.initialize(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)), "mimetic")
    with pytest.raises(ConfigError, match="needs an example"):
        initlab.initialize(Functional(), "mimetic", activation="relu")
