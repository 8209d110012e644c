"""The Gram recursion against the reference's own figures, and against networks that are built and measured here."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from initlab import activations
from initlab.inits.transformer_depth import similarities
from initlab.theory.transformer import (
    Attention,
    Branch,
    Norm,
    Perceptron,
    Stream,
    embedded_moments,
    recursion,
    repetition,
    token_gram,
    uniform,
)
from initlab.theory.transformer.embedding import patch_gain2, patch_gram
from initlab.theory.transformer.gram import last_gram
from tests.theory.transformer.figures import figures, needs_figures


def net(row: Any, logit_gain2: float = 0.0) -> Stream:
    """The stream of a row of the reference."""
    width, depth = row["D"], row["L"]
    small = width * 0.02**2
    gains = {
        "gpt2": (small, small / (2 * depth), small, 4 * small / (2 * depth)),
        "lecun": (1.0, 1.0, 1.0, 1.0),
        "lecun_depth": (1.0, 1 / (2 * depth), 1.0, 1 / (2 * depth)),
        "he": (1.0, 1.0, 2.0, 1.0),
    }[row["init"]]
    attention = Attention(
        q2=logit_gain2, k2=logit_gain2, v2=gains[0], o2=gains[1], heads=4, head=width // 4,
        scale=(width // 4) ** -0.5, causal=True,
    )  # fmt: skip
    activation = activations.gelu() if row["act"] == "gelu" else activations.relu()
    return uniform(
        depth=depth, width=width, norm=Norm(kind="layer" if row["norm"] == "ln" else "rms", eps=0.0),
        norm_at=row["place"], attention=attention,
        perceptron=Perceptron(activation=activation, in2=gains[2], out2=gains[3]),
    )  # fmt: skip


def start(row: Any) -> torch.Tensor:
    size = 8e-4 if row["init"] == "gpt2" else 1.0
    return size * (0.1 + 0.9 * torch.eye(row["T"], dtype=torch.float64))


@needs_figures
def test_the_recursion_to_its_figures() -> None:
    for row in figures("gram")["rows"]:
        # the reference begins behind a final norm, where there is one
        end = _final_norm(net(row), start(row)) if row["place"] != "post" else None
        states = recursion(net(row), start(row), gradient=end)[::2]
        assert [s.mean_square for s in states] == pytest.approx(row["m_pred"], rel=1e-3, abs=6e-6)
        assert [s.cosine for s in states] == pytest.approx(row["rho_pred"], rel=1e-3, abs=6e-5)
        top = row["g_pred"][-1]
        assert [s.gradient for s in states] == pytest.approx([g / top for g in row["g_pred"]], rel=1.5e-3)


def _final_norm(stream: Stream, gram: torch.Tensor) -> torch.Tensor:
    """Gram matrix of the gradient that an independent one becomes behind a final norm: 1/G_ii at each token."""
    return (1 / last_gram(stream, gram).diagonal()).diag()


@needs_figures
def test_the_recursion_against_what_the_reference_measured() -> None:
    for row in figures("gram")["rows"]:
        if row["D"] not in (128, 512):
            continue
        logit = 0.09 if row["init"] != "gpt2" else row["D"] * 0.02**2
        stream = net(row, logit)
        m, rho, g = (0.1, 0.06, 0.2) if row["D"] == 128 else (0.04, 0.02, 0.07)
        end = _final_norm(stream, start(row)) if row["place"] != "post" else None
        states = recursion(stream, start(row), gradient=end)[::2]
        assert [s.mean_square for s in states] == pytest.approx(row["m_meas"], rel=m)
        assert [s.cosine for s in states] == pytest.approx(row["rho_meas"], abs=rho)
        top = row["g_meas"][-1]
        assert [s.gradient for s in states] == pytest.approx([x / top for x in row["g_meas"]], rel=g)


@needs_figures
def test_deepscalelm_holds_the_stream_at_one() -> None:
    for row in figures("deepscalelm")["rows"]:
        depth = row["L"]
        similar = similarities(2 * depth, start=0.221, dropout=0.0)
        branches: list[Branch] = []
        for i in range(2 * depth):
            gain2 = similar[i] ** -0.5
            inner: Attention | Perceptron = Attention(
                q2=1.0, k2=1.0, v2=gain2, o2=gain2, heads=4, head=row["D"] // 4, scale=(row["D"] // 4) ** -0.5,
                causal=False,
            )  # fmt: skip
            if i % 2:
                inner = Perceptron(activation=activations.relu(), in2=2**-0.5, out2=4 * 2**-0.5)
            branches.append(Branch(inner=inner, before=Norm(), kept2=1 - 1 / depth, factor2=1 / depth))
        gram = 0.221 + 0.779 * torch.eye(64, dtype=torch.float64)
        states = recursion(Stream(branches=tuple(branches), width=row["D"]), gram)[::2]
        assert max(abs(s.mean_square - 1) for s in states) < figures("deepscalelm")["tol"]
        assert states[-1].mean_square == pytest.approx(row["m_L"], abs=figures("deepscalelm")["tol"])
        assert states[-1].cosine == pytest.approx(row["rho_pred"], abs=0.01)
        assert states[-1].cosine == pytest.approx(row["rho"], abs=0.02)


@needs_figures
def test_t_fixup_holds_an_encoder_without_norms() -> None:
    """D = 128, 32 tokens: embeddings N(0, 1/D)·(9N)^{-1/4}·√D; without the factors the stream explodes."""
    for depth, measured in ((int(k), v) for k, v in figures("tfixup_run")["m_ratio"].items()):
        factor2 = (0.67 * depth**-0.25) ** 2
        embedded = (9 * depth) ** -0.5
        kept, without = (_encoder(depth, f, embedded if f != 1.0 else 1.0) for f in (factor2, 1.0))
        assert kept < 1.3
        assert kept == pytest.approx(measured, abs=0.03)
        assert without == pytest.approx(figures("tfixup_run")["without"][str(depth)], rel=0.6)


def _encoder(depth: int, factor2: float, size: float) -> float:
    """Growth of the mean square with Xavier's scale times `factor2` on values, ends and both perceptron matrices."""
    attention = Attention(q2=0.5, k2=0.5, v2=factor2, o2=factor2, heads=4, head=32, scale=32**-0.5, causal=False)
    # Xavier's variance 2/(D + 4D): s² = 2/5 and 4 · 2/5
    perceptron = Perceptron(activation=activations.relu(), in2=0.4 * factor2, out2=1.6 * factor2)
    stream = uniform(depth=depth, width=128, attention=attention, perceptron=perceptron)
    states = recursion(stream, size * torch.eye(32, dtype=torch.float64))
    return states[-1].mean_square / states[0].mean_square


