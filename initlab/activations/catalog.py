"""Pointwise activations as factories: φ, its derivative φ', its source, and when to use it.

Every factory returns a `spec.Activation`, whose `make()` gives a fresh module without in-place operations: probes keep
the input of an activation, and a backward hook on an overwritten tensor would see the wrong one.
"""

from __future__ import annotations

from typing import Annotated

import torch.nn.functional as F
from annotated_types import Gt
from torch import Tensor, nn

from initlab.spec import Activation, NonNegativeFloat


class IdentityActivation(nn.Identity):
    """An identity that stands where an activation stands; torch's own is also used for shortcuts and removed layers."""

    initlab_activation = True


def identity() -> Activation:
    """φ(x) = x, φ'(x) = 1. A deep linear network: the model of Saxe et al., ICLR 2014, for learning dynamics."""
    return Activation(name="identity", make=IdentityActivation, fn=lambda x: x, torch_name="linear")


def relu() -> Activation:
    """φ(x) = max(x, 0), φ'(x) = 1[x > 0]. Glorot, Bordes & Bengio, AISTATS 2011. Goes with He's gain √2."""
    return Activation(name="relu", make=nn.ReLU, fn=F.relu, kinks=(0.0,), torch_name="relu")


def leaky_relu(*, negative_slope: NonNegativeFloat = 0.01) -> Activation:
    """φ(x) = max(x, 0) + a·min(x, 0), φ' = 1 or a. Maas, Hannun & Ng, 2013. A unit cannot die while a > 0."""

    def fn(x: Tensor) -> Tensor:
        return F.leaky_relu(x, negative_slope)

    return Activation(
        name="leaky_relu",
        make=lambda: nn.LeakyReLU(negative_slope),
        fn=fn,
        kinks=(0.0,),
        torch_name="leaky_relu",
        torch_param=negative_slope,
    )


def elu(*, alpha: Annotated[float, Gt(0)] = 1.0) -> Activation:
    """φ(x) = x for x > 0, α(eˣ - 1) below; φ' = 1 or αeˣ. Clevert, Unterthiner & Hochreiter, ICLR 2016."""

    def fn(x: Tensor) -> Tensor:
        return F.elu(x, alpha)

    return Activation(name="elu", make=lambda: nn.ELU(alpha), fn=fn, kinks=(0.0,))


def selu() -> Activation:
    """φ = λ·elu_α with λ = 1.0507009873554805, α = 1.6732632423543772. Klambauer et al., NeurIPS 2017.

    Keeps mean 0 and variance 1 by itself, but only with LeCun's initialisation (gain 1); He's gain makes it diverge.
    """
    return Activation(name="selu", make=nn.SELU, fn=F.selu, kinks=(0.0,), torch_name="selu")


def gelu() -> Activation:
    """φ(x) = xΦ(x), φ'(x) = Φ(x) + xϕ(x), Φ and ϕ of the standard normal. Hendrycks & Gimpel, 2016.

    At gain 1/√E[φ²] the variance map's fixed point is unstable (χ_q = 1.144): very deep plain networks need care.
    """
    return Activation(name="gelu", make=nn.GELU, fn=F.gelu)


def silu() -> Activation:
    """φ(x) = xσ(x), φ'(x) = σ(1 + x(1 - σ)). Elfwing et al., 2017 (also Swish-1, Ramachandran et al., 2017)."""
    return Activation(name="silu", make=nn.SiLU, fn=F.silu)


def sigmoid() -> Activation:
    """φ(x) = 1/(1 + e⁻ˣ), φ' = φ(1 - φ) ≤ 1/4. For gates; hidden layers vanish unless σ_w ≈ 10."""
    return Activation(name="sigmoid", make=nn.Sigmoid, fn=F.sigmoid, torch_name="sigmoid")


def tanh() -> Activation:
    """φ(x) = tanh x, φ' = 1 - tanh² x. LeCun et al., 1998; goes with init=xavier (Glorot & Bengio, 2010)."""
    return Activation(name="tanh", make=nn.Tanh, fn=F.tanh, torch_name="tanh")


def softplus() -> Activation:
    """φ(x) = ln(1 + eˣ), φ' = σ(x). Dugas et al., 2001. A smooth ReLU; its positive mean grows through the layers."""
    return Activation(name="softplus", make=nn.Softplus, fn=F.softplus)
