"""Reads the user's own images from a folder: one sub-folder a class."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Unpack

import numpy as np
import torch

from initlab.core.signature import with_parameters_of
from initlab.errors import DataError
from initlab.spec import Part, PositiveInt, Provenance
from initlab.tasks.augment import AugmentName
from initlab.tasks.image import ImageData
from initlab.tasks.links import refuse_links_out
from initlab.tasks.raw import RawData, digest
from initlab.tasks.splitting import Plan, SplitSettings

if TYPE_CHECKING:
    from PIL import Image

Channels = Literal[1, 3, "auto"]
Fit = Literal["crop", "stretch", "pad"]
Labelled = list[tuple[Path, int]]

#: pixels of an image; a kilobyte can say that it has billions
_LARGEST = 50_000_000
_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm"})
_PARTS = {"val": ("val", "valid", "validation"), "test": ("test",)}
_GREY = frozenset({"1", "L", "LA", "La", "F"})


@with_parameters_of(Plan())
def image_folder(
    *,
    path: Path,
    size: PositiveInt = 32,
    channels: Channels = "auto",
    fit: Fit = "crop",
    augment: AugmentName = "none",
    **split: Unpack[SplitSettings],
) -> ImageData:
    """Images below ``path/<class>/``, or below ``path/train/<class>/`` with val/ and test/ beside it.

    Args:
        path: the folder. Names that begin with a dot and files that are no images are passed over.
        size: side in pixels that every image is brought to.
        channels: 1 grey, 3 colour, or auto: grey where every file is grey. Transparency is laid on white.
        fit: how an image that is not square becomes square: ``crop`` keeps the middle, ``stretch`` distorts, ``pad``
            adds black.
        augment: see `augment.py`.
        split: see `Plan`. The official parts go first where they exist.
    """
    load = partial(read_image_folder, path, size=size, channels=channels, fit=fit)
    return ImageData(name="image_folder", load=load, plan=Plan(**split), augment=augment)


def read_image_folder(path: Path, *, size: int = 32, channels: Channels = "auto", fit: Fit = "crop") -> RawData:
    """All images below `path` as uint8 (N, C, size, size); classes in alphabetical order.

    Raises:
        DataError: no folder, fewer than two classes, a class without images, an image that cannot be read.
    """
    folder = path.expanduser()
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "does not exist"
        raise DataError("data.path", str(path), f"{what}; give a folder that holds one folder of images per class")
    where = _parts(folder)
    class_names = tuple(d.name for d in _folders(where["train"]))
    if len(class_names) < 2:
        raise DataError(
            "data.path",
            str(path),
            f"holds {len(class_names)} class folder(s) in {where['train']}; "
            "a classifier needs at least 2, one folder of images per class",
        )
    found = {part: _labelled(home, class_names, every_class=part == "train") for part, home in where.items()}
    arrays = {
        part: _decode([p for p, _ in items], size=size, channels=channels, fit=fit) for part, items in found.items()
    }
    deepest = max(a.shape[1] for part in arrays.values() for a in part) if channels == "auto" else int(channels)
    parts = {
        part: Part(
            x=torch.from_numpy(np.stack([np.broadcast_to(a[0], (deepest, size, size)) for a in arrays[part]])),
            y=torch.tensor([label for _, label in items], dtype=torch.int64),
        )
        for part, items in found.items()
    }
    return RawData(
        pool=parts["train"],
        val=parts.get("val"),
        test=parts.get("test"),
        class_names=class_names,
        provenance=Provenance(
            name=folder.resolve().name,
            source=str(folder.resolve()),
            digest=digest(*parts.values()),
            note=f"image folder, {size} x {size}, fit={fit}",
        ),
        key="data.path",
    )


# ------------------------------------------------------------------ files
def _folders(path: Path) -> list[Path]:
    return sorted(d for d in path.iterdir() if d.is_dir() and not d.name.startswith("."))


def _parts(folder: Path) -> dict[str, Path]:
    """Where each part lies. A folder called train with images and no folders in it is a class like any other."""
    train = folder / "train"
    if not (train.is_dir() and _folders(train)):
        return {"train": folder}
    parts = {"train": train}
    for part, names in _PARTS.items():
        home = next((folder / n for n in names if (folder / n).is_dir()), None)
        if home is not None:
            parts[part] = home
    return parts


def _labelled(home: Path, class_names: Sequence[str], *, every_class: bool) -> Labelled:
    strange = [d.name for d in _folders(home) if d.name not in class_names]
    if strange:
        raise DataError("data.path", str(home), f"holds classes that train/ lacks: {', '.join(strange[:5])}")
    items: Labelled = []
    for label, name in enumerate(class_names):
        images = sorted(p for p in (home / name).rglob("*") if _is_image(p, home))
        refuse_links_out(images, home)
        if every_class and not images:
            raise DataError(
                "data.path",
                str(home / name),
                f"holds no images; put {', '.join(sorted(s[1:] for s in _SUFFIXES))} files there, or remove the folder",
            )
        items.extend((p, label) for p in images)
    if not items:
        raise DataError("data.path", str(home), "holds no images; put a folder of images per class there, or remove it")
    return items


def _is_image(path: Path, home: Path) -> bool:
    hidden = any(piece.startswith(".") for piece in path.relative_to(home).parts)
    return path.suffix.lower() in _SUFFIXES and not hidden and path.is_file()


# ------------------------------------------------------------------ pixels
def _decode(paths: list[Path], *, size: int, channels: Channels, fit: Fit) -> list[np.ndarray]:
    """Each image as uint8 (1, C, size, size), C = 1 or 3. Threads help, since decoding holds no lock."""
    if find_spec("PIL") is None:
        raise DataError("data", "image_folder", "needs Pillow to read images: pip install pillow")
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        return list(pool.map(partial(_read, size=size, channels=channels, fit=fit), paths))


def _read(path: Path, *, size: int, channels: Channels, fit: Fit) -> np.ndarray:
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as file:
            # said by the header: nothing of it is decoded yet
            if file.width * file.height > _LARGEST:
                raise ValueError(f"{file.width} x {file.height} pixels are more than {_LARGEST:,}")
            upright = ImageOps.exif_transpose(file)
            image = _plain(upright, channels)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError("data.path", str(path), f"cannot be read as an image ({error}); repair or remove it") from error
    if image.size != (size, size):
        method = Image.Resampling.BILINEAR
        if fit == "crop":
            image = ImageOps.fit(image, (size, size), method)
        elif fit == "pad":
            image = ImageOps.pad(image, (size, size), method)
        else:
            image = image.resize((size, size), method)
    pixels = np.asarray(image, dtype=np.uint8)
    planes = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    return planes[None]


def _plain(image: Image.Image, channels: Channels) -> Image.Image:
    """Mode L or RGB, without palette, transparency or 16 bits."""
    from PIL import Image

    if image.mode.startswith("I"):  # 16 bits a pixel; PIL's own conversion would clip instead of scale
        image = Image.fromarray((np.asarray(image, dtype=np.float64) / 257.0).clip(0, 255).astype(np.uint8))
    grey = image.mode in _GREY
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    wanted = "L" if channels == 1 or (channels == "auto" and grey) else "RGB"
    return image.convert(wanted)
