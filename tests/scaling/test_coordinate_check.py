"""The coordinate check: slopes of the published protocol, verdicts, networks of other people."""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import initlab
from initlab import activations, inits
from initlab.errors import ConfigError
from initlab.models import gpt
from initlab.network.sites import describe
from initlab.scaling import CoordinateCheck, Subject, check_coordinates
from initlab.scaling.activations import read_activations
from initlab.scaling.slopes import judge
from initlab.spec import IO, Batch, InitContext
from initlab.statistics.student import Interval
from initlab.train import optimizers
from initlab.train.optimizers import parameter_groups

V, T = 65, 32
TEXT = IO(input_shape=(T,), classes=V, vocabulary=V, per_step=True)


def cross_entropy(output: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(output.flatten(0, -2), targets.flatten())


def words(seed: int, count: int = 16) -> Batch:
    """Windows of a text in English, its rarer characters as one."""
    text = (Path(__file__).parents[2] / "LICENSE").read_text(encoding="utf-8")
    known = [c for c, _ in Counter(text).most_common(V - 1)]
    tokens = torch.tensor([known.index(c) if c in known else V - 1 for c in text])
    places = torch.randint(len(tokens) - T - 1, (count,), generator=torch.Generator().manual_seed(seed))
    x = torch.stack([tokens[int(k) : int(k) + T + 1] for k in places])
    return Batch(inputs=x[:, :-1].contiguous(), targets=x[:, 1:].contiguous(), loss=cross_entropy)


def decoders(*, mup: bool) -> Callable[[int, int], Subject]:
    """The networks of the protocol: two blocks, embeddings of 0.5, LeCun's matrices, untied, Adam at 2^-8."""

    def make(width: int, seed: int) -> Subject:
        batch, base = words(seed), 64 if mup else width
        model = gpt(
            depth=2, width=width, heads=4, tied=False, base_width=base, output_scale="mup", attention_scale="mup"
        )(TEXT, activations.gelu())
        init = inits.mup(base_width=base, base="lecun", embedding_std=0.5)
        sites = describe(model, batch.inputs)
        context = InitContext(activation=activations.gelu(), batches=lambda _i: batch)
        done = inits.apply(model, sites, init, context=context, seed=seed)
        groups = parameter_groups(model, sites, done.initializer.lr_scale)
        return Subject(model=model, optimizer=optimizers.adam(lr=2.0**-8)(groups), batch=batch)

    return make


def oracle() -> Path:
    data = os.environ.get("INITLAB_DATA")
    shared = Path(data).parent if data else Path(__file__).parents[3] / "shared"
    return shared / "oracles" / "transformers.json"


def slope(check: CoordinateCheck, name: str) -> float:
    return next(m.slope.mean for m in check.modules if m.name == name)


@pytest.fixture(scope="module")
def checks() -> dict[str, CoordinateCheck]:
    return {name: check_coordinates(decoders(mup=name == "mup"), (64, 128, 256, 512)) for name in ("sp", "mup")}


def test_mup_passes_and_the_standard_parametrisation_fails(checks: dict[str, CoordinateCheck]) -> None:
    assert checks["mup"].verdict == "pass", str(checks["mup"])
    standard = checks["sp"]
    assert standard.verdict == "fail"
    failing = {m.name for m in standard.modules if m.verdict == "fail"}
    assert {"transformer.h[-1]", "transformer.h.0.attn logits"} <= failing
    assert "do not move alike over widths 64 to 512" in standard.sentence()


@pytest.mark.skipif(not oracle().exists(), reason="the file of reference slopes is not here")
@pytest.mark.parametrize(("name", "key", "tolerance"), [
    ("transformer.wte", "x0", 0.1), ("transformer.h[-1]", "xL", 0.3), ("logits", "logit", 0.15),
])  # fmt: skip
@pytest.mark.parametrize("parametrisation", ["sp", "mup"])
def test_the_slopes_of_the_reference(
    checks: dict[str, CoordinateCheck], parametrisation: str, name: str, key: str, tolerance: float
) -> None:
    """Another text and other draws than the reference's."""
    wanted = json.loads(oracle().read_text(encoding="utf-8"))["coord_check"]["res"][f"{parametrisation}|{key}"]
    assert slope(checks[parametrisation], name) == pytest.approx(wanted["slope_delta"], abs=tolerance)
    start = next(m.start_slope for m in checks[parametrisation].modules if m.name == name)
    assert start == pytest.approx(wanted["slope_init"], abs=0.05)


def test_attention_falls_until_queries_and_keys_are_aligned(checks: dict[str, CoordinateCheck]) -> None:
    for block in (0, 1):
        assert -0.65 < slope(checks["mup"], f"transformer.h.{block}.attn logits") < 0.1
    assert slope(checks["sp"], "transformer.h.0.attn logits") > 0.8


def test_depth() -> None:
    """The reference's: 0.90 without a multiplier, 0.02 for 1/√L, -0.21 for 1/L, which flattens."""

    def decoder(scale: Any, alpha: float | None) -> CoordinateCheck:
        def make(depth: int, seed: int) -> Subject:
            batch = words(seed, 8)
            model = gpt(depth=depth, width=64, heads=4, tied=False, base_depth=2, branch_scale=scale)(
                TEXT, activations.gelu()
            )
            init = (
                inits.mup(base="lecun", embedding_std=0.5)
                if alpha is None
                else inits.completep(base_depth=2, alpha=alpha, base="lecun", embedding_std=0.5)
            )
            sites = describe(model, batch.inputs)
            context = InitContext(activation=activations.gelu(), batches=lambda _i: batch)
            done = inits.apply(model, sites, init, context=context, seed=seed)
            groups = parameter_groups(model, sites, done.initializer.lr_scale)
            return Subject(model=model, optimizer=optimizers.adam(lr=2.0**-9)(groups), batch=batch)

        return check_coordinates(make, (2, 4, 8, 16), axis="depth")

    for scale, alpha, wanted, verdict in (
        ("one", None, 0.90, "fail"),
        ("depth_mup", 0.5, 0.02, "pass"),
        ("completep", 1.0, -0.21, "pass"),
    ):
        check = decoder(scale, alpha)
        assert slope(check, "transformer.h[-1]") == pytest.approx(wanted, abs=0.2), scale
        last = next(m for m in check.modules if m.name == "transformer.h[-1]")
        assert last.verdict == verdict, str(check)


# ------------------------------------------------------------------ anybody's network
X, Y = torch.randn(64, 16, generator=torch.Generator().manual_seed(0)), torch.arange(64) % 3


def perceptron(width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(16, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 3))


def test_a_mup_of_ones_own_is_tested_with_ones_own_optimiser() -> None:
    def build(width: int) -> nn.Module:
        model = perceptron(width)
        with torch.no_grad():
            for layer, std in ((0, 0.25), (2, width**-0.5), (4, 0.0)):
                module = model[layer]  # type: ignore[index]
                assert isinstance(module, nn.Linear)
                nn.init.normal_(module.weight, 0.0, std)
        return model

    def optimizer(model: nn.Module, *, right: bool) -> torch.optim.Optimizer:
        width = model[0].out_features  # type: ignore[index]
        assert isinstance(width, int)
        rates = {"2.weight": 64 / width, "4.weight": 64 / width} if right else {}
        groups = [{"params": [p], "lr": 0.004 * rates.get(n, 1.0)} for n, p in model.named_parameters()]
        return torch.optim.Adam(groups)

    right = initlab.coordinate_check(build, (X, Y), optimizer=lambda m: optimizer(m, right=True), seeds=4)
    wrong = initlab.coordinate_check(build, (X, Y), optimizer=lambda m: optimizer(m, right=False), seeds=4)
    assert right.verdict == "pass", str(right)
    assert wrong.verdict == "fail" and wrong.rows()[1]["slope"] > 0.3


def test_a_decoder_of_transformers() -> None:
    transformers = pytest.importorskip("transformers")
    tokens = torch.randint(V, (4, 16), generator=torch.Generator().manual_seed(0))

    def build(width: int) -> nn.Module:
        return transformers.LlamaForCausalLM(
            transformers.LlamaConfig(
                vocab_size=V, hidden_size=width, intermediate_size=2 * width, num_hidden_layers=2, bos_token_id=0,
                num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=False, eos_token_id=0,
            )
        )  # fmt: skip

    check = initlab.coordinate_check(
        build, {"input_ids": tokens, "labels": tokens}, widths=(32, 64, 128), init="he", seeds=2
    )
    names = [m.name for m in check.modules]
    assert check.verdict == "fail"
    assert {"model.embed_tokens", "model.layers.0.self_attn logits", "model.layers[-1]", "logits"} <= set(names)
    assert "lm_head" not in names


def test_the_logits_of_attention_are_those_before_the_softmax() -> None:
    """Through the fused kernel, and step by step with a cap."""
    for softcap in (None, 1000.0):
        torch.manual_seed(0)
        model = gpt(depth=1, width=32, heads=2, softcap=softcap)(TEXT, activations.gelu())
        batch = words(0, 4)
        found = read_activations(model, batch.inputs)
        seen: list[torch.Tensor] = []
        attention = model.get_submodule("transformer.h.0.attn")
        attention.watcher = lambda logits, _weights, seen=seen: seen.append(logits.detach())  # type: ignore[assignment]
        model(batch.inputs)
        visible = seen[0][seen[0] > -math.inf]
        kind, logits = found["transformer.h.0.attn logits"]
        assert kind == "attention logits" and logits.numel() == 4 * 2 * T * (T + 1) // 2
        assert torch.allclose(logits, visible, atol=1e-5)


def test_looking_changes_nothing() -> None:
    model = nn.Sequential(nn.Linear(16, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3)).eval()
    before, state = {k: v.clone() for k, v in model.state_dict().items()}, torch.random.get_rng_state()
    first, second = read_activations(model, X), read_activations(model, X)
    assert not model.training and torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert torch.equal(first["logits"][1], second["logits"][1])  # the same units are dropped


# ------------------------------------------------------------------ verdicts
@pytest.mark.parametrize(("kind", "mean", "half", "verdict"), [
    ("module", 0.0, 0.1, "pass"), ("module", 0.14, 0.1, "pass"), ("module", 0.14, 0.4, "undecided"),
    ("module", 0.2, 0.01, "undecided"), ("module", 0.4, 0.1, "fail"), ("module", 0.4, 0.5, "undecided"),
    ("module", -0.5, 0.1, "fail"), ("embedding", 0.1, 0.01, "undecided"), ("attention logits", -0.5, 0.1, "pass"),
    ("attention logits", 1.0, 0.2, "fail"), ("attention logits", -1.0, 0.1, "fail"),
])  # fmt: skip
def test_verdicts(kind: Any, mean: float, half: float, verdict: str) -> None:
    found = Interval(mean=mean, low=mean - half, high=mean + half, draws=3)
    assert judge(kind, found, (1.0, 1.0), 0.0, "width")[0] == verdict


def test_what_cannot_be_judged() -> None:
    flat = Interval(mean=0.0, low=-0.1, high=0.1, draws=3)
    assert judge("module", flat, (0.0, 0.0), 0.0, "width") == ("not judged", "does not move in so few steps")
    assert judge("module", flat, (1.0, math.inf), 0.0, "width")[0] == "fail"
    assert judge("logits", flat, (1.0, 1.0), 0.5, "width")[1] == "grows with the width before training (slope +0.50)"


def test_bad_input_is_named() -> None:
    with pytest.raises(ConfigError, match=r"widths=64: must name two sizes"):
        initlab.coordinate_check(perceptron, (X, Y), widths=(64,))
    with pytest.raises(ConfigError, match=r"optimizer=adan: .*adam"):
        initlab.coordinate_check(perceptron, (X, Y), optimizer="adan")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"steps=0: must be 1 or more"):
        initlab.coordinate_check(perceptron, (X, Y), steps=0)
