"""μP and CompleteP on decoders, encoders and networks of other libraries: every parameter by its role, by hand."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from initlab import activations, inits
from initlab.errors import ConfigError
from initlab.models import gpt, vit
from initlab.network.sites import describe
from initlab.spec import IO, Batch, InitContext, Initializer, Site, StepScale
from initlab.train import optimizers
from initlab.train.muon import muon
from initlab.train.optimizers import parameter_groups

V, T = 65, 16
TEXT = IO(input_shape=(T,), classes=V, vocabulary=V, per_step=True)
IMAGE = IO(input_shape=(1, 28, 28), classes=10)
TOKENS = torch.randint(V, (4, T), generator=torch.Generator().manual_seed(0))
PIXELS = torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))


def cross_entropy(output: Any, targets: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(output.flatten(0, -2), targets.flatten())


def applied(
    model: nn.Module, init: Initializer, x: Any = TOKENS, *, batch: bool = True
) -> tuple[dict[str, Site], inits.Applied]:
    """Sites by name, and what was done to `model`."""
    sites = describe(model, x)
    batches = (lambda _i: Batch(inputs=x, targets=TOKENS, loss=cross_entropy)) if batch else None
    context = InitContext(activation=activations.gelu(), batches=batches)
    return {s.name: s for s in sites}, inits.apply(model, sites, init, context=context, seed=0)


def decoder(width: int = 256, **options: Any) -> nn.Module:
    torch.manual_seed(0)
    return gpt(**{"depth": 2, "width": width, "heads": 4} | options)(TEXT, activations.gelu())


def rates(sites: Mapping[str, Site], done: inits.Applied) -> dict[str, float]:
    scale = done.initializer.lr_scale
    assert scale is not None
    return {name: scale(site, "adaptive") for name, site in sites.items()}


def stds(model: nn.Module, wanted: Mapping[str, float]) -> None:
    for pattern, std in wanted.items():
        found = [p.detach() for n, p in model.named_parameters() if re.search(pattern, n)]
        assert found, pattern
        assert all(float(p.std()) == pytest.approx(std, rel=0.06, abs=1e-12) for p in found), pattern


# ------------------------------------------------------------------ roles
@pytest.mark.parametrize("tied", [True, False])
def test_the_table_on_a_decoder(tied: bool) -> None:
    """Four times the base width, by hand: σ of gpt2 at the base, and the rates of Adam."""
    model = decoder(tied=tied, output_scale="mup")
    sites, done = applied(model, inits.mup(base="gpt2"))
    found = rates(sites, done)
    assert found.pop("transformer.wte.weight") == 1.0  # also where it is the head: the multiplier stands in the network
    assert found.pop("lm_head.weight", 1.0) == 1.0
    for name, rate in found.items():
        assert rate == (0.25 if re.search(r"attn|mlp", name) else 1.0), name
    stds(model, {"wte": 0.02, "wpe": 0.02, "c_attn|c_fc": 0.02 / 2, "c_proj": 0.02 / 2 / 4**0.5, "ln": 0.0})
    if not tied:
        stds(model, {"lm_head": 0.02})
    assert not any("output_scale" in note for note in done.notes)


def test_a_head_without_multiplier_has_smaller_weights_and_rates_instead() -> None:
    model = decoder(tied=False)
    sites, done = applied(model, inits.mup(base="gpt2"))
    assert rates(sites, done)["lm_head.weight"] == 0.25
    stds(model, {"lm_head": 0.02 / 4})


def test_the_table_on_an_encoder() -> None:
    torch.manual_seed(0)
    model = vit(depth=2, width=256, heads=4, patch=7)(IMAGE, activations.gelu())
    sites, done = applied(model, inits.mup(head="zero", zero_query=True), PIXELS)
    for name, rate in rates(sites, done).items():
        inside = re.search(r"blocks\.\d+\.(attn|mlp)\.\w+\.weight|^head\.weight", name)
        assert rate == (0.25 if inside else 1.0), name
    assert not model.head.weight.any() and not model.blocks[0].attn.qkv.weight[:256].any()  # type: ignore[index, union-attr]
    assert model.blocks[0].attn.qkv.weight[256:].all()  # type: ignore[index, union-attr]


def test_networks_of_transformers() -> None:
    transformers = pytest.importorskip("transformers")
    small = {"vocab_size": V, "bos_token_id": 0, "eos_token_id": 0}
    gpt2 = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(n_embd=128, n_layer=2, n_head=4, n_positions=T, **small)
    )
    llama = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            hidden_size=128, intermediate_size=344, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
            tie_word_embeddings=False, **small,
        )
    )  # fmt: skip
    for model, hidden in ((gpt2, r"h\.\d\.(attn|mlp)\.\w+\.weight"), (llama, r"_proj\.weight")):
        sites, done = applied(model, inits.mup(base="llama"))
        for name, rate in rates(sites, done).items():
            half = re.search(hidden, name) or (name == "lm_head.weight" and not sites[name].tied)
            assert rate == (0.5 if half else 1.0), name
        stds(model, {hidden: 0.02 / 2**0.5, "wte|embed_tokens": 0.02})
    stds(llama, {"lm_head": 0.02 / 2})
    notes = applied(gpt2, inits.mup(base="llama"))[1].notes
    assert any("transformer.wte.weight is embedding and head" in n and "logits * 0.5" in n for n in notes), notes


def test_a_transformer_encoder_of_torch() -> None:
    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(V, 128)
            layer = nn.TransformerEncoderLayer(128, 4, 512, dropout=0.0, batch_first=True)
            self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
            self.out = nn.Linear(128, V)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.out(self.body(self.embed(x)))

    sites, done = applied(Encoder(), inits.mup())
    for name, rate in rates(sites, done).items():
        matrix = re.search(r"(in_proj|out_proj|linear[12]|^out)[._]weight", name)
        assert rate == (0.5 if matrix else 1.0), name


class Multiplied(nn.Module):
    """A foreign decoder with a tied head whose logits are multiplied."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.inner, self.factor = decoder(128), factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.factor * self.inner(x)


