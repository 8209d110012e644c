"""Attention as a map of Gram matrices, forward and backward, at any logit scale.

Given the tokens that reach it, queries and keys of one head are Gaussian: rows of Gram matrix s_q²G and s_k²G, in
`head` independent features. So the weights A can be drawn from the predicted Gram matrix alone, and with them

    forward    v_a E[A G Aᵀ]
    backward   v_a E[Aᵀ K A]  +  (s_q²/d) E[dq dqᵀ]  +  (s_k²/d) E[dk dkᵀ]

where v_a = s_v² s_o², dq and dk are the gradients of queries and keys through the softmax, from values and output
gradients that are Gaussian as well. Own derivation, exact for D → ∞ at finite head size and context. The tokens of
each draw are themselves drawn with D features: their products scatter by 1/√D, which tilts the softmax (the 1/D term
of Kedia et al., ICML 2024). Where the logits are small all of this is the uniform average A_ij = 1/n_i, as in Noci et
al., NeurIPS 2022."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from initlab.theory.transformer.network import Attention

#: below this variance of logits their effect on weights is below 1e-3, and attention is taken for uniform
UNIFORM = 1e-3
#: rows that see fewer keys say nothing about entropy
_FEW = 8


@dataclass(frozen=True)
class Attended:
    """What attention sends, and what its backward pass needs.

    Attributes:
        gram: (T, T) of the branch's output, the output's matrix included.
        weights: (draws, T, T); one draw where attention is uniform.
        entropy_ratio: mean over rows that see 8 keys or more of entropy over ln n.
        logit_std: mean over rows of the standard deviation over visible keys, before a soft cap.
        samples: what was drawn, None where attention is uniform.
    """

    gram: Tensor
    weights: Tensor
    entropy_ratio: float
    logit_std: float
    samples: Samples | None


@dataclass(frozen=True)
class Samples:
    """Draws of one head: queries and keys (draws, T, d), tokens' Gram (draws, T, T), slope of the soft cap."""

    queries: Tensor
    keys: Tensor
    tokens: Tensor
    slope: Tensor | None
    query_back: Tensor | None
    key_back: Tensor | None


def visible(length: int, *, causal: bool) -> Tensor:
    """(T, T) boolean: the keys that each token sees."""
    seen = torch.ones(length, length, dtype=torch.bool)
    return seen.tril() if causal else seen


def uniform_weights(length: int, *, causal: bool) -> Tensor:
    """(T, T): 1/n over the n visible keys."""
    seen = visible(length, causal=causal).double()
    return seen / seen.sum(-1, keepdim=True)


def root(gram: Tensor) -> Tensor:
    """R with R Rᵀ = gram, for positive semi-definite matrices (..., T, T), singular ones too."""
    values, vectors = torch.linalg.eigh((gram + gram.mT) / 2)
    return vectors * values.clamp_min(0.0).sqrt()[..., None, :]


@dataclass(frozen=True)
class Draws:
    """How many draws of a head are averaged over, and their generator."""

    count: int
    generator: torch.Generator


def attend(a: Attention, gram: Tensor, *, width: int, draws: Draws) -> Attended:
    """The Gram matrix of the branch's output.

    Args:
        gram: (T, T) float64, of the tokens that attention reads.
        width: features of a token, D.
        draws: of a head.
    """
    length = gram.shape[-1]
    # the square of queries' and keys' length multiplies the logits, but for a norm of theirs
    size = 1.0 if a.qk_norm is not None else float(gram.diagonal().mean()) ** 2
    if a.logit_variance * size < UNIFORM:
        weights = uniform_weights(length, causal=a.causal)[None]
        samples, ratio, std = None, 1.0, math.sqrt(a.logit_variance * size)
    else:
        weights, samples, ratio, std = _drawn(a, gram, width, draws)
    tokens = samples.tokens if samples is not None else gram
    mixed = (weights @ tokens @ weights.mT).mean(0)
    out = a.o2 * (a.v2 * mixed + a.value_bias2) + a.out_bias2
    return Attended(out, weights, ratio, std, samples)


