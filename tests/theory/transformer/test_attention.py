"""Entropy, weights and output of attention against real heads that the reference measured."""

from __future__ import annotations

import math

import pytest
import torch

from initlab.theory.transformer import Attention, critical_beta, output_second_moment, small_row, softmax_row
from initlab.theory.transformer.attention import Draws, attend, attend_backward, turn
from tests.theory.transformer.figures import figures, needs_figures


def head(beta2: float, *, causal: bool = False, **more: float | str | None) -> Attention:
    gain2 = math.sqrt(beta2)
    return Attention(q2=gain2, k2=gain2, v2=1.0, o2=1.0, heads=4, head=64, scale=0.125, causal=causal, **more)  # pyright: ignore[reportArgumentType]


def tokens(cosine: float, length: int) -> torch.Tensor:
    return cosine + (1 - cosine) * torch.eye(length, dtype=torch.float64)


@needs_figures
def test_independent_logits() -> None:
    for row in figures("attention")["rows"]:
        found = softmax_row(row["T"], row["beta2"] * (1 - row["rho"]))
        assert found.entropy == pytest.approx(row["entropy_iid_mc"], rel=0.03)
        assert found.s2 == pytest.approx(row["S2_iid_mc"], rel=0.1)
        if row["rho"] == 0.0 and row["T"] == 64:
            assert found.entropy == pytest.approx(row["entropy"], rel=0.04)
            assert found.s2 == pytest.approx(row["S2"], rel=0.1)


@needs_figures
def test_output_of_a_head() -> None:
    """The closed form, to the reference's figures; the correlated draws, to what was measured."""
    for row in figures("attention")["rows"]:
        closed = output_second_moment(
            row["S2_iid_mc"], row["rho"], value_gain2=1.0, logit_gain2=row["beta2"], width=256
        )
        assert closed == pytest.approx(row["out_pred"], rel=5e-3)
        # of 16 draws the entropy scatters by 1 %, and processors draw other numbers
        draws = Draws(32, torch.Generator().manual_seed(0))
        drawn = attend(head(row["beta2"]), tokens(row["rho"], row["T"]), width=256, draws=draws)
        measured = row["out_second_moment_rows_T2_to_T"]
        # at ρ = 0.5 the twelve seeds' mean cosine scatters by 5 to 7 %, as β² → 0 shows
        assert float(drawn.gram.diagonal().mean()) == pytest.approx(measured, rel=0.06 if row["rho"] == 0 else 0.08)
        # at β² = 36 and ρ = 0.5 independent logits are 9 % high too: what was measured has large logits by chance
        assert drawn.entropy_ratio * math.log(row["T"]) == pytest.approx(row["entropy"], rel=0.15)
        if row["beta2"] <= 4 and row["T"] == 64:
            assert drawn.entropy_ratio * math.log(row["T"]) == pytest.approx(row["entropy"], rel=0.03)


@needs_figures
def test_uniform_causal_rows() -> None:
    for length, ratio in figures("attention")["uniform_causal_entropy_ratio"].items():
        n = int(length)
        assert sum(math.log(i) for i in range(1, n + 1)) / n / math.log(n) == pytest.approx(ratio)
        found = attend(
            head(0.0, causal=True), tokens(0.0, n), width=256, draws=Draws(1, torch.Generator().manual_seed(0))
        )
        # every row is divided by the entropy of what it sees: uniform attention has ratio 1
        assert found.entropy_ratio == 1.0


def test_causal_uniform_correlation() -> None:
    """Rows i < k of uncorrelated tokens have output correlation √(i/k)."""
    found = attend(
        head(0.0, causal=True), tokens(0.0, 32), width=256, draws=Draws(1, torch.Generator().manual_seed(0))
    ).gram
    for i, k in ((3, 17), (8, 32)):
        cosine = float(found[i - 1, k - 1] / (found[i - 1, i - 1] * found[k - 1, k - 1]).sqrt())
        assert cosine == pytest.approx(math.sqrt(i / k))


def test_small_logits_have_closed_forms() -> None:
    assert softmax_row(256, 0.25).entropy == pytest.approx(small_row(256, 0.25).entropy, rel=0.01)
    assert softmax_row(256, 0.25).s2 == pytest.approx(small_row(256, 0.25).s2, rel=0.02)
    assert critical_beta(64) == pytest.approx(2.884, abs=1e-3)
    # far beyond β_c one key takes most of the weight
    assert softmax_row(64, 400.0).s2 > 0.8


@pytest.mark.parametrize(
    "options",
    [
        {"causal": True},
        {"causal": False, "softcap": 1.0},
        {"causal": True, "qk_norm": "rms"},
        {"causal": True, "rope": 1e4},
    ],
)
def test_forward_and_backward_against_autograd(options: dict[str, object]) -> None:
    """A real head of independent Gaussian matrices, many draws: output and gradient of the tokens, at β² = 4."""
    a = head(4.0, **options)  # pyright: ignore[reportArgumentType]
    length, width, size = 16, 512, 512
    torch.manual_seed(0)
    gram = tokens(0.3, length)
    upper = tokens(0.2, length)
    out, gradient = torch.zeros(length, length).double(), torch.zeros(length, length).double()
    trials = 60
    for _ in range(trials):
        x = torch.linalg.cholesky(gram) @ torch.randn(length, width).double()
        x = (x * (width**0.5 / x.norm(dim=1, keepdim=True))).requires_grad_()
        y = _real(a, x, size)
        g = torch.linalg.cholesky(upper) @ torch.randn(length, width).double()
        (back,) = torch.autograd.grad((y * g).sum(), x)
        out += (y @ y.T).detach() / width / trials
        gradient += back @ back.T / width / trials
    draws = Draws(200, torch.Generator().manual_seed(1))
    said = attend(a, gram, width=width, draws=draws)
    walked = attend_backward(a, said, upper, gram=gram, draws=draws)
    for predicted, measured in ((said.gram, out), (walked, gradient)):
        scale = float(measured.diagonal().mean())
        assert float(predicted.diagonal().mean()) == pytest.approx(scale, rel=0.08)
        assert float(predicted.mean()) == pytest.approx(float(measured.mean()), rel=0.12)
        assert float((predicted - measured).abs().mean()) < 0.06 * scale


def _real(a: Attention, x: torch.Tensor, width: int) -> torch.Tensor:
    def matrix(gain2: float) -> torch.Tensor:
        return math.sqrt(gain2 / width) * torch.randn(width, width, dtype=torch.float64)

    q, k, v = ((x @ matrix(g).T).view(len(x), width // a.head, a.head).transpose(0, 1) for g in (a.q2, a.k2, a.v2))
    if a.qk_norm:
        q, k = (t * (t.square().mean(-1, keepdim=True) + 1e-5).rsqrt() for t in (q, k))
    if a.rope:
        q, k = turn(q, a.rope), turn(k, a.rope)
    logits = a.scale * (q @ k.mT)
    if a.softcap:
        logits = a.softcap * torch.tanh(logits / a.softcap)
    if a.causal:
        logits = logits.masked_fill(torch.ones(len(x), len(x), dtype=torch.bool).triu(1), -math.inf)
    return (logits.softmax(-1) @ v).transpose(0, 1).reshape(len(x), width) @ matrix(a.o2).T
