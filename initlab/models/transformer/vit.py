"""An encoder of patches, for images and spectrograms. Parameter names as in timm's VisionTransformer."""

from __future__ import annotations

import math
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from initlab.core.factories import factory
from initlab.errors import ConfigError
from initlab.models.pieces import require, require_numbers
from initlab.models.transformer.attention import AttentionScale, Positions
from initlab.models.transformer.block import Block, Names
from initlab.models.transformer.norms import TokenNorm, token_norm
from initlab.models.transformer.options import BranchScaling, NormPlace, Options, activations_of
from initlab.spec import IO, Activation, ModelBuilder, PositiveFloat, PositiveInt, Probability

Pooling = Literal["token", "mean"]

#: as in timm
_NAMES = Names(
    norms=("norm1", "norm2"), behind=("end1", "end2"), ends=("scale1", "scale2"), attention=("qkv", "proj"),
    perceptron=("fc1", "fc2"),
)  # fmt: skip


@factory
def vit(
    *,
    depth: PositiveInt = 4,
    width: PositiveInt = 64,
    heads: PositiveInt = 4,
    patch: PositiveInt | Literal["auto"] = "auto",
    pool: Pooling = "token",
    mlp_width: PositiveInt | Literal["auto"] = "auto",
    norm: TokenNorm = "layer",
    norm_at: NormPlace = "pre",
    qk_norm: bool = False,
    attention_scale: AttentionScale = "sqrt",
    softcap: PositiveFloat | None = None,
    positions: Positions = "learned",
    bias: bool = True,
    branch_scale: BranchScaling = "one",
    base_width: PositiveInt = 64,
    base_depth: PositiveInt = 4,
    dropout: Probability = 0.0,
) -> ModelBuilder:
    """Builder of an encoder of image patches (Dosovitskiy et al., ICLR 2021); see `ViT`.

    Args:
        patch: side of a patch, whose pixels are one token; ``auto`` cuts an image into about 4 x 4 patches, a
            spectrogram into strips of one step.
        pool: what the head sees: ``token``, a learnt token in front of the patches, or the ``mean`` of the patches.

    The other options are those of `gpt`.

    Raises:
        ConfigError: heads that do not divide the width, a place for no norm, texts.
    """
    options = Options(
        depth=depth, width=width, heads=heads, mlp_width=mlp_width, norm=norm, norm_at=norm_at, qk_norm=qk_norm,
        attention_scale=attention_scale, softcap=softcap, positions=positions, bias=bias, branch_scale=branch_scale,
        dropout=dropout, base_width=base_width, base_depth=base_depth,
    )  # fmt: skip
    return partial(ViT, options=options, patch=patch, pool=pool)


class ViT(nn.Module):
    """Images (B, C, H, W) or features over time (B, F, T) to logits (B, classes).

    Sides that are no multiple of the patch are filled up with zeros. Parameters are named ``patch_embed.proj.weight``,
    ``cls_token``, ``pos_embed``, ``blocks.<i>.norm1.weight``, ``….attn.qkv.weight``, ``….attn.proj.weight``,
    ``….norm2.weight``, ``….mlp.fc1.weight``, ``….mlp.fc2.weight``, ``norm.weight``, ``head.weight``.
    """

    def __init__(
        self,
        io: IO,
        activation: Activation,
        *,
        options: Options,
        patch: int | Literal["auto"] = "auto",
        pool: Pooling = "token",
    ) -> None:
        super().__init__()
        require_numbers(io, "vit")
        o = options
        channels, height, width = _as_image(io)
        sides = _sides(patch, io, height, width)
        require("patch", patch, f"must not exceed the image, {height} x {width}",
                holds=sides[0] <= height and sides[1] <= width)  # fmt: skip
        self.sides, self.pool = sides, pool
        count = math.ceil(height / sides[0]) * math.ceil(width / sides[1])
        self.patch_embed = _Patches(channels, o.width, sides)
        token = pool == "token"
        self.cls_token = nn.Parameter(torch.zeros(1, 1, o.width)) if token else None
        learned = o.positions == "learned"
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, count + token, o.width)) if learned else None
        self.pos_drop = nn.Dropout(o.dropout)
        self.blocks = nn.ModuleList([Block(o, a, _NAMES, causal=False) for a in activations_of(activation, o.depth)])
        self.norm = nn.Identity() if o.norm_at == "post" else token_norm(o.norm, o.width, bias=o.bias)
        self.head = nn.Linear(o.width, io.classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) or (B, F, T)."""
        h = self.patch_embed(x)
        if self.cls_token is not None:
            h = torch.cat([self.cls_token.expand(len(h), -1, -1), h], dim=1)
        if self.pos_embed is not None:
            h = h + self.pos_embed
        h = self.pos_drop(h)
        for block in self.blocks:
            h = block(h)
        h = self.norm(h)
        return self.head(h[:, 0] if self.pool == "token" else h.mean(1))


class _Patches(nn.Module):
    def __init__(self, channels: int, width: int, sides: tuple[int, int]) -> None:
        super().__init__()
        self.sides = sides
        self.proj = nn.Conv2d(channels, width, sides, stride=sides)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) or (B, F, T) to (B, patches, D)."""
        if x.dim() == 3:
            x = x[:, None]
        lack = [-size % side for size, side in zip(x.shape[-2:], self.sides, strict=True)]
        if any(lack):
            x = F.pad(x, (0, lack[1], 0, lack[0]))
        return self.proj(x).flatten(2).transpose(1, 2)


# ------------------------------------------------------------------ pieces
def _as_image(io: IO) -> tuple[int, int, int]:
    if io.per_step or len(io.input_shape) not in (2, 3):
        raise ConfigError(
            "model", "vit", f"needs images (C, H, W) or features over time (F, T), the data have the shape"
            f" {io.input_shape}; use model=mlp, or gpt for a text",
        )  # fmt: skip
    if len(io.input_shape) == 2:
        return (1, *io.input_shape)
    return io.input_shape[0], io.input_shape[1], io.input_shape[2]


def _sides(patch: int | Literal["auto"], io: IO, height: int, width: int) -> tuple[int, int]:
    """(height, width) of a patch."""
    if patch == "auto":
        return (height, max(1, math.ceil(width / 64))) if len(io.input_shape) == 2 else (
            max(1, math.ceil(height / 4)), max(1, math.ceil(width / 4))
        )  # fmt: skip
    return (height, patch) if len(io.input_shape) == 2 else (patch, patch)