def attend_backward(a: Attention, attended: Attended, gradient: Tensor, *, gram: Tensor, draws: Draws) -> Tensor:
    """(T, T): Gram matrix of the gradient with respect to the tokens that attention reads.

    Args:
        attended: of the forward pass.
        gradient: (T, T), of the branch's output.
        gram: (T, T), that was read.
    """
    weights, s = attended.weights, attended.samples
    found = a.v2 * a.o2 * (weights.mT @ gradient @ weights).mean(0)
    if s is None:
        return found
    head = s.queries.shape[-1]
    noise = [torch.randn(s.queries.shape, generator=draws.generator).double() for _ in range(2)]
    values = math.sqrt(a.v2) * (root(gram) @ noise[0])
    upper = math.sqrt(a.o2) * (root(gradient) @ noise[1])
    slopes = upper @ values.mT
    d_logits = weights * (slopes - (weights * slopes).sum(-1, keepdim=True)) * a.scale
    if s.slope is not None:
        d_logits = d_logits * s.slope
    for factor2, other, sent, turned in (
        (a.q2, s.keys, d_logits, s.query_back), (a.k2, s.queries, d_logits.mT, s.key_back)
    ):  # fmt: skip
        d = sent @ other
        if a.rope is not None:
            d = turn(d, a.rope, back=True)
        if turned is not None:  # through the norm of queries or keys
            own = s.queries if turned is s.query_back else s.keys
            own = turn(own, a.rope, back=True) if a.rope is not None else own
            d = (d - own * (d * own).mean(-1, keepdim=True)) * turned
        found = found + factor2 / head * (d @ d.mT).mean(0)
    return found


# ------------------------------------------------------------------ draws
def _drawn(a: Attention, gram: Tensor, width: int, draws: Draws) -> tuple[Tensor, Samples, float, float]:
    length = gram.shape[-1]

    def normal(*shape: int) -> Tensor:
        return torch.randn(draws.count, *shape, generator=draws.generator).double()

    tokens = root(gram) @ (_square_root(length, width, draws, normal) / math.sqrt(width))
    # the mean squares stay those of the Gram matrix: norms hold them, or they are sums of many branches
    sizes = tokens.square().sum(-1, keepdim=True).clamp_min(1e-300).sqrt()
    tokens = tokens * (gram.diagonal().clamp_min(0.0).sqrt()[:, None] / sizes)
    queries, keys = (math.sqrt(gain2) * (tokens @ normal(tokens.shape[-1], a.head)) for gain2 in (a.q2, a.k2))
    query_back = key_back = None
    if a.qk_norm is not None:
        queries, query_back = _normed(queries, a.qk_norm)
        keys, key_back = _normed(keys, a.qk_norm)
    if a.rope is not None:
        queries, keys = turn(queries, a.rope), turn(keys, a.rope)
    logits = a.scale * (queries @ keys.mT)
    seen = visible(length, causal=a.causal)
    std = _logit_std(logits, seen)
    slope = None
    if a.softcap is not None:
        bent = torch.tanh(logits / a.softcap)
        slope, logits = 1 - bent**2, a.softcap * bent
    log = logits.masked_fill(~seen, -math.inf).log_softmax(-1)
    weights = log.exp()
    count = seen.sum(-1)
    entropy = -(weights * log.masked_fill(~seen, 0.0)).sum(-1)
    many = count >= min(_FEW, length)
    ratio = float((entropy[:, many] / count[many].double().log().clamp_min(1e-9)).mean()) if length > 1 else 1.0
    samples = Samples(queries, keys, tokens @ tokens.mT, slope, query_back, key_back)
    return weights, samples, ratio, std


def _square_root(length: int, width: int, draws: Draws, normal: Callable[..., Tensor]) -> Tensor:
    """(draws, T, m) whose products of rows are those of T independent rows of `width` normals: m is the width, or T.

    Bartlett's decomposition of a Wishart matrix: a triangle of normals with roots of chi-square variables on its
    diagonal.
    """
    if width < length:
        return normal(length, width)
    freedom = (width - torch.arange(length, dtype=torch.float64)).expand(draws.count, -1)
    chi = (2 * torch._standard_gamma(freedom / 2, generator=draws.generator)).sqrt()  # pyright: ignore[reportPrivateUsage]
    return normal(length, length).tril(-1) + torch.diag_embed(chi)


def _normed(x: Tensor, kind: str) -> tuple[Tensor, Tensor]:
    """Rows of root mean square 1, and one over what they had."""
    x = x - x.mean(-1, keepdim=True) if kind == "layer" else x
    inverse = (x.square().mean(-1, keepdim=True) + 1e-5).rsqrt()
    return x * inverse, inverse


def _logit_std(logits: Tensor, seen: Tensor) -> float:
    count = seen.sum(-1).double()
    kept = logits.masked_fill(~seen, 0.0)
    mean = kept.sum(-1) / count
    variance = (kept.square().sum(-1) / count - mean**2).clamp_min(0.0)
    many = count > 1
    return float(variance[..., many].sqrt().mean()) if bool(many.any()) else 0.0


def turn(x: Tensor, base: float, *, back: bool = False) -> Tensor:
    """Rotary positions (Su et al., 2021): (..., T, d), features i and i + d/2 turned by position · base^(-2i/d)."""
    half = x.shape[-1] // 2
    rates = base ** (-torch.arange(half, dtype=torch.float64) / half)
    angles = torch.arange(x.shape[-2], dtype=torch.float64)[:, None] * rates * (-1 if back else 1)
    cos, sin = angles.cos(), angles.sin()
    first, second = x[..., :half], x[..., half:]
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)
