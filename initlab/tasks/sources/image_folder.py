"""Reads the user's own images from a folder: one sub-folder a class."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Unpack

import numpy as np
import torch

from initlab.core.signature import with_parameters_of
from initlab.core.text import to_one_line
from initlab.errors import DataError
from initlab.spec import Part, PartName, PositiveInt, Provenance
from initlab.tasks.augment import AugmentName
from initlab.tasks.bad_files import Bad, BadFiles, describe_bad_files, note_bad_files, refuse_bad_files
from initlab.tasks.class_folders import FileKinds, find_class_folders, labelled_files
from initlab.tasks.image import ImageData
from initlab.tasks.raw import RawData, digest
from initlab.tasks.splitting import Plan, SplitSettings

if TYPE_CHECKING:
    from PIL import Image

Channels = Literal[1, 3, "auto"]
Fit = Literal["crop", "stretch", "pad"]

#: pixels of an image; a kilobyte can say that it has billions
_LARGEST = 50_000_000
#: share of the images that may be bad files: of a folder with more of them something else is wrong
_MOST_BAD = 0.5
#: Pillow's names of the formats that are read, whatever the suffix says. Not EPS, for which it starts Ghostscript.
_FORMATS = ("PNG", "JPEG", "MPO", "BMP", "DIB", "GIF", "WEBP", "TIFF", "PPM", "JPEG2000", "AVIF")
_IMAGES = FileKinds(
    noun="images",
    usual=("bmp", "gif", "jpg", "png", "tif", "webp"),
    suffixes=frozenset(
        f".{s}"
        for s in (
            "png", "jpg", "jpeg", "jpe", "jfif", "bmp", "dib", "gif", "webp", "tif", "tiff", "ppm", "pgm", "pbm", "pnm",
            "jp2", "j2k", "avif", "mpo",
        )
    ),
    undecoded=frozenset(
        f".{s}"
        for s in (
            "heic", "heif", "jxl", "svg", "psd", "eps", "tga", "raw", "dng", "cr2", "cr3", "nef", "arw", "orf", "rw2",
            "raf", "exr", "hdr", "dcm",
        )
    ),
)  # fmt: skip
_GREY = frozenset({"1", "L", "LA", "La", "F"})


@with_parameters_of(Plan())
def image_folder(
    *,
    path: Path,
    size: PositiveInt = 32,
    channels: Channels = "auto",
    fit: Fit = "crop",
    bad_files: BadFiles = "skip",
    augment: AugmentName = "none",
    **split: Unpack[SplitSettings],
) -> ImageData:
    """Images below ``path/<class>/``, or below ``path/train/<class>/`` with val/ and test/ beside it.

    Args:
        path: the folder. Names that begin with a dot and files that are no images are passed over. Images in a format
            that Pillow does not decode (heic, svg) are bad files. For the names of parts see `class_folders.py`.
        size: side in pixels that every image is brought to.
        channels: 1 grey, 3 colour, or auto: grey where every file is grey. Transparency is laid on white.
        fit: how an image that is not square becomes square: ``crop`` keeps the middle, ``stretch`` distorts, ``pad``
            adds black.
        bad_files: ``skip`` passes over what cannot be read and says so, ``error`` refuses it.
        augment: see `augment.py`.
        split: see `Plan`. The official parts go first where they exist.
    """
    load = partial(read_image_folder, path, size=size, channels=channels, fit=fit, bad_files=bad_files)
    return ImageData(name="image_folder", load=load, plan=Plan(**split), augment=augment)


def read_image_folder(
    path: Path, *, size: int = 32, channels: Channels = "auto", fit: Fit = "crop", bad_files: BadFiles = "skip"
) -> RawData:
    """All images below `path` as uint8 (N, C, size, size); classes in alphabetical order.

    Raises:
        DataError: no folder, fewer than two classes, two folders for one part, a class or part without an image that
            can be read, more bad files than good ones, or one of them where `bad_files` is ``error``.
    """
    found = find_class_folders(path, _IMAGES)
    folder = path.expanduser()
    labels = {name: label for label, name in enumerate(found.class_names)}
    files, left_out = labelled_files(found, _IMAGES)
    read = {
        part: _decode([p for p, _ in items], size=size, channels=channels, fit=fit) for part, items in files.items()
    }
    bad: list[Bad] = []
    parts: dict[PartName, list[tuple[np.ndarray, str]]] = {part: [] for part in files}
    for part, items in files.items():
        for (file, name), image in zip(items, read.pop(part), strict=True):
            if isinstance(image, str):
                bad.append((file.relative_to(folder).as_posix(), image))
            else:
                parts[part].append((image, name))
    total = sum(map(len, files.values()))
    _check_bad_files(bad, total, str(folder), bad_files=bad_files)
    _check_left(files, parts, bad, folder)
    planes = (a.shape[0] for part in parts.values() for a, _ in part)
    deepest = max(planes) if channels == "auto" else int(channels)
    made = {
        part: Part(
            x=torch.from_numpy(np.stack([np.broadcast_to(a, (deepest, size, size)) for a, _ in items])),
            y=torch.tensor([labels[name] for _, name in items], dtype=torch.int64),
        )
        for part, items in parts.items()
    }
    return RawData(
        pool=made["train"],
        val=made.get("val"),
        test=made.get("test"),
        class_names=found.class_names,
        provenance=Provenance(
            name=folder.resolve().name,
            source=str(folder.resolve()),
            digest=digest(*made.values()),
            note=f"image folder, {size} x {size}, fit={fit}",
        ),
        key="data.path",
        notes=(*found.notes, *left_out, *note_bad_files(bad, total, "images")),
    )


# ------------------------------------------------------------------ bad files
def _check_bad_files(bad: Sequence[Bad], total: int, where: str, *, bad_files: BadFiles) -> None:
    if bad_files == "error":
        refuse_bad_files(bad, where, key="data.path")
    if len(bad) > _MOST_BAD * total:
        advice = _IMAGES.how_to_convert((name for name, _ in bad), "png or jpg") or "repair or remove them"
        raise DataError(
            "data.path",
            where,
            f"{len(bad)} of {total} images cannot be used: {describe_bad_files(bad)}; {advice}",
        )


def _check_left(
    files: Mapping[PartName, Sequence[tuple[Path, str]]],
    parts: Mapping[PartName, Sequence[tuple[np.ndarray, str]]],
    bad: Sequence[Bad],
    folder: Path,
) -> None:
    """Raises DataError where no image is left of a class of the training part, or of a whole part."""
    reasons = dict(bad)
    for part, items in files.items():
        left = {name for _, name in parts[part]}
        # a test part need not have every class
        groups = sorted({name for _, name in items}) if part == "train" else [None]
        for group in groups:
            if (group in left) if group is not None else left:
                continue
            names = [p.relative_to(folder).as_posix() for p, name in items if group in (None, name)]
            what = f"the {part} part" if group is None else f"class {group!r}"
            advice = _IMAGES.how_to_convert(names, "png or jpg")
            why = describe_bad_files([(n, reasons[n]) for n in names])
            raise DataError(
                "data.path", str(folder), f"holds no usable image of {what}: {why}{advice and f'; {advice}'}"
            )


# ------------------------------------------------------------------ pixels
def _decode(paths: list[Path], *, size: int, channels: Channels, fit: Fit) -> list[np.ndarray | str]:
    """Each image as uint8 (C, size, size), C = 1 or 3, or why it cannot be read.

    Threads help, since decoding holds no lock.
    """
    if find_spec("PIL") is None:
        raise DataError("data", "image_folder", "needs Pillow to read images: pip install pillow")
    from PIL import Image

    Image.init()
    # found once: an unreadable file would search for the formats of plug-ins again
    formats = tuple(f for f in _FORMATS if f in Image.OPEN)
    with warnings.catch_warnings(), ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        warnings.simplefilter("ignore")  # what matters of an odd file is told in a note
        return list(pool.map(partial(_read, formats=formats, size=size, channels=channels, fit=fit), paths))


def _read(path: Path, *, formats: tuple[str, ...], size: int, channels: Channels, fit: Fit) -> np.ndarray | str:
    from PIL import Image, ImageOps

    try:
        if not path.stat().st_size:
            return "is empty"
        with Image.open(path, formats=formats) as file:
            # said by the header: nothing of it is decoded yet
            if file.width * file.height > _LARGEST:
                return f"cannot be read as an image ({file.width} x {file.height} pixels are more than {_LARGEST:,})"
            upright = ImageOps.exif_transpose(file)
            image = _plain(upright, channels)
    except Image.UnidentifiedImageError:
        suffix = path.suffix.lower()
        if suffix in _IMAGES.undecoded:
            return f"is {suffix[1:]}, which Pillow does not decode"
        return "cannot be read as an image (its content is of no known format)"
    except Exception as error:  # decoders raise anything from struct.error to KeyError on damaged files
        return f"cannot be read as an image ({to_one_line(str(error)) or type(error).__name__})"
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
    return np.ascontiguousarray(planes)


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
