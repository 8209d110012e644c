"""A block of a transformer: attention and perceptron as residual branches, with the norm before, behind, or both.

The names of the parameters are those of a well-known network each: `Names`.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from initlab.models.transformer.attention import Attention, AttentionSettings
from initlab.models.transformer.norms import token_norm
from initlab.models.transformer.options import Options
from initlab.spec import Activation


class Names(NamedTuple):
    """Names of a block's modules.

    Attributes:
        norms: before the branches, or of the sums.
        behind: the norms at the ends of the branches.
        ends: their multipliers.
        attention: what makes queries, keys and values; the output.
        perceptron: what spreads the features; what joins them.
    """

    norms: tuple[str, str]
    behind: tuple[str, str]
    ends: tuple[str, str]
    attention: tuple[str, str]
    perceptron: tuple[str, str]


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


class Block(nn.Module):
    """Attention, then a perceptron: ``attn.<…>`` and ``mlp.<…>``, with norms and multipliers under their `names`."""

    def __init__(self, o: Options, activation: Activation, names: Names, *, causal: bool) -> None:
        super().__init__()
        self.options, self.names = o, names
        inner = (_Attention(o.attention(causal=causal), names), _Perceptron(o, activation, names))
        for i, (name, module) in enumerate(zip(("attn", "mlp"), inner, strict=True)):
            self.add_module(names.norms[i], token_norm(o.norm, o.width, bias=o.bias))
            self.add_module(name, module)
            self.add_module(names.behind[i], inner_norm(o))
            self.add_module(names.ends[i], o.branch_end())

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        n = self.names
        for i, name in enumerate(("attn", "mlp")):
            parts = (getattr(self, part) for part in (name, n.norms[i], n.behind[i], n.ends[i]))
            x = add_branch(x, Branch(*parts), self.options)
        return x


class _Attention(Attention):
    def __init__(self, settings: AttentionSettings, names: Names) -> None:
        super().__init__(settings)
        self.names = names.attention
        self.add_module(self.names[0], nn.Linear(settings.width, 3 * settings.width, bias=settings.bias))
        self.add_module(self.names[1], nn.Linear(settings.width, settings.width, bias=settings.bias))
        self.drop = nn.Dropout(settings.dropout)

    def forward(self, x: Tensor) -> Tensor:
        stacked, output = self.names
        return self.drop(getattr(self, output)(self.attend(getattr(self, stacked)(x))))


class _Perceptron(nn.Module):
    def __init__(self, o: Options, activation: Activation, names: Names) -> None:
        super().__init__()
        sent = o.hidden(activation)
        received = activation.units_before(sent)
        self.names = names.perceptron
        self.add_module(self.names[0], nn.Linear(o.width, received, bias=o.bias))
        self.act = activation.make(received)
        self.add_module(self.names[1], nn.Linear(sent, o.width, bias=o.bias))
        self.drop = nn.Dropout(o.dropout)

    def forward(self, x: Tensor) -> Tensor:
        first, last = self.names
        return self.drop(getattr(self, last)(self.act(getattr(self, first)(x))))
