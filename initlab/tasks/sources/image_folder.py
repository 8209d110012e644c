"""Reads the user's own images from a folder: one sub-folder a class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Unpack

import torch

from initlab.core.factories import factory
from initlab.core.signature import with_parameters_of
from initlab.core.text import storable
from initlab.errors import DataError
from initlab.spec import Part, PartName, PositiveInt, Provenance
from initlab.tasks.augment import AugmentName
from initlab.tasks.bad_files import Bad, BadFiles, describe_bad_files, note_bad_files, refuse_bad_files
from initlab.tasks.class_folders import find_class_folders, labelled_files
from initlab.tasks.image import ImageData
from initlab.tasks.raw import RawData, digest
from initlab.tasks.sources.image_files import (
    IMAGES,
    Channels,
    Fit,
    Picture,
    bring_to_one_scale,
    decode_images,
    stack_images,
)
from initlab.tasks.splitting import Plan, SplitSettings

#: share of the images that may be bad files: of a folder with more of them something else is wrong
_MOST_BAD = 0.5


@factory
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
            that Pillow does not decode (svg, raw) are bad files. For the names of parts see `class_folders.py`.
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
    """All images below `path`, (N, C, size, size); classes in alphabetical order.

    uint8; float32 where one of them has more than 8 bits a pixel (`image_files.py`).

    Raises:
        DataError: no folder, fewer than two classes, two folders for one part, a class or part without an image that
            can be read, more bad files than good ones, or one of them where `bad_files` is ``error``.
    """
    found = find_class_folders(path, IMAGES)
    folder = path.expanduser()
    labels = {name: label for label, name in enumerate(found.class_names)}
    files, left_out = labelled_files(found, IMAGES)
    read = {
        part: decode_images([p for p, _ in items], size=size, channels=channels, fit=fit)
        for part, items in files.items()
    }
    bad: list[Bad] = []
    named: list[tuple[str, Picture]] = []
    parts: dict[PartName, list[tuple[Picture, str]]] = {part: [] for part in files}
    for part, items in files.items():
        for (file, name), image in zip(items, read.pop(part), strict=True):
            place = file.relative_to(folder).as_posix()
            if isinstance(image, str):
                bad.append((place, image))
            else:
                named.append((place, image))
                parts[part].append((image, name))
    total = sum(map(len, files.values()))
    _check_bad_files(bad, total, str(folder), bad_files=bad_files)
    _check_left(files, parts, bad, folder)
    scale, told = bring_to_one_scale(named, where=str(folder))
    planes = (p.pixels.shape[0] for items in parts.values() for p, _ in items)
    deepest = max(planes) if channels == "auto" else int(channels)
    made = {
        part: Part(
            x=torch.from_numpy(stack_images([p for p, _ in items], planes=deepest, scale=scale)),
            y=torch.tensor([labels[name] for _, name in items], dtype=torch.int64),
        )
        for part, items in parts.items()
    }
    return RawData(
        pool=made["train"],
        val=made.get("val"),
        test=made.get("test"),
        class_names=tuple(map(storable, found.class_names)),
        provenance=Provenance(
            name=storable(folder.resolve().name),
            source=storable(str(folder.resolve())),
            digest=digest(*made.values()),
            note=f"image folder, {size} x {size}, fit={fit}",
        ),
        key="data.path",
        notes=(*found.notes, *left_out, *told, *note_bad_files(bad, total, "images")),
    )


# ------------------------------------------------------------------ bad files
def _check_bad_files(bad: Sequence[Bad], total: int, where: str, *, bad_files: BadFiles) -> None:
    if bad_files == "error":
        refuse_bad_files(bad, where, key="data.path")
    if len(bad) > _MOST_BAD * total:
        advice = IMAGES.how_to_convert((name for name, _ in bad), "png or jpg") or "repair or remove them"
        raise DataError(
            "data.path",
            where,
            f"{len(bad)} of {total} images cannot be used: {describe_bad_files(bad)}; {advice}",
        )


def _check_left(
    files: Mapping[PartName, Sequence[tuple[Path, str]]],
    parts: Mapping[PartName, Sequence[tuple[Picture, str]]],
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
            advice = IMAGES.how_to_convert(names, "png or jpg")
            why = describe_bad_files([(n, reasons[n]) for n in names])
            raise DataError(
                "data.path", str(folder), f"holds no usable image of {what}: {why}{advice and f'; {advice}'}"
            )
