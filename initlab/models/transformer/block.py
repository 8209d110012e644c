"""A block of a transformer: two residual branches, with the norm before, behind, or on both sides of each."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from initlab.models.transformer.norms import token_norm
from initlab.models.transformer.options import Options


class Branch(NamedTuple):
    """The modules of a residual branch.

    Attributes:
        inner: attention or perceptron.
        norm: before it, or of the sum where ``norm_at=post``.
        behind: the norm at its end where ``norm_at=peri``.
        end: its learnable multiplier, or an identity.
    """

    inner: nn.Module
    norm: nn.Module
    behind: nn.Module
    end: nn.Module


def add_branch(x: Tensor, branch: Branch, o: Options) -> Tensor:
    """x + α f(N(x)) (pre), N(x + α f(x)) (post) or x + α N'(f(N(x))) (peri), for the stream x (B, T, D).

    Pre: Radford et al., 2019. Post: Vaswani et al., 2017. Peri: Kim et al., 2025 (arXiv 2502.02732).
    """
    y = branch.inner(x if o.norm_at == "post" else branch.norm(x))
    if o.norm_at == "peri":
        y = branch.behind(y)
    y, factor, kept = branch.end(y), o.factor(), o.kept()
    x = (x if kept == 1.0 else kept * x) + (y if factor == 1.0 else factor * y)
    return branch.norm(x) if o.norm_at == "post" else x


def inner_norm(o: Options) -> nn.Module:
    """The second norm of a branch, an identity but for ``norm_at=peri``."""
    return token_norm(o.norm, o.width, bias=o.bias) if o.norm_at == "peri" else nn.Identity()
