"""Muon takes the hidden matrices and AdamW the rest; one optimiser for the loop, its schedule and its checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from initlab import activations, inits
from initlab.models import gpt
from initlab.network.sites import describe
from initlab.spec import IO, InitContext
from initlab.train.muon import Several, muon
from initlab.train.optimizers import parameter_groups
from tests.train.test_loop import Interrupted, equal

TEXT = IO(input_shape=(16,), classes=11, vocabulary=11, per_step=True)
TOKENS = torch.randint(11, (3, 16), generator=torch.Generator().manual_seed(0))


def network(*, tied: bool = True) -> tuple[nn.Module, list[dict[str, object]]]:
    model = gpt(depth=2, width=32, heads=4, tied=tied, bias=True)(TEXT, activations.gelu())
    sites = describe(model, TOKENS)
    inits.apply(model, sites, inits.gpt2(), context=InitContext(activation=activations.gelu()), seed=0)
    return model, parameter_groups(model, sites)


def gradients(model: nn.Module) -> None:
    nn.functional.cross_entropy(model(TOKENS).flatten(0, 1), TOKENS.roll(-1, 1).flatten()).backward()


def values(model: nn.Module) -> dict[str, Tensor]:
    return {n: p.detach().clone() for n, p in model.named_parameters()}


@pytest.mark.parametrize("tied", [True, False])
def test_hidden_matrices_are_muons(tied: bool) -> None:
    model, groups = network(tied=tied)
    optimizer = muon()(groups)
    assert isinstance(optimizer, Several)
    names = {id(p): n for n, p in model.named_parameters()}
    first, second = ({names[id(p)] for g in part.param_groups for p in g["params"]} for part in optimizer.parts)
    assert isinstance(optimizer.parts[0], torch.optim.Muon)
    assert first == {n for n in names.values() if n.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight"))}
    assert first.isdisjoint(second) and len(first | second) == len(names)
    assert {"transformer.wte.weight", "transformer.wpe.weight"} <= second
    assert all("matrices" not in g and "lr_scale" not in g for g in optimizer.param_groups)


@pytest.mark.parametrize(("adjust", "size"), [("match_rms_adamw", 0.2), ("original", None)])
def test_updates_are_orthogonal_and_the_rest_is_adamws(adjust: str, size: float | None) -> None:
    model, groups = network()
    optimizer = muon(lr=0.01, weight_decay=0.0, adjust=adjust, adamw_lr=0.003)(groups)  # type: ignore[arg-type]
    gradients(model)
    before = values(model)
    rest = [n for n in before if not n.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight"))]
    alone = [before[n].clone().requires_grad_() for n in rest]
    for copy, name in zip(alone, rest, strict=True):
        grad = dict(model.named_parameters())[name].grad
        assert grad is not None
        copy.grad = grad.clone()
    torch.optim.AdamW(alone, lr=0.003, betas=(0.9, 0.95), weight_decay=0.0, fused=True).step()
    optimizer.step()
    after = values(model)
    for copy, name in zip(alone, rest, strict=True):
        assert torch.equal(after[name], copy.detach()), name
    change = after["transformer.h.0.mlp.c_fc.weight"] - before["transformer.h.0.mlp.c_fc.weight"]
    out, width = change.shape
    factor = 0.01 * (size * max(out, width) ** 0.5 if size is not None else max(1, out / width) ** 0.5)
    singular = torch.linalg.svdvals(change.double()) / factor
    # directions that hardly any gradient points to stay behind
    assert float(singular.median()) > 0.7 and float(singular.max()) < 1.25


@pytest.mark.parametrize("at", [1, 7])
def test_a_run_goes_on_bit_for_bit(tmp_path: Path, at: int) -> None:
    words = ("data=digits", "data.limit=300", "model=mlp", "optimizer=muon", "trainer.epochs=2", "lr_schedule=cosine")
    whole = Interrupted(None, *words)
    assert Interrupted(tmp_path, *words, stop_after=at).outcome.ending == "killed"
    assert equal(whole.weights, Interrupted(tmp_path, *words).weights)


def test_a_network_learns() -> None:
    words = ("data=digits", "model=vit", "optimizer=muon", "optimizer.lr=0.01", "trainer.epochs=4")
    told = Interrupted(None, *words).told()
    assert max(r[2].get("val/accuracy", 0.0) for r in told) > 0.8


def test_a_network_without_hidden_matrices() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(144, 3))
    optimizer = muon()(parameter_groups(model, describe(model, torch.randn(2, 1, 8, 8))))
    assert isinstance(optimizer, Several) and len(optimizer.parts) == 1