@needs_figures
def test_patches() -> None:
    for scheme, predicted in figures("vit_patch")["pred"].items():
        assert patch_gain2(scheme, 49, 64) == pytest.approx(predicted, rel=1e-9)
        assert predicted == pytest.approx(figures("vit_patch")["meas"][scheme], abs=figures("vit_patch")["tol"])


def test_embedded_tokens() -> None:
    torch.manual_seed(0)
    tokens = torch.randint(7, (4, 48))
    table, places = 0.3 * torch.randn(7, 4096), 0.2 * torch.randn(48, 4096)
    seen = table[tokens] + places
    gram = (seen @ seen.mT / 4096).double()
    predicted = token_gram(tokens, token2=0.09, position2=0.04)
    assert float((gram - predicted).abs().max()) < 0.02
    size, cosine = embedded_moments(0.09, 0.04, repetition(tokens))
    assert size == pytest.approx(float(gram.diagonal(dim1=1, dim2=2).mean()), rel=0.03)
    off = (gram.sum() - gram.diagonal(dim1=1, dim2=2).sum()) / (4 * 48 * 47)
    assert cosine == pytest.approx(float(off) / size, abs=0.01)


def test_embedded_patches() -> None:
    torch.manual_seed(0)
    pixels = torch.randn(2, 9, 16) + 1.0  # a mean: the patches are alike
    weight, bias = 0.25 * torch.randn(4096, 16), 0.1 * torch.randn(4096)
    token, places = 0.02 * torch.randn(4096), 0.05 * torch.randn(10, 4096)
    seen = torch.cat([token.expand(2, 1, -1), pixels @ weight.T + bias], 1) + places
    gram = (seen @ seen.mT / 4096).double()
    predicted = patch_gram(pixels, weight2=0.0625, bias2=0.01, position2=0.0025, token2=0.0004)
    assert float((gram - predicted).abs().max()) < 0.12
    assert float(gram.mean()) == pytest.approx(float(predicted.mean()), rel=0.05)
