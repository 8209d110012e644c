"""Rank collapse in closed form: cosine of tokens, the residual strength that prevents it, exponents of the gradient.

A stream collapses in rank where its tokens become alike: without residual branches and perceptrons doubly
exponentially (Dong, Cordonnier & Loukas, ICML 2021), with uniform attention at the first layer. The closed forms below
are for uniform full attention, the recursion of `gram` for everything else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from initlab.spec import Activation
from initlab.theory.quadrature import moments_of


@dataclass(frozen=True, kw_only=True)
class Skip:
    """Tokens under residual attention alone, mean square m and cosine ρ behind the last block."""

    mean_square: float
    cosine: float


def attention_only(depth: int, *, branch2: float, value_gain2: float, cosine: float, length: int) -> Skip:
    """Residual uniform full attention without norm and perceptron, from mean square 1 (Noci et al., NeurIPS 2022).

    With ḡ = ρ₀ + (1-ρ₀)/T: ḡ ← ḡ(1 + α²v_a), and mean square and products of two tokens both grow by α²v_aḡ. Their
    recursion, in closed form (own derivation). α² = 1/L leaves a cosine below 1 at any depth, α = 1 does not.

    Args:
        depth: blocks, L.
        branch2: α². value_gain2: v_a = s_v² s_o².
        cosine: ρ₀. length: tokens, T.

    Example:
        >>> round(attention_only(32, branch2=1 / 32, value_gain2=1.0, cosine=0.1, length=32).cosine, 4)
        0.2592
    """
    mean = cosine + (1 - cosine) / length
    grown = mean * math.expm1(depth * math.log1p(branch2 * value_gain2))
    return Skip(mean_square=1 + grown, cosine=(cosine + grown) / (1 + grown))


def attention_only_limit(*, value_gain2: float, cosine: float, length: int) -> float:
    """Cosine for L → ∞ at α² = 1/L: (ρ₀ + ḡ(e^{v_a} - 1))/(1 + ḡ(e^{v_a} - 1))."""
    grown = (cosine + (1 - cosine) / length) * math.expm1(value_gain2)
    return (cosine + grown) / (1 + grown)


@dataclass(frozen=True, kw_only=True)
class Angle:
    """What a post-norm block does to nearly equal tokens under uniform full attention.

    Attributes:
        second: V = s₂² E[φ²]. slope: χ = s₁² s₂² E[φ'²], at mean square s₁².
        kappa: κ = (a_m² + χ)/(a_m² + V), the factor of 1 - ρ through the perceptron branch.
        exponent: λ_a, change of ln(1 - ρ) a block: below 0 tokens collapse.
        critical: a_c, strength of the skip around attention above which they do not; inf where none suffices (κ ≤ 1).
        incoherent, coherent: factors of the squared gradient a block, of the part that differs between tokens and of
            that which all share.
    """

    second: float
    slope: float
    kappa: float
    exponent: float
    critical: float
    incoherent: float
    coherent: float

    def log_gradient(self, depth: int, length: int) -> float:
        """ln of E g² `depth` blocks below an independent unit gradient at each of `length` tokens: both modes.

        (1 - 1/T) incoherent^L + coherent^L/T. The first mode alone has the wrong sign where the skip is weak.
        """
        first = math.log1p(-1 / length) + depth * math.log(self.incoherent)
        second = depth * math.log(self.coherent) - math.log(length)
        high, low = max(first, second), min(first, second)
        return high + math.log1p(math.exp(low - high))


def angle(
    activation: Activation, *, in2: float, out2: float, value_gain2: float, skip2: float = 1.0, mlp_skip2: float = 1.0
) -> Angle:
    """Angle and gradient exponents of a post-norm block near ρ = 1.

    λ_a = ln[a_a²/(a_a² + v_a)] + ln κ and a_c² = v_a/(κ - 1): own derivation; λ_a plays the part of the angle exponent
    of Cowsik et al., 2024 (arXiv 2403.02579), a_c that of the critical residual strength of Giorlandino & Goldt, 2025
    (arXiv 2505.24333). ReLU has κ = 1, so that no skip prevents the collapse of a post-norm stream.

    Args:
        activation: elementwise.
        in2, out2: s₁², s₂². value_gain2: v_a.
        skip2, mlp_skip2: a_a², a_m², squares of the stream's factor over the branch's.

    Example:
        >>> from initlab import activations
        >>> round(angle(activations.tanh(), in2=9.0, out2=1.0, value_gain2=0.25).critical, 3)
        0.728
    """
    m = moments_of(activation, q=in2)
    second, slope = out2 * m.second, in2 * out2 * m.slope_second
    kappa = (mlp_skip2 + slope) / (mlp_skip2 + second)
    share = skip2 / (skip2 + value_gain2)
    critical = math.sqrt(value_gain2 / (kappa - 1)) if kappa > 1 + 1e-9 else math.inf
    exponent = (math.log(share) if share > 0 else -math.inf) + math.log(kappa)
    return Angle(
        second=second, slope=slope, kappa=kappa, exponent=exponent, critical=critical, incoherent=kappa * share,
        coherent=kappa,
    )  # fmt: skip
