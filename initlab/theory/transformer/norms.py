"""Norms of tokens as maps of Gram matrices, forward and backward."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from initlab.activations import erf, tanh
from initlab.spec import Activation
from initlab.theory.transformer.kernels import products, slope_products
from initlab.theory.transformer.network import Norm


@dataclass(frozen=True)
class Normed:
    """What a norm sends, and how it turns the gradient.

    Attributes:
        gram: (..., T, T) of its output.
        back: (..., T, T); the Gram of gradients is multiplied by it, entry by entry.
    """

    gram: Tensor
    back: Tensor


def normalise(norm: Norm, gram: Tensor) -> Normed:
    """The Gram matrix behind a norm.

    A layer or RMS norm divides each token by its root mean square: correlations stay (up to 1/D, for the mean that a
    layer norm removes), and the squared gradient is divided by the mean square (Xiong et al., ICML 2020). The part of
    the gradient along the token, a share 1/D, is neglected. DyT and Derf are activations: `kernels.products`.

    Args:
        norm: which.
        gram: (..., T, T) of its input.

    Example:
        >>> gram = torch.tensor([[4.0, 1.0], [1.0, 1.0]], dtype=torch.float64)
        >>> normalise(Norm(kind="rms", eps=0.0), gram).gram.tolist()
        [[1.0, 0.5], [0.5, 1.0]]
    """
    if norm.kind == "none":
        return Normed(gram, torch.ones_like(gram))
    if norm.kind in ("layer", "rms"):
        inverse = (gram.diagonal(dim1=-2, dim2=-1) + norm.eps).rsqrt()
        back = norm.gain2 * inverse[..., :, None] * inverse[..., None, :]
        return Normed(back * gram + norm.shift2, back)
    turned = norm.alpha**2 * gram
    function = _function(norm.kind)
    back = norm.gain2 * norm.alpha**2 * slope_products(function, turned)
    return Normed(norm.gain2 * products(function, turned) + norm.shift2, back)


@lru_cache(maxsize=4)
def _function(kind: str) -> Activation:
    return tanh() if kind == "dyt" else erf()
