"""A transformer as theory sees it: residual branches in a row, each with the scales of its matrices.

Scales are gains: s² = fan_in · E[W²] of a matrix, so that a token of mean square 1 becomes one of mean square s². They
are those of the network's actual weights, whichever initialiser drew them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from initlab.spec import Activation

NormKind = Literal["layer", "rms", "dyt", "derf", "none"]


@dataclass(frozen=True, kw_only=True)
class Norm:
    """What stands before, at the end of, or behind a branch.

    Attributes:
        kind: ``layer`` and ``rms`` bring each token to mean square 1; ``dyt`` is γ·tanh(αx) + β (Zhu et al., 2025),
            ``derf`` γ·erf(αx) + β (Chen et al., 2025); ``none`` is the identity.
        gain2: mean square of γ. shift2: mean square of β.
        alpha: α of ``dyt`` and ``derf``.
        eps: that is added to the mean square.
    """

    kind: NormKind = "layer"
    gain2: float = 1.0
    shift2: float = 0.0
    alpha: float = 0.5
    eps: float = 1e-5


NO_NORM = Norm(kind="none")


@dataclass(frozen=True, kw_only=True)
class Attention:
    """Self-attention of `heads` heads of `head` features each.

    Attributes:
        q2, k2, v2, o2: gains s² of queries, keys, values and the output's matrix.
        scale: factor of the logits.
        causal: whether a token sees only itself and those before it.
        softcap: c of c·tanh(logit/c).
        qk_norm: norm of queries and keys in each head; its gains are taken into `scale`.
        rope: base of rotary positions, None without.
        value_bias2, out_bias2: mean squares of biases.
    """

    q2: float
    k2: float
    v2: float
    o2: float
    heads: int
    head: int
    scale: float
    causal: bool
    softcap: float | None = None
    qk_norm: Literal["layer", "rms"] | None = None
    rope: float | None = None
    value_bias2: float = 0.0
    out_bias2: float = 0.0

    @property
    def logit_variance(self) -> float:
        """Variance of a logit between uncorrelated tokens of mean square 1."""
        size = self.head * self.scale**2
        return size if self.qk_norm is not None else self.q2 * self.k2 * size


@dataclass(frozen=True, kw_only=True)
class Perceptron:
    """A perceptron branch: matrix, activation, matrix.

    Attributes:
        activation: of the catalogue; of a gated one, h₁·gate(h₂), the gate is read from it.
        in2: gain s₁² of the first matrix (of what the gate multiplies, where there is one).
        out2: gain s₂² of the second.
        gate2: gain of the gate's rows; of the first matrix where it is None.
        bias2, out_bias2: mean squares of the biases.
    """

    activation: Activation
    in2: float
    out2: float
    gate2: float | None = None
    bias2: float = 0.0
    out_bias2: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Branch:
    """One residual branch: x ← after(λx + α·end(inner(before(x)))).

    Attributes:
        kept2: λ². factor2: α², of a learnable vector its mean square.
        reads: the branches that are finished in the stream that it reads; None for all before it (parallel branches
            read the same stream).
        name: of the module, for messages.
    """

    inner: Attention | Perceptron
    before: Norm = NO_NORM
    end: Norm = NO_NORM
    after: Norm = NO_NORM
    kept2: float = 1.0
    factor2: float = 1.0
    reads: int | None = None
    name: str = ""


@dataclass(frozen=True, kw_only=True)
class Stream:
    """The residual stream of a transformer.

    Attributes:
        branches: in the order of the forward pass.
        width: features of a token, D.
        ends: for each block, the number of branches that are finished behind it.
        unknown: what the network does that the recursion does not model; where there is any, nothing is claimed.
    """

    branches: tuple[Branch, ...]
    width: int
    ends: tuple[int, ...] = ()
    unknown: tuple[str, ...] = field(default=())

    @property
    def blocks(self) -> tuple[int, ...]:
        """`ends`, or a block for every two branches."""
        return self.ends or tuple(range(2, len(self.branches) + 1, 2))

    def first_attention(self) -> Attention | None:
        """The attention of the first block that has one."""
        return next((b.inner for b in self.branches if isinstance(b.inner, Attention)), None)


def uniform(
    *, depth: int, width: int, attention: Attention, perceptron: Perceptron, norm: Norm = NO_NORM,
    norm_at: Literal["pre", "post", "peri"] = "pre", factor2: float = 1.0, kept2: float = 1.0,
) -> Stream:  # fmt: skip
    """A stream of `depth` equal blocks.

    Example:
        >>> from initlab import activations
        >>> attention = Attention(q2=1, k2=1, v2=1, o2=1, heads=4, head=32, scale=32**-0.5, causal=True)
        >>> perceptron = Perceptron(activation=activations.gelu(), in2=1, out2=1)
        >>> len(uniform(depth=3, width=128, attention=attention, perceptron=perceptron, norm=Norm()).branches)
        6
    """
    before = norm if norm_at != "post" else NO_NORM
    end = norm if norm_at == "peri" else NO_NORM
    after = norm if norm_at == "post" else NO_NORM
    first = Branch(inner=attention, before=before, end=end, after=after, kept2=kept2, factor2=factor2)
    return Stream(branches=(first, replace(first, inner=perceptron)) * depth, width=width)
