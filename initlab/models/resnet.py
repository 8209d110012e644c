"""Residual networks (ResNet) for small images: He, Zhang, Ren & Sun, CVPR 2016, section 4.2."""

from __future__ import annotations

from functools import partial
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from initlab.core.factories import factory
from initlab.models.pieces import NormName, branch_end, image_norm, image_shape, require, require_elementwise
from initlab.models.standardised import convolution
from initlab.spec import IO, Activation, ModelBuilder, PositiveInt

Shortcut = Literal["A", "B"]


@factory
def resnet(
    *,
    depth: PositiveInt = 20,
    width: PositiveInt = 16,
    norm: NormName = "batch",
    shortcut: Shortcut = "A",
    branch_scale: bool = False,
    weight_standardisation: bool = False,
) -> ModelBuilder:
    """Builder of a residual network of `depth` = 6n + 2 weight layers (20, 32, 44, 56, 110, ...); see `ResNet`.

    Args:
        depth: layers as the paper counts them: the first convolution, 6n in the blocks, the head.
        width: channels of the first of three stages; the others have twice and four times as many.
        norm: after each convolution, ``batch`` as in the paper, ``layer`` (over C, H, W), or ``none``.
        shortcut: where the shape changes, ``A`` takes every other pixel and adds channels of zeros, ``B`` is a 1x1
            convolution.
        branch_scale: a learnable multiplier at the end of each branch, before the shortcut is added.
        weight_standardisation: use the weights of each unit less their mean, divided by their deviation (Qiao et al.,
            2019), in all layers but the head. Their mean square is 1, so that a norm should follow.

    Raises:
        ConfigError: a depth that is not 6n + 2; on building, an activation that changes the number of units.
    """
    blocks = (depth - 2) // 6
    near = sorted({max(8, 6 * n + 2) for n in (blocks, blocks + 1)})
    expected = f"must be 6n + 2, n blocks in each of three stages; the nearest are {' and '.join(map(str, near))}"
    require("depth", depth, expected, holds=depth >= 8 and (depth - 2) % 6 == 0)
    require("width", width, "must be 1 or more", holds=width >= 1)
    return partial(
        ResNet, depth=depth, width=width, norm=norm, shortcut=shortcut, branch_scale=branch_scale,
        weight_standardisation=weight_standardisation,
    )  # fmt: skip


class Block(nn.Module):
    """conv → norm → activation → conv → norm (→ scale), the shortcut added, activation."""

    def __init__(
        self,
        first: Activation,
        last: Activation,
        *,
        channels: int,
        out: int,
        stride: int,
        norm: NormName,
        shortcut: Shortcut,
        branch_scale: bool = False,
        weight_standardisation: bool = False,
    ) -> None:
        super().__init__()
        conv = partial(convolution, standardised=weight_standardisation, bias=norm == "none")
        self.stride, self.more = stride, out - channels
        self.conv1 = conv(channels, out, 3, stride=stride, padding=1)
        self.norm1 = image_norm(norm, out)
        self.activation1 = first.make(out)
        self.conv2 = conv(out, out, 3, padding=1)
        self.norm2 = image_norm(norm, out)
        self.scale = branch_end(scaled=branch_scale)
        self.projects = shortcut == "B" and (stride != 1 or channels != out)
        if self.projects:
            self.project = conv(channels, out, 1, stride=stride)
            self.project_norm = image_norm(norm, out)
        self.activation2 = last.make(out)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, out, H / stride, W / stride), rounded up."""
        y = self.scale(self.norm2(self.conv2(self.activation1(self.norm1(self.conv1(x))))))
        return self.activation2(y + self._shortcut(x))

    def _shortcut(self, x: Tensor) -> Tensor:
        if self.projects:
            return self.project_norm(self.project(x))
        if self.stride == 1 and self.more == 0:
            return x
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.more))


class ResNet(nn.Module):
    """A 3x3 stem, three stages of n blocks (sides 1, 1/2, 1/4), the average over all positions, a linear head.

    Parameters are named ``stem.weight``, ``blocks.3.conv1.weight``, ``blocks.3.norm1.weight``,
    ``blocks.3.scale.weight``, ``head.weight``.
    """

    def __init__(
        self,
        io: IO,
        activation: Activation,
        *,
        depth: int = 20,
        width: int = 16,
        norm: NormName = "batch",
        shortcut: Shortcut = "A",
        branch_scale: bool = False,
        weight_standardisation: bool = False,
    ) -> None:
        super().__init__()
        channels, *_ = image_shape(io.input_shape, "resnet")
        each = (depth - 2) // 6
        stem, *inner = activation.sequence(1 + 6 * each)
        require_elementwise((stem, *inner), "resnet")
        self.stem = convolution(channels, width, 3, standardised=weight_standardisation, padding=1, bias=norm == "none")
        self.stem_norm = image_norm(norm, width)
        self.stem_activation = stem.make(width)
        self.blocks = nn.ModuleList()
        before = width
        for stage in range(3):
            for i in range(each):
                out, stride = width * 2**stage, 2 if stage > 0 and i == 0 else 1
                first, last = inner[2 * len(self.blocks) : 2 * len(self.blocks) + 2]
                self.blocks.append(
                    Block(
                        first,
                        last,
                        channels=before,
                        out=out,
                        stride=stride,
                        norm=norm,
                        shortcut=shortcut,
                        branch_scale=branch_scale,
                        weight_standardisation=weight_standardisation,
                    )
                )
                before = out
        self.head = nn.Linear(before, io.classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to logits (B, classes)."""
        x = self.stem_activation(self.stem_norm(self.stem(x)))
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean((2, 3)))
