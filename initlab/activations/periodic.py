"""Periodic and bump-shaped activations (sine, cosine, snake, Gaussian), not monotone."""

from __future__ import annotations

import torch
from torch import Tensor

from initlab.activations.modules import pointwise
from initlab.core.factories import factory
from initlab.spec import Activation, PositiveFloat


@factory
def sin(*, w0: PositiveFloat = 1.0) -> Activation:
    """φ(x) = sin(w₀x), φ' = w₀cos(w₀x). Sitzmann et al. (SIREN), NeurIPS 2020, with w₀ = 30.

    For networks of coordinates (images, sound, fields) and their derivatives. With w₀ = 30 weights must be 30 times
    smaller (SIREN's own law) or neighbouring inputs decorrelate at once.
    """

    def fn(x: Tensor) -> Tensor:
        return torch.sin(w0 * x)

    return pointwise("sin", fn)


@factory
def cos() -> Activation:
    """φ(x) = cos x, φ' = -sin x. Rahimi & Recht, NeurIPS 2007 (random Fourier features).

    One layer with random phases is a kernel machine; even, so a deep stack of it forgets signs.
    """
    return pointwise("cos", torch.cos)


@factory
def snake(*, a: PositiveFloat = 1.0) -> Activation:
    """φ(x) = x + sin²(ax)/a, φ' = 1 + sin(2ax). Ziyin, Hartwig & Ueda, NeurIPS 2020.

    Learns periods that it extrapolates, and keeps a linear trend; used in neural vocoders.
    """

    def fn(x: Tensor) -> Tensor:
        return x + torch.sin(a * x).square() / a

    return pointwise("snake", fn)


@factory
def gcu() -> Activation:
    """φ(x) = x·cos x, φ' = cos x - x·sin x. Noel, Arunkumar, Trivedi & Dutta (growing cosine unit), 2021.

    One such unit can separate XOR; the oscillation grows with |x|, so inputs must stay small.
    """

    def fn(x: Tensor) -> Tensor:
        return x * torch.cos(x)

    return pointwise("gcu", fn)


@factory
def gaussian() -> Activation:
    """φ(x) = exp(-x²/2), φ' = -x·exp(-x²/2). Broomhead & Lowe, 1988; Ramasinghe & Lucey, ECCV 2022.

    A local bump: for networks of coordinates without SIREN's special initialisation.
    """

    def fn(x: Tensor) -> Tensor:
        return torch.exp(-x.square() / 2)

    return pointwise("gaussian", fn)
