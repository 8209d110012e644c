"""Sigmoid-shaped activations: bounded, or flattening on both sides."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from initlab.activations.modules import from_torch, in_single_precision, pointwise
from initlab.core.factories import factory
from initlab.errors import ConfigError
from initlab.spec import Activation, ElementwiseFn, PositiveFloat


@factory
def sigmoid() -> Activation:
    """φ(x) = 1/(1 + e⁻ˣ), φ' = φ(1 - φ) ≤ 1/4. The logistic function, Verhulst, 1838; Rumelhart et al., Nature 1986.

    For gates; hidden layers vanish unless σ_w ≈ 10.
    """
    return from_torch("sigmoid", nn.Sigmoid, F.sigmoid, torch_name="sigmoid")


@factory
def tanh() -> Activation:
    """φ(x) = tanh x, φ' = 1 - tanh² x. LeCun et al., 1998; goes with init=xavier (Glorot & Bengio, 2010).

    Odd and bounded: the one whose theory is best known. Saturates where weights are large.
    """
    return from_torch("tanh", nn.Tanh, F.tanh, torch_name="tanh")


@factory
def lecun_tanh() -> Activation:
    """φ(x) = 1.7159·tanh(2x/3), φ'(x) = 1.1439·(1 - tanh²(2x/3)). LeCun, Bottou, Orr & Müller, 1998.

    Scaled so that φ(±1) = ±1 and the variance of standardised inputs is about kept with gain 1 (init=lecun).
    """

    def fn(x: Tensor) -> Tensor:
        return 1.7159 * torch.tanh(x * (2 / 3))

    return pointwise("lecun_tanh", fn)


@factory
def hardtanh(*, min_val: float = -1.0, max_val: float = 1.0) -> Activation:
    """φ(x) = x cut off at [min, max], φ' = 1 inside, 0 outside. Collobert, 2004.

    A tanh of a comparison's cost, for binarised and quantised networks; beyond the bounds nothing is learnt.
    """
    if not min_val < max_val:
        raise ConfigError("activation.min_val", min_val, f"must be less than activation.max_val={max_val}")

    def fn(x: Tensor) -> Tensor:
        return F.hardtanh(x, min_val, max_val)

    return from_torch("hardtanh", nn.Hardtanh, fn, min_val, max_val, kinks=(float(min_val), float(max_val)))


@factory
def hardsigmoid() -> Activation:
    """φ(x) = min(max(x/6 + 1/2, 0), 1), φ' = 1/6 for |x| < 3. Courbariaux et al., 2015; Howard et al., ICCV 2019.

    A gate without exponentials, for small devices.
    """

    def fn(x: Tensor) -> Tensor:
        # torch's own hardsigmoid has the slope 1/6 of single precision in its backward pass, also in double
        return F.relu6(x + 3) / 6

    return from_torch("hardsigmoid", nn.Hardsigmoid, in_single_precision(fn), kinks=(-3.0, 3.0))


@factory
def softsign() -> Activation:
    """φ(x) = x/(1 + |x|), φ' = 1/(1 + |x|)². Turian, Bergstra & Bengio, 2009; Glorot & Bengio, AISTATS 2010.

    Approaches its bounds like 1/x instead of exponentially: gradients of saturated units stay measurable.
    """
    return from_torch("softsign", nn.Softsign, F.softsign)


@factory
def logsigmoid() -> Activation:
    """φ(x) = ln σ(x) = -ln(1 + e⁻ˣ), φ' = σ(-x). A log-likelihood rather than a hidden unit.

    The mirror image of softplus. Its mean is far from zero (-0.81), which grows through the layers.
    """
    return from_torch("logsigmoid", nn.LogSigmoid, F.logsigmoid)


@factory
def arctan() -> Activation:
    """φ(x) = arctan x, φ' = 1/(1 + x²). Kamruzzaman & Aziz, 2002.

    Between tanh and softsign: bounded by ±π/2, with a slope that falls like 1/x².
    """
    return pointwise("arctan", torch.arctan)


@factory
def asinh() -> Activation:
    """φ(x) = ln(x + √(1 + x²)), φ' = 1/√(1 + x²). Linear near zero, logarithmic far out.

    Odd and unbounded: compresses heavy tails without ever saturating. For regression over many orders of magnitude.
    """
    return pointwise("asinh", torch.asinh)


@factory
def erf() -> Activation:
    """φ(x) = 2/√π ∫₀ˣ exp(-t²) dt, φ' = 2/√π·exp(-x²). Williams, NeurIPS 1997 (infinite networks).

    All of its Gaussian expectations have closed forms, so theory and experiment meet without quadrature.
    """
    return pointwise("erf", torch.erf)


@factory
def isru(*, alpha: PositiveFloat = 1.0) -> Activation:
    """φ(x) = x/√(1 + αx²), φ' = (1 + αx²)^(-3/2). Carlile, Delamarter, Kinney, Marti & Whitney, 2017.

    An S without exponentials, bounded by ±1/√α; for recurrent gates on slow processors.
    """
    return pointwise("isru", inverse_root(alpha))


def inverse_root(alpha: float) -> ElementwiseFn:
    """x/√(1 + αx²), whose square does not overflow."""
    root = math.sqrt(alpha)

    def fn(x: Tensor) -> Tensor:
        return x / torch.hypot(root * x, torch.ones((), dtype=x.dtype, device=x.device))

    return fn
