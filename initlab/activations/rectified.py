"""ReLU and its variants: the positive side is kept, the negative one is changed."""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import Gt
from torch import Tensor, nn

from initlab.activations.modules import from_torch, pointwise
from initlab.core.factories import factory
from initlab.errors import ConfigError
from initlab.spec import Activation, NonNegativeFloat, PositiveFloat


class IdentityActivation(nn.Identity):
    """An identity that stands where an activation stands; torch's own is also used for shortcuts and removed layers."""

    initlab_activation = True


def _same(x: Tensor) -> Tensor:
    return x


@factory
def identity() -> Activation:
    """φ(x) = x, φ'(x) = 1. A deep linear network: the model of Saxe et al., ICLR 2014, for learning dynamics."""
    return from_torch("identity", IdentityActivation, _same, torch_name="linear")


@factory
def relu() -> Activation:
    """φ(x) = max(x, 0), φ'(x) = 1[x > 0]. Glorot, Bordes & Bengio, AISTATS 2011. Goes with He's gain √2.

    The default. Cheap and scale-free; units can die, which a smaller learning rate or a leaky slope prevents.
    """
    return from_torch("relu", nn.ReLU, F.relu, kinks=(0.0,), torch_name="relu")


@factory
def relu6() -> Activation:
    """φ(x) = min(max(x, 0), 6), φ'(x) = 1[0 < x < 6]. Krizhevsky, 2010; Howard et al. (MobileNets), 2017.

    For networks that will run in few bits: the bound keeps activations representable.
    """
    return from_torch("relu6", nn.ReLU6, F.relu6, kinks=(0.0, 6.0))


@factory
def leaky_relu(*, negative_slope: NonNegativeFloat = 0.01) -> Activation:
    """φ(x) = max(x, 0) + a·min(x, 0), φ' = 1 or a. Maas, Hannun & Ng, 2013. A unit cannot die while a > 0."""

    def fn(x: Tensor) -> Tensor:
        return F.leaky_relu(x, negative_slope)

    return from_torch(
        "leaky_relu",
        nn.LeakyReLU,
        fn,
        negative_slope,
        kinks=(0.0,),
        torch_name="leaky_relu",
        torch_param=negative_slope,
    )


@factory
def rrelu(*, lower: NonNegativeFloat = 1 / 8, upper: NonNegativeFloat = 1 / 3) -> Activation:
    """φ(x) = x or a·x below zero, a drawn from [lower, upper] for every value in training, its mean in evaluation.

    φ'(x) = 1 or a. Xu, Wang, Chen & Li, 2015. A leaky ReLU with noise, for small data sets that overfit.
    """
    if lower > upper:
        raise ConfigError("activation.lower", lower, f"must be at most activation.upper={upper}")
    mean = (lower + upper) / 2

    def fn(x: Tensor) -> Tensor:
        return F.leaky_relu(x, mean)

    return from_torch("rrelu", nn.RReLU, fn, lower, upper, kinks=(0.0,))


@factory
def elu(*, alpha: Annotated[float, Gt(0)] = 1.0) -> Activation:
    """φ(x) = x for x > 0, α(eˣ - 1) below; φ' = 1 or αeˣ. Clevert, Unterthiner & Hochreiter, ICLR 2016.

    Its negative values bring the mean of a layer near zero; smooth at zero only with α = 1.
    """

    def fn(x: Tensor) -> Tensor:
        return F.elu(x, alpha)

    return from_torch("elu", nn.ELU, fn, alpha, kinks=() if alpha == 1 else (0.0,))


@factory
def selu() -> Activation:
    """φ = λ·elu_α with λ = 1.0507009873554805, α = 1.6732632423543772; φ' = λ or λαeˣ. Klambauer et al., NeurIPS 2017.

    Keeps mean 0 and variance 1 by itself, but only with LeCun's initialisation (gain 1); He's gain makes it diverge.
    """
    return from_torch("selu", nn.SELU, F.selu, kinks=(0.0,), torch_name="selu")


@factory
def celu(*, alpha: PositiveFloat = 1.0) -> Activation:
    """φ(x) = x for x > 0, α(exp(x/α) - 1) below; φ' = 1 or exp(x/α). Barron, 2017.

    ELU with a derivative that is continuous for every α: choose it where α is a hyper-parameter.
    """

    def fn(x: Tensor) -> Tensor:
        return F.celu(x, alpha)

    return from_torch("celu", nn.CELU, fn, alpha)


@factory
def threshold(*, threshold: float = 1.0, value: float = 0.0) -> Activation:
    """φ(x) = x for x > θ, else v; φ' = 1 or 0. Konda, Memisevic & Krueger, ICLR 2015 (θ = 1, v = 0).

    Truncates instead of shrinking, for sparse codes without a bias; it jumps at θ, and the gradient does not see that.
    """

    def fn(x: Tensor) -> Tensor:
        return F.threshold(x, threshold, value)

    return from_torch("threshold", nn.Threshold, fn, threshold, value, kinks=(float(threshold),))


@factory
def squared_relu() -> Activation:
    """φ(x) = max(x, 0)², φ'(x) = 2·max(x, 0). So et al. (Primer), NeurIPS 2021.

    For the wide layers of transformers, which have norms. Not scale-free: without a norm the signal of a deep network
    explodes or dies (χ_q = 2).
    """

    def fn(x: Tensor) -> Tensor:
        return F.relu(x).square()

    return pointwise("squared_relu", fn)


@factory
def squared_leaky_relu(*, slope: NonNegativeFloat = 0.5) -> Activation:
    """φ(x) = x² for x ≥ 0, (ax)² below, a = 0.5; φ' = 2x or 2a²x. modded-nanogpt, 2026.

    A squared ReLU with a gradient on both sides. Never negative, and not scale-free (χ_q = 2): for branches that begin
    with a norm.

    Args:
        slope: a.
    """

    def fn(x: Tensor) -> Tensor:
        return torch.where(x >= 0, x, slope * x).square()

    return pointwise("squared_leaky_relu", fn)


@factory
def star_relu(*, scale: PositiveFloat = 0.8944, bias: float = -0.4472) -> Activation:
    """φ(x) = s·max(x, 0)² + b, φ'(x) = 2s·max(x, 0). Yu et al. (MetaFormer baselines), TPAMI 2024.

    A squared ReLU whose output has mean 0 and variance 1 under N(0, 1) with s = 2/√5 and b = -1/√5 (rounded here as in
    the paper).
    """

    def fn(x: Tensor) -> Tensor:
        return scale * F.relu(x).square() + bias

    return pointwise("star_relu", fn)


@factory
def abs() -> Activation:
    """φ(x) = |x|, φ'(x) = sign x. Jarrett, Kavukcuoglu, Ranzato & LeCun, ICCV 2009.

    Keeps the energy of the signal exactly (gain 1) and gives polarity-free features; it is not monotone.
    """
    return pointwise("abs", torch.abs, kinks=(0.0,))
