"""The Gram recursion: mean square, token cosine and gradient of a residual stream, branch by branch.

The stream of one sequence is summed up by G_ij = x_i·x_j/D, its gradient by K_ij = g_i·g_j/D (own derivation; the
diagonal and the mean off it are the recursions of Noci et al., NeurIPS 2022, and Cowsik et al., 2024). With Ĝ the Gram
matrix behind a norm and α the factor of a branch,

    pre    G ← λ²G + α² B(Ĝ)          B(Ĝ) = v_a A Ĝ Aᵀ   or   s₂² E[φ(u)φ(v)],  u, v ~ N(0, s₁² Ĝ)
    post   G ← norm(λ²G + α² B(G))
    peri   G ← λ²G + α² norm(B(Ĝ))

and backward, in reverse, K ← λ²K + α² B'(K) with B' the transposed maps: v_a Aᵀ K A and the path through the softmax,
or s₁² s₂² E[φ'(u)φ'(v)] ∘ K; a norm divides K_ij by √(G_ii G_jj). Weights of different branches are independent and of
mean zero, so that sums of streams and branches are sums of Gram matrices.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from initlab.spec import Activation
from initlab.theory.transformer.attention import Attended, Draws, attend, attend_backward
from initlab.theory.transformer.kernels import products, slope_products
from initlab.theory.transformer.network import Attention, Branch, Perceptron, Stream
from initlab.theory.transformer.norms import Normed, normalise

_SEED = 7_301


@dataclass(frozen=True, kw_only=True)
class StreamState:
    """The stream behind so many branches, mean over sequences.

    Attributes:
        mean_square: E x² of a feature. cosine: mean over pairs of different tokens.
        gradient: E g² of a feature over that at the end of the stream; NaN where no gradient was walked.
        entropy_ratio, logit_std: of the attention before it, NaN for another branch.
        ratio: root mean square of the branch before it, over that of the stream that it is added to; NaN at the start.
    """

    mean_square: float
    cosine: float
    gradient: float = math.nan
    entropy_ratio: float = math.nan
    logit_std: float = math.nan
    ratio: float = math.nan


@dataclass(frozen=True)
class _Step:
    """What the backward pass needs of one branch."""

    before: Normed
    end: Normed
    after: Normed
    inner: Attended | Tensor


def recursion(
    stream: Stream, gram: Tensor, *, gradient: Tensor | None = None, draws: int = 16, seed: int = 0,
    backward: bool = True,
) -> tuple[StreamState, ...]:  # fmt: skip
    """Predicts the stream behind every branch.

    Args:
        stream: the network.
        gram: (T, T) or (sequences, T, T), of the tokens that enter the first branch; see `embedding`.
        gradient: Gram matrix of the gradient at the end of the stream, like `gram`; by default the identity, an
            independent gradient at every token. A head on one token has a single entry, a mean pooling all ones.
        draws: of attention's weights a branch and sequence, where attention is not uniform.
        seed: of those.
        backward: whether the gradient is walked too.

    Returns:
        A state for the start and one behind each branch.

    Raises:
        KernelRangeError: where mean squares leave the range of floating point.

    Example:
        >>> from initlab import activations
        >>> from initlab.theory.transformer.network import Norm, uniform
        >>> net = uniform(
        ...     depth=8, width=128, norm=Norm(),
        ...     attention=Attention(q2=0, k2=0, v2=1, o2=1, heads=4, head=32, scale=32**-0.5, causal=True),
        ...     perceptron=Perceptron(activation=activations.gelu(), in2=1, out2=1),
        ... )
        >>> start = 0.1 + 0.9 * torch.eye(64, dtype=torch.float64)
        >>> round(recursion(net, start)[-1].mean_square, 2)
        8.25
    """
    grams = gram[None] if gram.dim() == 2 else gram
    ends = [None] * len(grams) if gradient is None else gradient[None] if gradient.dim() == 2 else gradient
    found = [
        _sequence(
            stream,
            g.double(),
            k if k is None else k.double(),
            Draws(draws, torch.Generator().manual_seed(_SEED + seed + i)),
            backward=backward,
        )
        for i, (g, k) in enumerate(zip(grams, ends, strict=True))
    ]
    return tuple(_mean(states) for states in zip(*found, strict=True))


def last_gram(stream: Stream, gram: Tensor, *, draws: int = 16, seed: int = 0) -> Tensor:
    """(T, T) at the end of the stream, for a start (T, T)."""
    found = Draws(draws, torch.Generator().manual_seed(_SEED + seed))
    grams = [gram.double()]
    for index, branch in enumerate(stream.branches):
        read = grams[index if branch.reads is None else branch.reads]
        grams.append(_forward(branch, grams[index], read, stream.width, found)[0])
    return grams[-1]


def _sequence(
    stream: Stream, start: Tensor, end: Tensor | None, draws: Draws, *, backward: bool
) -> list[StreamState]:  # fmt: skip
    grams, steps = [start], []
    facts: list[tuple[float, float, float]] = [(math.nan, math.nan, math.nan)]
    for index, branch in enumerate(stream.branches):
        read = grams[index if branch.reads is None else branch.reads]
        gram, step, ratio = _forward(branch, grams[index], read, stream.width, draws)
        grams.append(gram)
        steps.append(step)
        seen = step.inner
        facts.append(
            (seen.entropy_ratio, seen.logit_std, ratio) if isinstance(seen, Attended) else (math.nan, math.nan, ratio)
        )
    gradients = _backward(stream, steps, grams, end, draws) if backward else [g * math.nan for g in grams]
    return [
        StreamState(
            mean_square=float(g.diagonal().mean()),
            cosine=mean_cosine(g),
            gradient=float(k.diagonal().mean()),
            entropy_ratio=entropy,
            logit_std=std,
            ratio=ratio,
        )
        for g, k, (entropy, std, ratio) in zip(grams, gradients, facts, strict=True)
    ]


def _forward(branch: Branch, stream: Tensor, read: Tensor, width: int, draws: Draws) -> tuple[Tensor, _Step, float]:
    before = normalise(branch.before, read)
    inner = branch.inner
    if isinstance(inner, Attention):
        done: Attended | Tensor = attend(inner, before.gram, width=width, draws=draws)
        sent = done.gram
    else:
        sent, done = perceptron_forward(inner, before.gram)
    end = normalise(branch.end, sent)
    kept, added = branch.kept2 * stream, branch.factor2 * end.gram
    after = normalise(branch.after, kept + added)
    sizes = [float(x.diagonal().mean()) for x in (added, kept)]
    ratio = math.sqrt(sizes[0] / sizes[1]) if sizes[1] > 0 else math.inf
    return after.gram, _Step(before, end, after, done), ratio


def _backward(
    stream: Stream, steps: list[_Step], grams: list[Tensor], end: Tensor | None, draws: Draws
) -> list[Tensor]:
    """K behind every branch, the start first; the end has mean 1 on its diagonal."""
    last = torch.eye(grams[0].shape[-1], dtype=torch.float64) if end is None else end
    size = last.diagonal().mean()
    found = [torch.zeros_like(g) for g in grams]
    found[-1] = last / size if float(size) > 0 else last
    for index in range(len(steps) - 1, -1, -1):
        branch, step = stream.branches[index], steps[index]
        k = found[index + 1] * step.after.back
        found[index] = found[index] + branch.kept2 * k
        back = branch.factor2 * k * step.end.back
        inner = branch.inner
        if isinstance(inner, Attention):
            assert isinstance(step.inner, Attended)
            back = attend_backward(inner, step.inner, back, gram=step.before.gram, draws=draws)
        else:
            assert isinstance(step.inner, Tensor)
            back = step.inner * back
        at = index if branch.reads is None else branch.reads
        found[at] = found[at] + back * step.before.back
    return found


# ------------------------------------------------------------------ the perceptron
def perceptron_forward(p: Perceptron, gram: Tensor) -> tuple[Tensor, Tensor]:
    """(Gram matrix of the branch's output, factor of the gradient's Gram matrix), each (T, T).

    A gated activation h₁·gate(h₂) of independent h₁, h₂ has E[φφ'] = E[h₁h₁'] E[gate gate'] (Shazeer, 2020, has the
    form; the moments are own).
    """
    value = p.in2 * gram + p.bias2
    function = elementwise(p.activation)
    if p.activation.gate is None:
        sent = products(function, value)
        back = p.in2 * slope_products(function, value)
    else:
        gate2 = p.in2 if p.gate2 is None else p.gate2
        turned = gate2 * gram + p.bias2
        opened = products(function, turned)
        sent = value * opened
        back = p.in2 * opened + gate2 * value * slope_products(function, turned)
    return p.out2 * sent + p.out_bias2, p.out2 * back


def elementwise(activation: Activation) -> Activation:
    """The gate of a gated activation, or the activation itself."""
    return activation.gate or activation


def modelled(activation: Activation) -> bool:
    """Whether products of two tokens through it are known: not through a maximum of several units."""
    return activation.moments is None or activation.gate is not None or activation.units == (1, 2)


# ------------------------------------------------------------------ numbers of a Gram matrix
def mean_cosine(gram: Tensor) -> float:
    """Mean over i ≠ j of G_ij/√(G_ii G_jj); NaN for a single token."""
    root = gram.diagonal().clamp_min(1e-300).sqrt()
    cosines = gram / (root[:, None] * root[None, :])
    count = gram.shape[-1]
    return float((cosines.sum() - cosines.diagonal().sum()) / (count * (count - 1))) if count > 1 else math.nan


def _mean(states: tuple[StreamState, ...]) -> StreamState:
    def of(key: str) -> float:
        return sum(float(getattr(s, key)) for s in states) / len(states)

    return StreamState(
        **{k: of(k) for k in ("mean_square", "cosine", "gradient", "entropy_ratio", "logit_std", "ratio")}
    )