@pytest.mark.parametrize(("factor", "told"), [(0.5, False), (1.0, True), (0.3, True)])
def test_the_multiplier_of_the_output_is_measured(factor: float, told: bool) -> None:
    notes = applied(Multiplied(factor), inits.mup())[1].notes
    assert any("is embedding and head" in n for n in notes) is told, notes
    assert any("multiplies them by 0.3" in n for n in notes) is (factor == 0.3)


# ------------------------------------------------------------------ the base
@pytest.mark.parametrize("base", ["gpt2", "lecun", "he"])
@pytest.mark.parametrize("tied", [True, False])
def test_at_the_base_width_it_is_the_standard_parametrisation(base: str, tied: bool) -> None:
    """Same seed, same weights, same groups, same losses."""
    losses: list[list[float]] = []
    for init in (inits.parse_initializer(base), inits.mup(base_width=64, base=base)):
        model = decoder(64, tied=tied, output_scale="mup", attention_scale="mup" if init.name == "mup" else "sqrt")
        sites, done = applied(model, init)
        groups = parameter_groups(model, tuple(sites.values()), done.initializer.lr_scale)
        optimizer = optimizers.adamw(lr=0.01, weight_decay=0.1)(groups)
        found: list[float] = []
        for _ in range(5):
            loss = cross_entropy(model(TOKENS), TOKENS.roll(1, 1))
            found.append(float(loss.detach()))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        losses.append(found)
    assert losses[0] == losses[1]
    assert losses[0][-1] < losses[0][0]


def test_its_own_law_at_the_base_is_that_of_he() -> None:
    values = []
    for init in (inits.he(), inits.mup(base_width=64)):
        model = decoder(64)
        applied(model, init)
        values.append([p.detach() for p in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*values, strict=True))


def test_a_zero_head_begins_at_the_loss_of_guessing() -> None:
    model = decoder(tied=False)
    applied(model, inits.mup(head="zero"))
    assert float(cross_entropy(model(TOKENS), TOKENS).detach()) == pytest.approx(torch.log(torch.tensor(V)).item())


def test_a_base_that_looks_at_data_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"init\.base=lsuv: must be a scheme that only draws values"):
        inits.mup(base="lsuv")


# ------------------------------------------------------------------ depth
def test_completep_over_width_and_depth() -> None:
    model = decoder(128, depth=8, branch_scale="depth_mup", base_depth=2, tied=False, output_scale="mup")
    sites, done = applied(model, inits.completep(base_depth=2, alpha=0.5, base="llama"))
    scale = done.initializer.lr_scale
    assert isinstance(scale, StepScale)
    for name, rate in rates(sites, done).items():
        inside, matrix = ".h." in name, re.search(r"c_\w+\.weight", name)
        assert rate == pytest.approx((0.5 if inside else 1.0) * (0.5 if matrix else 1.0)), name
        eps = scale.eps(sites[name])
        assert eps == pytest.approx(0.5 * (0.5 if inside else 1.0)), name
    stds(model, {"c_attn|c_fc|c_proj": 0.02 / 2**0.5})  # no factor for the depth


def test_completep_names_the_multiplier_that_is_missing() -> None:
    with pytest.raises(ConfigError, match=r"= 0\.5, and model\.branch_scale=one multiplies by 1; use .*=completep"):
        applied(decoder(depth=8), inits.completep())
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(
        n_embd=64, n_layer=8, n_head=4, n_positions=T, vocab_size=V, bos_token_id=0, eos_token_id=0
    )
    notes = applied(transformers.GPT2LMHeadModel(config), inits.completep())[1].notes
    assert any("every residual branch must be multiplied by (depth/base_depth)^-1 = 0.5" in n for n in notes), notes


