"""Data augmentation of images, drawn for each image from the generator that is passed in.

torchvision's v2 transforms draw one set of parameters for a whole batch, and from torch's global state; here every
image gets its own, the whole batch in one gather, so that a resumed run sees the very same images.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from initlab.errors import ConfigError

AugmentName = Literal["none", "shift", "flip", "crop_flip", "affine", "cutout"]
Augment = Callable[[Tensor, Generator], Tensor]


def shift(x: Tensor, generator: Generator) -> Tensor:
    """Move each image by up to 1/14 of its side (2 pixels of 28) either way; the border repeats. For digits."""
    return _warp(x, generator, reach=max(1, round(x.shape[-1] / 14)), flip=False, reflect=False)


def flip(x: Tensor, generator: Generator) -> Tensor:
    """Mirror each image left to right with probability 1/2."""
    return _warp(x, generator, reach=0, flip=True, reflect=False)


def crop_flip(x: Tensor, generator: Generator) -> Tensor:
    """Pad by 1/8 of the side (4 pixels of 32), crop at random, mirror with probability 1/2.

    The usual augmentation for CIFAR: Lee et al., Deeply-supervised nets, AISTATS 2015; He et al., 2016, section 4.2.
    The padding reflects the image.
    """
    return _warp(x, generator, reach=max(1, round(x.shape[-1] / 8)), flip=True, reflect=True)


def affine(x: Tensor, generator: Generator) -> Tensor:
    """Rotate each image by up to 15°, scale it by 0.9 to 1.1 and move it by up to 1/14 of its side; bilinear."""
    n = x.shape[0]
    u = (torch.rand(n, 4, generator=generator) * 2 - 1).to(x.device)
    angle, zoom = u[:, 0] * (torch.pi / 12), 1 + 0.1 * u[:, 1]
    cos, sin = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    # offsets are in units of half the side
    rows = [torch.stack([cos, -sin, u[:, 2] / 7], 1), torch.stack([sin, cos, u[:, 3] / 7], 1)]
    grid = F.affine_grid(torch.stack(rows, 1).to(x.dtype), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)


def cutout(x: Tensor, generator: Generator) -> Tensor:
    """`crop_flip`, then one square of a quarter of the side set to the mean, anywhere. DeVries & Taylor, 2017."""
    x = crop_flip(x, generator)
    n, _, height, width = x.shape
    half = max(1, min(height, width) // 4) / 2
    centre = torch.rand(n, 2, generator=generator).to(x.device) * torch.tensor([height, width], device=x.device)
    rows = (torch.arange(height, device=x.device) + 0.5 - centre[:, :1]).abs() < half
    columns = (torch.arange(width, device=x.device) + 0.5 - centre[:, 1:]).abs() < half
    return x.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], 0.0)


AUGMENTS: dict[AugmentName, Augment | None] = {
    "none": None,
    "shift": shift,
    "flip": flip,
    "crop_flip": crop_flip,
    "affine": affine,
    "cutout": cutout,
}


def augmentation(name: AugmentName, input_shape: tuple[int, ...]) -> Augment | None:
    """The augmentation function named `name`, None for ``none``.

    Raises:
        ConfigError: where the examples are not images (C, H, W).
    """
    if name != "none" and len(input_shape) != 3:
        raise ConfigError("data.augment", name, f"needs images (C, H, W), these examples have the shape {input_shape}")
    return AUGMENTS[name]


def _warp(x: Tensor, generator: Generator, *, reach: int, flip: bool, reflect: bool) -> Tensor:
    n, channels, height, width = x.shape
    # always drawn on the CPU: the same images on every device
    offset = torch.randint(-reach, reach + 1, (n, 2), generator=generator).to(x.device)
    rows = torch.arange(height, device=x.device) + offset[:, :1]
    columns = torch.arange(width, device=x.device) + offset[:, 1:]
    rows, columns = _inside(rows, height, reflect), _inside(columns, width, reflect)
    if flip:
        mirrored = (torch.rand(n, 1, generator=generator) < 0.5).to(x.device)
        columns = torch.where(mirrored, columns.flip(1), columns)
    image = torch.arange(n, device=x.device)[:, None, None, None]
    channel = torch.arange(channels, device=x.device)[None, :, None, None]
    return x[image, channel, rows[:, None, :, None], columns[:, None, None, :]]


def _inside(index: Tensor, size: int, reflect: bool) -> Tensor:
    if reflect and size > 1:
        index = index.abs()
        index = (size - 1) - ((size - 1) - index).abs()
    return index.clamp(0, size - 1)
