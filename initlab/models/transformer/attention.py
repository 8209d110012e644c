"""Self-attention of several heads: through torch's fused kernel, and step by step where something is to be seen."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from initlab.models.pieces import require
from initlab.models.transformer.norms import TokenNorm

Positions = Literal["learned", "rope", "none"]
#: what the logits are multiplied with: 1/√d, 8/d, √d₀/d with the features d₀ of a head at the base width, or a number
AttentionScale = Literal["sqrt", "linear", "mup"] | float
#: width of a head at which ``linear`` is ``sqrt``
BASE_HEAD = 64
#: receives logits (B, H, T, T) before the softmax, with -inf where a token may not look, and weights likewise
Watcher = Callable[[Tensor, Tensor], None]


@dataclass(frozen=True, kw_only=True)
class AttentionSettings:
    """How the heads of a transformer attend.

    Attributes:
        width: features of a token, D; heads: H, which divides it.
        scale: factor of the logits, as a number.
        by_width: whether that factor is one over the features of a head, and not over their root.
        softcap: c of c·tanh(logit/c); None for none.
        qk_norm: whether queries and keys are normalised in each head.
        norm: of the network; ``layer`` makes that norm a layer norm, anything else an RMS norm.
        rope: whether positions turn queries and keys (Su et al., 2021).
        causal: whether a token sees only itself and those before it.
        dropout: share of the weights that is dropped in training.
        bias: of the two linear layers.
    """

    width: int
    heads: int
    scale: float
    by_width: bool
    softcap: float | None
    qk_norm: bool
    norm: TokenNorm
    rope: bool
    causal: bool
    dropout: float
    bias: bool


def resolve_scale(scale: AttentionScale, head: int, base_head: float = BASE_HEAD) -> float:
    """The factor of the logits for heads of `head` features.

    ``sqrt`` is 1/√d; ``linear`` 8/d, which is equal to it at d = 64; ``mup`` √d₀/d, equal to it at `base_head` features
    (Yang et al., 2022, definition 4.1); a number is itself.
    """
    if scale == "mup":
        return base_head**0.5 / head
    if scale == "sqrt":
        return head**-0.5
    if scale == "linear":
        return BASE_HEAD**0.5 / head
    return float(scale)


class Attention(nn.Module):
    """Attends between the projections that a subclass makes, see `split` and `attend`.

    `watcher`, where it is set, receives logits and weights of each forward pass, which is then computed step by step;
    the result agrees with that of the fused kernel to float tolerance.
    """

    def __init__(self, settings: AttentionSettings) -> None:
        super().__init__()
        s = settings
        require("heads", s.heads, f"must divide width={s.width}", holds=s.heads >= 1 and s.width % s.heads == 0)
        head = s.width // s.heads
        require("positions", "rope", "needs an even number of features in a head", holds=not s.rope or head % 2 == 0)
        self.settings, self.head = settings, head
        self.watcher: Watcher | None = None
        made: Callable[[], nn.Module] = nn.Identity
        if s.qk_norm:
            made = (lambda: nn.LayerNorm(head)) if s.norm == "layer" else (lambda: nn.RMSNorm(head, eps=1e-5))
        self.q_norm, self.k_norm = made(), made()

    def attend(self, qkv: Tensor) -> Tensor:
        """(B, T, 3D), queries, keys and values side by side, to (B, T, D), the heads joined."""
        s = self.settings
        b, t, _ = qkv.shape
        q, k, v = (part.view(b, t, s.heads, self.head).transpose(1, 2) for part in qkv.split(s.width, dim=2))
        q, k = self.q_norm(q), self.k_norm(k)
        if s.rope:
            q, k = turned(q), turned(k)
        share = s.dropout if self.training else 0.0
        if self.watcher is None and s.softcap is None:
            y = F.scaled_dot_product_attention(q, k, v, dropout_p=share, is_causal=s.causal, scale=s.scale)
        else:
            y = self._explicit(q, k, v, share)
        return y.transpose(1, 2).reshape(b, t, s.width)

    def _explicit(self, q: Tensor, k: Tensor, v: Tensor, share: float) -> Tensor:
        s, t = self.settings, q.shape[-2]
        logits = (q @ k.transpose(-2, -1)) * s.scale
        if s.softcap is not None:
            logits = s.softcap * torch.tanh(logits / s.softcap)
        if s.causal:
            ahead = torch.ones(t, t, dtype=torch.bool, device=q.device).triu(1)
            logits = logits.masked_fill(ahead, -math.inf)
        weights = logits.softmax(-1)
        if self.watcher is not None:
            self.watcher(logits, weights)
        return F.dropout(weights, share) @ v


def turned(x: Tensor, base: float = 10_000.0) -> Tensor:
    """Rotary positions: (..., T, d), the features i and i + d/2 turned by position · base^(-2i/d).

    Su et al., 2021 (arXiv 2104.09864). A rotation: lengths stay, products depend on the distance alone.
    """
    half = x.shape[-1] // 2
    rates = base ** (-torch.arange(half, device=x.device, dtype=torch.float32) / half)
    angles = torch.arange(x.shape[-2], device=x.device, dtype=torch.float32)[:, None] * rates
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    first, second = x[..., :half], x[..., half:]
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)
