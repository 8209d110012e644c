"""Options that decoder and encoder share, checked, and what follows from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import nn

from initlab.errors import ConfigError
from initlab.models.pieces import BranchScale, require
from initlab.models.transformer.attention import AttentionScale, AttentionSettings, Positions, resolve_scale
from initlab.models.transformer.norms import TokenNorm
from initlab.spec import Activation

NormPlace = Literal["pre", "post", "peri"]
#: multiplier of a residual branch: 1, 1/√(2L), 1/L, a number, a learnable number that begins as 1, or ``convex``, β of
#: λx + βf with β² = 1/L and λ² = 1 - 1/L; with L₀ blocks at the base depth, ``depth_mup`` √(L₀/L), ``completep`` L₀/L
BranchScaling = Literal["one", "inverse_sqrt", "inverse", "convex", "learned", "depth_mup", "completep"] | float


@dataclass(frozen=True, kw_only=True)
class Options:
    """A transformer of `depth` blocks, each an attention and a perceptron branch. Keys as in conf/model/gpt.yaml."""

    depth: int
    width: int
    heads: int
    mlp_width: int | Literal["auto"]
    norm: TokenNorm
    norm_at: NormPlace
    qk_norm: bool
    attention_scale: AttentionScale
    softcap: float | None
    positions: Positions
    bias: bool
    branch_scale: BranchScaling
    dropout: float
    base_width: int = 64
    base_depth: int = 4

    def __post_init__(self) -> None:
        require("depth", self.depth, "must be 1 or more (depth counts the blocks)", holds=self.depth >= 1)
        require("width", self.width, "must be 1 or more", holds=self.width >= 1)
        require("heads", self.heads, f"must divide width={self.width}",
                holds=self.heads >= 1 and self.width % self.heads == 0)  # fmt: skip
        require("mlp_width", self.mlp_width, "must be auto or 1 or more",
                holds=self.mlp_width == "auto" or self.mlp_width >= 1)  # fmt: skip
        require("softcap", self.softcap, "must be above 0, or null", holds=self.softcap is None or self.softcap > 0)
        require("norm_at", self.norm_at, "needs a norm; model.norm=none has no place",
                holds=self.norm != "none" or self.norm_at == "pre")  # fmt: skip

    def attention(self, *, causal: bool) -> AttentionSettings:
        """The settings of each block's attention."""
        return AttentionSettings(
            width=self.width, heads=self.heads, softcap=self.softcap, qk_norm=self.qk_norm, norm=self.norm,
            scale=resolve_scale(self.attention_scale, self.width // self.heads, self.base_width / self.heads),
            by_width=self.attention_scale in ("linear", "mup"),
            rope=self.positions == "rope", causal=causal, dropout=self.dropout, bias=self.bias,
        )  # fmt: skip

    def hidden(self, activation: Activation) -> int:
        """Units that the activation of a perceptron branch sends on: 4D, and 8D/3 where it is gated (Shazeer, 2020)."""
        if self.mlp_width != "auto":
            return self.mlp_width
        received, sent = activation.units
        if received <= sent:
            return 4 * self.width
        return max(8, round(8 * self.width / 3 / 8) * 8)

    def factor(self) -> float:
        """The fixed multiplier of a branch; 1 where it is learnt."""
        if isinstance(self.branch_scale, (int, float)):
            return float(self.branch_scale)
        if self.branch_scale == "convex":
            return self.depth**-0.5
        return {
            "one": 1.0,
            "learned": 1.0,
            "inverse": 1 / self.depth,
            "inverse_sqrt": (2 * self.depth) ** -0.5,
            "depth_mup": (self.base_depth / self.depth) ** 0.5,
            "completep": self.base_depth / self.depth,
        }[self.branch_scale]

    def kept(self) -> float:
        """The multiplier of the stream that a branch is added to."""
        return (1 - 1 / self.depth) ** 0.5 if self.branch_scale == "convex" else 1.0

    def branch_end(self) -> nn.Module:
        """What a branch ends in: a learnable multiplier, or an identity."""
        return BranchScale() if self.branch_scale == "learned" else nn.Identity()


def activations_of(activation: Activation, depth: int) -> tuple[Activation, ...]:
    """The activation of each block.

    Raises:
        ConfigError: an activation for each of several layers whose numbers of units differ.
    """
    found = activation.sequence(depth)
    if len({a.units for a in found}) > 1:
        raise ConfigError("activation", activation.name, "mixes activations of different numbers of units")
    return found
