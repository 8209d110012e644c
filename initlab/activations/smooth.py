"""Smooth relatives of ReLU (GELU, SiLU, Mish, softplus): x times a gate that opens with x, or a rounded hinge."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from initlab.activations.modules import from_torch, pointwise
from initlab.activations.sigmoidal import inverse_root
from initlab.core.factories import factory
from initlab.spec import Activation, PositiveFloat


@factory
def gelu() -> Activation:
    """φ(x) = xΦ(x), φ'(x) = Φ(x) + xϕ(x), Φ and ϕ of the standard normal. Hendrycks & Gimpel, 2016.

    The default of transformers. At gain 1/√E[φ²] the variance map's fixed point is unstable (χ_q = 1.144): very deep
    plain networks need care.
    """
    return from_torch("gelu", nn.GELU, F.gelu)


@factory
def gelu_tanh() -> Activation:
    """φ(x) = x/2·(1 + tanh u), u = √(2/π)(x + 0.044715x³). Hendrycks & Gimpel, 2016, the form of GPT-2 and BERT.

    φ'(x) = (1 + tanh u)/2 + x/2·(1 - tanh² u)·√(2/π)(1 + 0.134145x²). Within 4.8e-4 of GELU; use it to match
    networks that were trained with it.
    """

    def make(features: int | None = None) -> nn.Module:
        del features
        return nn.GELU(approximate="tanh")

    def fn(x: Tensor) -> Tensor:
        return F.gelu(x, approximate="tanh")

    return Activation(name="gelu_tanh", make=make, fn=fn)


@factory
def quick_gelu(*, scale: PositiveFloat = 1.702) -> Activation:
    """φ(x) = xσ(1.702x), φ'(x) = σ + 1.702xσ(1 - σ), σ at 1.702x. Hendrycks & Gimpel, 2016; CLIP, ICML 2021.

    Within 0.021 of GELU at the cost of a sigmoid.
    """

    def fn(x: Tensor) -> Tensor:
        return x * torch.sigmoid(scale * x)

    return pointwise("quick_gelu", fn)


@factory
def golu() -> Activation:
    """φ(x) = x·exp(-exp(-x)), φ'(x) = (1 + x·exp(-x))·exp(-exp(-x)). Das et al., 2025 (arXiv 2502.03654).

    x times the Gumbel distribution function, which is not symmetric: less slope at 0 (1/e) than GELU's 1/2, and a
    steeper rise above. Needs more gain than GELU (1.77).
    """

    def fn(x: Tensor) -> Tensor:
        # below -20 the gate is 0 in every precision, and exp(-x) would become infinite
        return x * torch.exp(-torch.exp(-x.clamp(min=-20.0)))

    return pointwise("golu", fn)


@factory
def silu() -> Activation:
    """φ(x) = xσ(x), φ'(x) = σ(1 + x(1 - σ)). Elfwing et al., 2017 (also Swish-1, Ramachandran et al., 2017).

    The smooth choice of efficient convnets and of diffusion models; wants more gain than ReLU (1.68).
    """
    return from_torch("silu", nn.SiLU, F.silu)


@factory
def eswish(*, beta: PositiveFloat = 1.5) -> Activation:
    """φ(x) = βxσ(x), φ'(x) = βσ(1 + x(1 - σ)). Alcaide, 2018, who finds β from 1.25 to 1.75 good.

    SiLU times a constant: with gain=auto, which divides the constant out again, it is SiLU exactly.
    """

    def fn(x: Tensor) -> Tensor:
        return beta * F.silu(x)

    return pointwise("eswish", fn)


@factory
def hardswish() -> Activation:
    """φ(x) = x·min(max(x + 3, 0), 6)/6, φ' = 0, x/3 + 1/2, 1 below -3, between, above 3. Howard et al., ICCV 2019.

    SiLU for small devices (MobileNetV3); its derivative jumps by a half at ±3.
    """
    return from_torch("hardswish", nn.Hardswish, F.hardswish, kinks=(-3.0, 3.0))


@factory
def mish() -> Activation:
    """φ(x) = x·tanh(s), s = ln(1 + eˣ); φ' = tanh s + xσ(x)(1 - tanh² s). Misra, BMVC 2020.

    Between SiLU and ReLU; common in detectors (YOLOv4).
    """
    return from_torch("mish", nn.Mish, F.mish)


@factory
def hard_mish() -> Activation:
    """φ(x) = x/2·min(max(x + 2, 0), 2), φ' = 0, x + 1, 1 for x below -2, between, above 0. Wightman, timm, 2020.

    Mish without exponentials; its derivative jumps from 0 to -1 at -2.
    """

    def fn(x: Tensor) -> Tensor:
        return 0.5 * x * torch.clamp(x + 2, 0, 2)

    return pointwise("hard_mish", fn, kinks=(-2.0,))


@factory
def tanhexp() -> Activation:
    """φ(x) = x·tanh(eˣ), φ' = tanh(eˣ) + xeˣ(1 - tanh²(eˣ)). Liu & Di, 2020.

    Reaches the identity sooner than Mish (φ(1) = 0.99); proposed for small networks of vision.
    """

    def fn(x: Tensor) -> Tensor:
        # tanh(e¹⁰) is 1 to the last bit; an infinite exponential times a slope of zero would be NaN
        return x * torch.tanh(torch.exp(torch.clamp(x, max=10.0)))

    return pointwise("tanhexp", fn)


@factory
def serf() -> Activation:
    """φ(x) = x·erf(s), s = ln(1 + eˣ); φ' = erf s + 2/√π·xσ(x)·exp(-s²). Nag, Bhattacharyya et al., WACV 2023.

    Mish with erf in place of tanh, a little steeper.
    """

    def fn(x: Tensor) -> Tensor:
        return x * torch.erf(F.softplus(x))

    return pointwise("serf", fn)


@factory
def logish() -> Activation:
    """φ(x) = x·ln(1 + σ(x)), φ' = ln(1 + σ) + xσ(1 - σ)/(1 + σ). Zhu, Zheng, Wu & Liu, Neurocomputing 2021.

    Like SiLU with the slope ln 2 on the right; its gain is accordingly larger.
    """

    def fn(x: Tensor) -> Tensor:
        return x * torch.log1p(torch.sigmoid(x))

    return pointwise("logish", fn)


@factory
def smish() -> Activation:
    """φ(x) = x·tanh(ln(1 + σ(x))), φ' = tanh l + x(1 - tanh² l)σ(1 - σ)/(1 + σ), l = ln(1 + σ). Wang et al., 2022.

    Slope 0.6 on the right; proposed for EfficientNets, where a norm takes care of the scale.
    """

    def fn(x: Tensor) -> Tensor:
        return x * torch.tanh(torch.log1p(torch.sigmoid(x)))

    return pointwise("smish", fn)


@factory
def phish() -> Activation:
    """φ(x) = x·tanh(gelu(x)), φ' = tanh g + x(1 - tanh² g)g', g = xΦ(x). Naveen, 2022.

    Flat near zero (φ ≈ x²/2 there): small signals fade, so it needs a norm or a short path.
    """

    def fn(x: Tensor) -> Tensor:
        return x * torch.tanh(F.gelu(x))

    return pointwise("phish", fn)


@factory
def lisht() -> Activation:
    """φ(x) = x·tanh x, φ' = tanh x + x(1 - tanh² x). Roy, Manna, Dubey & Chaudhuri, 2019.

    A rounded absolute value: even and never negative.
    """

    def fn(x: Tensor) -> Tensor:
        return x * torch.tanh(x)

    return pointwise("lisht", fn)


@factory
def elish() -> Activation:
    """φ(x) = xσ(x) for x ≥ 0, (eˣ - 1)σ(x) below; φ' = σ(1 + x(1 - σ)) or σ(eˣ + (eˣ - 1)(1 - σ)).

    Basirat & Roth, 2018. Found by a genetic search over halves of known activations: SiLU on the right, a gated
    ELU on the left.
    """

    def fn(x: Tensor) -> Tensor:
        return torch.sigmoid(x) * torch.where(x >= 0, x, torch.expm1(torch.clamp(x, max=0.0)))

    return pointwise("elish", fn)


@factory
def softplus() -> Activation:
    """φ(x) = ln(1 + eˣ), φ' = σ(x). Dugas et al., 2001. A smooth ReLU; its positive mean grows through the layers.

    For outputs that must be positive (a variance, a rate) rather than for deep stacks: it has no critical point.
    """
    return from_torch("softplus", nn.Softplus, F.softplus)


@factory
def squareplus(*, b: PositiveFloat = 4.0) -> Activation:
    """φ(x) = (x + √(x² + b))/2, φ' = (1 + x/√(x² + b))/2. Barron, 2021.

    Softplus without exponentials; b = 4 gives it the curvature of softplus at zero, b → 0 a ReLU.
    """
    root = math.sqrt(b)

    def fn(x: Tensor) -> Tensor:
        # x + √(x² + b) cancels for x below zero; its product with √(x² + b) - x is b. Both branches are finite
        # everywhere, since a NaN of the branch not taken would reach the gradient.
        far = torch.where(x >= 0, x, -x)
        sum_ = far + torch.hypot(x, torch.full((), root, dtype=x.dtype, device=x.device))
        return torch.where(x >= 0, sum_ / 2, (b / 2) / sum_)

    return pointwise("squareplus", fn)


@factory
def bent_identity() -> Activation:
    """φ(x) = (√(x² + 1) - 1)/2 + x, φ' = x/(2√(x² + 1)) + 1. Slopes 1/2 and 3/2 at the two ends.

    Nearly linear, monotone and never flat: for regression and for probing how little nonlinearity a task needs.
    """

    def fn(x: Tensor) -> Tensor:
        # √(x² + 1) - 1 is x²/(1 + √(x² + 1)), which neither overflows nor cancels
        root = torch.hypot(x, torch.ones((), dtype=x.dtype, device=x.device))
        return x + x * (x / (1 + root)) / 2

    return pointwise("bent_identity", fn)


@factory
def isrlu(*, alpha: PositiveFloat = 1.0) -> Activation:
    """φ(x) = x for x ≥ 0, x/√(1 + αx²) below; φ' = 1 or (1 + αx²)^(-3/2). Carlile et al., 2017.

    ELU without exponentials, with two continuous derivatives; the left side ends at -1/√α.
    """

    left = inverse_root(alpha)

    def fn(x: Tensor) -> Tensor:
        return torch.where(x >= 0, x, left(torch.clamp(x, max=0.0)))

    return pointwise("isrlu", fn)
