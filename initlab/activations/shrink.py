"""Shrinkage functions: small values become zero, large ones pass. The proximal maps of sparse coding."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from initlab.activations.modules import from_torch, pointwise
from initlab.core.factories import factory
from initlab.spec import Activation, NonNegativeFloat


@factory
def hardshrink(*, lambd: NonNegativeFloat = 0.5) -> Activation:
    """φ(x) = x for |x| > λ, else 0; φ' = 1 or 0. Donoho & Johnstone, Biometrika 1994 (hard thresholding).

    Keeps large values unbiased, and jumps at ±λ; for unrolled sparse coding (ℓ₀).
    """

    def fn(x: Tensor) -> Tensor:
        return F.hardshrink(x, lambd)

    return from_torch("hardshrink", nn.Hardshrink, fn, lambd, kinks=(-float(lambd), float(lambd)))


@factory
def softshrink(*, lambd: NonNegativeFloat = 0.5) -> Activation:
    """φ(x) = sign(x)·max(|x| - λ, 0), φ' = 1[|x| > λ]. Donoho & Johnstone, 1994; Gregor & LeCun (LISTA), ICML 2010.

    The proximal map of λ|x|: one step of an unrolled lasso. Plain deep networks of it die out (χ_q = 1.47).
    """

    def fn(x: Tensor) -> Tensor:
        return F.softshrink(x, lambd)

    return from_torch("softshrink", nn.Softshrink, fn, lambd, kinks=(-float(lambd), float(lambd)))


@factory
def tanhshrink() -> Activation:
    """φ(x) = x - tanh x, φ' = tanh² x. A smooth shrinkage: about x³/3 near zero, x ∓ 1 far out.

    For sparse codes where gradients must exist; as a hidden layer small signals vanish (χ_q = 1.83).
    """
    # torch's own module takes the difference of numbers that are rounded to half precision
    return pointwise("tanhshrink", F.tanhshrink)