@pytest.mark.parametrize(("scale", "factor"), [("completep", 0.25), ("depth_mup", 0.5)])
def test_the_branches_of_a_decoder_are_multiplied(scale: str, factor: float) -> None:
    by_name, by_number = (decoder(64, depth=8, branch_scale=s, base_depth=2) for s in (scale, factor))
    by_number.load_state_dict(by_name.state_dict())
    assert torch.equal(by_name(TOKENS), by_number(TOKENS))


def test_multipliers_of_embedding_and_output() -> None:
    plain, scaled = decoder(64), decoder(64, embedding_scale=2.0, output_scale=0.5)
    assert torch.allclose(plain(TOKENS).shape and scaled(TOKENS), 0.5 * _doubled(plain)(TOKENS), atol=1e-6)
    assert torch.equal(decoder(256, output_scale="mup")(TOKENS), 0.25 * decoder(256)(TOKENS))


def _doubled(model: nn.Module) -> nn.Module:
    """The same network with twice the embeddings, whose head is not the embedding any more."""
    tables = model.transformer
    assert isinstance(tables, nn.ModuleDict)
    model.lm_head = nn.Linear(64, V, bias=False)
    with torch.no_grad():
        model.lm_head.weight.copy_(tables["wte"].weight)  # type: ignore[arg-type]
        for name in ("wte", "wpe"):
            tables[name].weight.mul_(2)  # type: ignore[operator, union-attr]
    return model


# ------------------------------------------------------------------ the optimiser
def settings(optimizer: torch.optim.Optimizer, model: nn.Module, key: str) -> dict[str, float]:
    by_parameter = {id(p): g[key] for g in optimizer.param_groups for p in g["params"]}
    return {n: by_parameter[id(p)] for n, p in model.named_parameters()}


def test_the_decay_of_adamw_does_not_follow_the_rate() -> None:
    model = decoder(output_scale="mup")
    sites, done = applied(model, inits.mup())
    groups = parameter_groups(model, tuple(sites.values()), done.initializer.lr_scale)
    optimizer = optimizers.adamw(lr=0.01, weight_decay=0.1)(groups)
    lr, decay, eps = (settings(optimizer, model, key) for key in ("lr", "weight_decay", "eps"))
    for name, site in sites.items():
        assert lr[name] * decay[name] == pytest.approx(0.0 if site.role in ("norm", "bias") else 0.001), name
        assert eps[name] == pytest.approx(2.5e-9), name
    coupled = optimizers.adam(lr=0.01, weight_decay=0.1)(groups)
    assert set(settings(coupled, model, "weight_decay").values()) == {0.0, 0.1}


@pytest.mark.parametrize("tied", [True, False])
def test_what_decays_can_be_chosen(tied: bool) -> None:
    model = decoder(64, tied=tied, bias=True)
    sites, _ = applied(model, inits.gpt2())
    groups = parameter_groups(model, tuple(sites.values()))
    for decay, pattern in (
        ("matrices", r"c_\w+\.weight|lm_head"),
        ("weights", r"c_\w+\.weight|lm_head|wte|wpe"),
        ("all", ""),
    ):
        for make in (optimizers.adamw, optimizers.adam, optimizers.sgd, optimizers.rmsprop, muon):
            found = settings(make(weight_decay=0.1, decay=decay)(groups), model, "weight_decay")
            for name, value in found.items():
                assert value == (0.1 if re.search(pattern, name) else 0.0), (decay, name, make)


def test_muon_takes_the_width_as_its_adjustment_wants() -> None:
    """An orthogonal update has the right spectral norm at every width; that of AdamW's size has √m too much."""
    model = decoder(output_scale="mup")
    sites, done = applied(model, inits.mup())
    groups = parameter_groups(model, tuple(sites.values()), done.initializer.lr_scale)
    for adjust, rate in (("original", 0.02), ("match_rms_adamw", 0.01)):
        found = settings(muon(lr=0.02, adjust=adjust)(groups), model, "lr")
        assert found["transformer.h.0.attn.c_attn.weight"] == pytest.approx(rate)
        assert found["transformer.wte.weight"] == pytest.approx(0.02)


@pytest.mark.parametrize("scale", ["linear", "mup"])
def test_attention_that_divides_by_the_width_gets_no_notice_at_any_width(scale: str) -> None:
    """At heads of 64 features 8/d is 1/√d, and still not the usual scale."""
    for width in (64, 256, 512):
        for chosen, notices in ((scale, 0), ("sqrt", 1)):
            model = decoder(width, depth=1, tied=False, attention_scale=chosen, base_width=128)
            _, done = applied(model, inits.mup(base_width=128))
            assert sum("attention divides by" in n for n in done.notes) == notices, (width, chosen)
