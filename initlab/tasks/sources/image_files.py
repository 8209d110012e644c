"""Decodes image files to arrays: any format of Pillow, palettes, transparency, 16 and 32 bits a pixel."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from initlab.core.memory import raise_if_memory
from initlab.core.text import to_one_line
from initlab.errors import DataError
from initlab.tasks.class_folders import FileKinds

if TYPE_CHECKING:
    from PIL import Image

Channels = Literal[1, 3, "auto"]
Fit = Literal["crop", "stretch", "pad"]
#: what a pixel is stored as: 8 or 16 bits, a whole number of 32 bits, a float
Depth = Literal["8", "16", "32", "float"]

#: pixels of an image; a kilobyte can say that it has billions
_LARGEST = 50_000_000
#: Pillow's names of the formats that are read, whatever the suffix says. Not EPS, for which it starts Ghostscript.
_FORMATS = ("PNG", "JPEG", "MPO", "BMP", "DIB", "GIF", "WEBP", "TIFF", "PPM", "JPEG2000", "AVIF")
#: formats that are tried where the suffix says so alone: many of them have no mark at their beginning
_BY_SUFFIX = {
    "tga": "TGA", "icb": "TGA", "vda": "TGA", "vst": "TGA", "psd": "PSD", "pcx": "PCX", "dcx": "DCX", "sgi": "SGI",
    "bw": "SGI", "rgb": "SGI", "rgba": "SGI", "ico": "ICO", "cur": "CUR", "icns": "ICNS", "qoi": "QOI", "xbm": "XBM",
    "xpm": "XPM", "ras": "SUN", "dds": "DDS", "fit": "FITS", "fits": "FITS", "msp": "MSP", "pxr": "PIXAR", "pcd": "PCD",
    "im": "IM", "blp": "BLP", "ftc": "FTEX", "ftu": "FTEX", "gbr": "GBR", "fli": "FLI", "flc": "FLI",
}  # fmt: skip
#: packages that teach Pillow a format by their import: suffixes → module, function to call, name of the package
_PLUGINS = {
    ("heic", "heif", "hif", "heics", "heifs"): ("pillow_heif", "register_heif_opener", "pillow-heif"),
    ("jxl",): ("pillow_jxl", "", "pillow-jxl-plugin"),
}
IMAGES = FileKinds(
    noun="images",
    usual=("bmp", "gif", "jpg", "png", "tif", "webp"),
    suffixes=frozenset(
        f".{s}"
        for s in (
            "png", "apng", "jpg", "jpeg", "jpe", "jfif", "bmp", "dib", "gif", "webp", "tif", "tiff", "ppm", "pgm",
            "pbm", "pnm", "pfm", "jp2", "j2k", "jpc", "jpf", "jpx", "j2c", "avif", "avifs", "mpo", *_BY_SUFFIX,
        )
    ),
    undecoded=frozenset(
        f".{s}"
        for s in (
            "heic", "heif", "hif", "heics", "heifs", "jxl", "svg", "eps", "ps", "wmf", "emf", "jxr", "xcf",
            "raw", "dng", "cr2", "cr3", "nef", "arw", "orf", "rw2", "raf", "exr", "hdr", "dcm",
        )
    ),
)  # fmt: skip
_GREY = frozenset({"1", "L", "LA", "La", "F"})


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A decoded image.

    Attributes:
        pixels: uint8 (C, size, size) with C = 1 or 3; float32 (1, size, size) with the values of the file where these
            have more than 8 bits.
        depth: what a pixel was stored as.
        frames: whether the file holds several images, of which this is the first.
    """

    pixels: np.ndarray
    depth: Depth = "8"
    frames: bool = False


def decode_images(sources: Sequence[Path | bytes], *, size: int, channels: Channels, fit: Fit) -> list[Picture | str]:
    """Each image, a file or the content of one, or why it cannot be read.

    Threads help, since decoding holds no lock.

    Raises:
        DataError: Pillow is not installed.
    """
    if find_spec("PIL") is None:
        raise DataError("data", None, "needs Pillow to read images: pip install pillow")
    from PIL import Image

    Image.init()
    _register_plugins(s.suffix.lower()[1:] for s in sources if isinstance(s, Path))
    read = partial(_read, size=size, channels=channels, fit=fit)
    with warnings.catch_warnings(), ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        warnings.simplefilter("ignore")  # what matters of an odd file is told in a note
        return list(pool.map(read, sources))


