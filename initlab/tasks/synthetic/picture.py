"""A picture as a function: coordinates of pixels to grey values, for networks that represent an image."""

from __future__ import annotations

import importlib.util
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from initlab.core.factories import factory
from initlab.errors import ConfigError, DataError
from initlab.spec import IO, Baseline, Part, PositiveInt, Provenance, Splits
from initlab.tasks.raw import digest
from initlab.tasks.sources.image_files import decode_images
from initlab.tasks.synthetic.task import SyntheticData, as_float

Image = Literal["china", "flower"]
SOURCE = "scikit-learn/datasets/images ({}.jpg, by danielbuechele and vultilion, flickr.com)"
LICENCE = "CC BY 2.0"
_SMALLEST = 4


@factory
def coordinates(
    *,
    image: Image = "china",
    path: Path | None = None,
    side: PositiveInt = 64,
    train: Literal["half", "all"] = "half",
) -> SyntheticData:
    """Coordinates (row, column) of pixels in [-1, 1]² to their grey value in [-1, 1].

    Sitzmann, Martel, Bergman, Lindell & Wetzstein, NeurIPS 2020, arXiv:2006.09661. Scores have ``psnr``, the peak
    signal-to-noise ratio 10 log₁₀(4/MSE) in decibels.

    Args:
        image: a photograph inside scikit-learn.
        path: a picture of one's own instead, any format that Pillow reads.
        side: the picture is cut to its central square and resized to side x side pixels.
        train: ``half``: the pixels of one colour of a chessboard; of the other colour the even rows are validation and
            the odd ones test, so that their score is that of interpolation. ``all``: every pixel, as in the paper;
            validation and test are these same pixels, and their score says how well the picture is fitted.

    Raises:
        ConfigError: a side below 4. DataError: where opened: the picture cannot be read.
    """
    if side < _SMALLEST:
        raise ConfigError("side", side, f"must be {_SMALLEST} or more")
    make = partial(_make, image, path, side, train == "all")
    return SyntheticData(name="coordinates", make=make, numbers=True, peak=2.0)


def image_path(image: Image) -> Path | None:
    """The file inside the installed package scikit-learn, None where that is not installed. Imports nothing."""
    spec = importlib.util.find_spec("sklearn")
    folders = spec.submodule_search_locations if spec is not None else None
    return next((Path(f) / "datasets" / "images" / f"{image}.jpg" for f in folders or ()), None)


def read_grey(path: Path | None, *, side: int, key: str) -> Tensor:
    """Grey values (side, side) in [-1, 1] of a picture, from its central square.

    Values of 8 and 16 bits keep their range; floats and whole numbers of 32 bits are scaled to theirs.

    Raises:
        DataError: it is absent, or cannot be read.
    """
    if path is None or not path.is_file():
        raise DataError(key, None if path is None else str(path), "there is no such picture; give data.path=FILE")
    (picture,) = decode_images([path], size=side, channels=1, fit="crop")
    if isinstance(picture, str):
        raise DataError(key, str(path), picture)
    values = torch.tensor(picture.pixels[0], dtype=torch.float32)
    low, high = 0.0, {"8": 255.0, "16": 65535.0}.get(picture.depth, 0.0)
    least, most = float(values.min()), float(values.max())
    if picture.depth not in ("8", "16"):
        low, high = least, most
    if not most > least:
        raise DataError(key, str(path), "all pixels have one value: there is nothing to learn")
    return (values - low) / (high - low) * 2 - 1


def grid(side: int) -> Tensor:
    """Coordinates (side², 2) of the pixels, row by row; the outermost are at -1 and 1."""
    line = torch.linspace(-1, 1, side)
    return torch.stack(torch.meshgrid(line, line, indexing="ij"), dim=-1).reshape(-1, 2)


def fields(side: int) -> tuple[Tensor, Tensor, Tensor]:
    """Indices of the pixels of each part: one colour of a chessboard, and of the other the even and the odd rows."""
    row, column = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    other = (row + column) % 2 == 1
    masks = (~other, other & (row % 2 == 0), other & (row % 2 == 1))
    found = tuple(m.flatten().nonzero()[:, 0] for m in masks)
    return found[0], found[1], found[2]


def _make(image: Image, path: Path | None, side: int, whole: bool, seed: int) -> Splits:
    del seed  # nothing is drawn
    file = image_path(image) if path is None else path
    values = read_grey(file, side=side, key="data.image" if path is None else "data.path").reshape(-1, 1)
    places = grid(side)
    pixels = (torch.arange(side**2),) * 3 if whole else fields(side)
    train, val, test = (Part(x=places[i], y=values[i]) for i in pixels)
    name = image if path is None else path.name
    notes = ("validation and test are the training pixels: their scores are those of the fit",) if whole else ()
    return Splits(
        train=train,
        val=val,
        test=test,
        io=IO(input_shape=(2,), classes=1),
        prepare=as_float,
        augment=None,
        class_names=("grey",),
        provenance=Provenance(
            name="coordinates",
            source=SOURCE.format(image) if path is None else "a picture of one's own",
            digest=digest(train, val, test),
            licence=LICENCE if path is None else "",
            note=f"{name}, {side} x {side} pixels",
        ),
        baseline=Baseline(
            untrained=float(val.y.square().mean()),
            constant=float((val.y - val.y.mean()).square().mean()),
            accuracy=None,
            words=f"E y² = {float(val.y.square().mean()):.2f}",
        ),
        notes=notes,
    )