def bring_to_one_scale(
    pictures: Iterable[tuple[str, Picture]], *, where: str, key: str = "data.path"
) -> tuple[float | None, tuple[str, ...]]:
    """How the values of the named images of a data set become comparable, and notes.

    16 bits become 0 to 255 with decimals. Floats and whole numbers of 32 bits stay as they are.

    Returns:
        what values of more than 8 bits are divided by; None where there are none and all images are uint8.

    Raises:
        DataError: values that stay as they are beside images of 8 or 16 bits, whose scale is another.
    """
    first: dict[Depth, str] = {}
    counts: dict[Depth, int] = {}
    low, high, frames, total = 0.0, 0.0, 0, 0
    for name, picture in pictures:
        first.setdefault(picture.depth, name)
        counts[picture.depth] = counts.get(picture.depth, 0) + 1
        frames += picture.frames
        total += 1
        if picture.depth == "32":
            low, high = min(low, float(picture.pixels.min())), max(high, float(picture.pixels.max()))
    notes = [f"{frames} of {total} images hold several images; the first of each is read"] if frames else []
    # Pillow opens 16 bits of some formats as 32
    wide: set[Depth] = {"float", "32"} if low < 0 or high > 65535 else {"float"}
    as_is: list[Depth] = [d for d in counts if d in wide]
    scaled: list[Depth] = [d for d in counts if d not in wide]
    if as_is and scaled:
        what = (
            f"{first[as_is[0]]} holds {'floats' if as_is[0] == 'float' else 'whole numbers of 32 bits'},"
            f" {first[scaled[0]]} {'16' if scaled[0] != '8' else '8'} bits: their scales cannot be told;"
            " write all images in one of these"
        )
        raise DataError(key, where, what)
    deep = sum(n for d, n in counts.items() if d != "8")
    if as_is:
        notes.append(f"{deep} of {total} images hold floats or 32 bits; their values are taken as they are")
        return 1.0, tuple(notes)
    if deep:
        notes.append(f"{deep} of {total} images hold 16 bits; they become 0 to 255 with decimals")
        return 257.0, tuple(notes)
    return None, tuple(notes)


def stack_images(pictures: Sequence[Picture], *, planes: int, scale: float | None) -> np.ndarray:
    """The images as (N, planes, size, size), uint8 or, where there is a `scale`, float32."""
    if scale is None:
        found = [p.pixels for p in pictures]
    else:
        found = [p.pixels.astype(np.float32) if p.depth == "8" else p.pixels / np.float32(scale) for p in pictures]
    return np.stack([np.broadcast_to(a, (planes, *a.shape[1:])) for a in found])


# ------------------------------------------------------------------ pieces
def _register_plugins(suffixes: Iterable[str]) -> None:
    held = set(suffixes)
    for theirs, (module, function, _) in _PLUGINS.items():
        if held & set(theirs) and find_spec(module) is not None:
            found = import_module(module)
            if function:
                getattr(found, function)()


def _read(source: Path | bytes, *, size: int, channels: Channels, fit: Fit) -> Picture | str:
    from PIL import Image, ImageOps

    suffix = source.suffix.lower()[1:] if isinstance(source, Path) else ""
    plugin = next((p for suffixes, p in _PLUGINS.items() if suffix in suffixes), None)
    more = (_BY_SUFFIX.get(suffix, ""), "HEIF" if suffix != "jxl" and plugin else "", "JXL" if suffix == "jxl" else "")
    # found once: an unreadable file would search for the formats of plug-ins again
    formats = tuple(f for f in (*_FORMATS, *more) if f in Image.OPEN)
    try:
        if not (source.stat().st_size if isinstance(source, Path) else len(source)):
            return "is empty"
        with Image.open(source if isinstance(source, Path) else io.BytesIO(source), formats=formats) as file:
            # said by the header: nothing of it is decoded yet
            if file.width * file.height > _LARGEST:
                return f"cannot be read as an image ({file.width} x {file.height} pixels are more than {_LARGEST:,})"
            frames = bool(getattr(file, "is_animated", False))
            upright = ImageOps.exif_transpose(file)
            image, depth = _plain(upright, channels)
    except Image.UnidentifiedImageError:
        if f".{suffix}" in IMAGES.undecoded:
            install = f" (pip install {plugin[2]})" if plugin and find_spec(plugin[0]) is None else ""
            return f"is {suffix}, which Pillow does not decode{install}"
        return "cannot be read as an image (its content is of no known format)"
    except Exception as error:  # decoders raise anything from struct.error to KeyError on damaged files
        raise_if_memory(error)
        return f"cannot be read as an image ({to_one_line(str(error)) or type(error).__name__})"
    if image.size != (size, size):
        method = Image.Resampling.BILINEAR
        if fit == "crop":
            image = ImageOps.fit(image, (size, size), method)
        elif fit == "pad":
            image = ImageOps.pad(image, (size, size), method)
        else:
            image = image.resize((size, size), method)
    pixels = np.asarray(image, dtype=np.uint8 if depth == "8" else np.float32)
    if not np.isfinite(pixels).all():
        return "holds NaN or infinite values"
    planes = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    return Picture(pixels=np.ascontiguousarray(planes), depth=depth, frames=frames)


def _plain(image: Image.Image, channels: Channels) -> tuple[Image.Image, Depth]:
    """Mode L or RGB, without palette and transparency, of 8 bits; or mode F with the values of more bits."""
    from PIL import Image

    if image.mode == "F" or image.mode.startswith("I"):
        # PIL's own conversion to 8 bits would clip
        values = np.asarray(image).astype(np.float32)
        depth: Depth = "float" if image.mode == "F" else "16" if image.mode.startswith("I;16") else "32"
        clear = image.info.get("transparency")
        if isinstance(clear, int) and depth == "16":
            values[values == clear] = 65535
        return Image.fromarray(values), depth
    if image.mode == "LAB":
        image = _from_lab(image)
    grey, palette = image.mode in _GREY, image.mode in ("P", "PA")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image if grey else image.convert("RGB")
    if palette and channels == "auto":
        red, green, blue = (np.asarray(band) for band in image.split())
        grey = bool((red == green).all() and (green == blue).all())
    wanted = "L" if channels == 1 or (channels == "auto" and grey) else "RGB"
    return image.convert(wanted), "8"


def _from_lab(image: Image.Image) -> Image.Image:
    from PIL import ImageCms

    transform = ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")
    made = ImageCms.applyTransform(image, transform)
    assert made is not None  # not in place
    return made
