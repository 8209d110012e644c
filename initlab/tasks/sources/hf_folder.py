"""Reads the images of a folder of Hugging Face `datasets`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Unpack

import numpy as np
import torch
from torch import Tensor

from initlab.core.factories import factory
from initlab.core.signature import with_parameters_of
from initlab.errors import DataError
from initlab.spec import Part, PartName, PositiveInt, Provenance
from initlab.tasks.augment import AugmentName
from initlab.tasks.bad_files import Bad, BadFiles, describe_bad_files, note_bad_files, refuse_bad_files
from initlab.tasks.hf_labels import Labels, read_labels
from initlab.tasks.hf_tables import Column, HfFolder, file_contents, read_hf_folder
from initlab.tasks.image import ImageData
from initlab.tasks.raw import RawData, digest
from initlab.tasks.sources.image_files import Channels, Fit, Picture, bring_to_one_scale, decode_images, stack_images
from initlab.tasks.sources.npz import read_examples
from initlab.tasks.splitting import Plan, SplitSettings

#: share of the images that may be bad: of a data set with more of them something else is wrong
_MOST_BAD = 0.5


@factory
@with_parameters_of(Plan())
def hf_folder(
    *,
    path: Path,
    column: str = "",
    target: str = "",
    size: PositiveInt = 32,
    channels: Channels = "auto",
    fit: Fit = "crop",
    bad_files: BadFiles = "skip",
    augment: AugmentName = "none",
    **split: Unpack[SplitSettings],
) -> ImageData:
    """Images of a folder that `Dataset.save_to_disk` or `DatasetDict.save_to_disk` wrote, or of Parquet files.

    Splits called train, validation and test (or another spelling, `part_names.py`) are the parts. Classes are a
    ClassLabel, text, whole numbers or truth values.

    Args:
        path: the folder.
        column: of the images, or of arrays of numbers; empty takes the only one.
        target: column of the classes; empty takes the only ClassLabel, else the one called label.
        size: side in pixels that every image is brought to; arrays keep their shape.
        channels: see `image_folder`, as for `fit` and `bad_files`.
        fit: see `image_folder`.
        bad_files: see `image_folder`.
        augment: see `augment.py`.
        split: see `Plan`. The parts of the folder go first where they exist.
    """
    load = partial(
        read_hf_images, path, column=column, target=target, size=size, channels=channels, fit=fit, bad_files=bad_files
    )
    return ImageData(name="hf_folder", load=load, plan=Plan(**split), augment=augment)


def read_hf_images(
    path: Path,
    *,
    column: str = "",
    target: str = "",
    size: int = 32,
    channels: Channels = "auto",
    fit: Fit = "crop",
    bad_files: BadFiles = "skip",
) -> RawData:
    """All images below `path`, (N, C, size, size), or its arrays in their shape.

    Raises:
        DataError: see `read_hf_folder`; no column of images or classes; images that cannot be read.
    """
    found = read_hf_folder(path)
    kinds = {c.kind for c in found.columns.values()}
    if not column and not kinds & {"image", "file", "arrays"} and kinds & {"audio", "text"}:
        other = "task=speech data=hf_audio" if "audio" in kinds else "task=text data=hf_text"
        raise DataError("data.path", str(found.path), f"holds no images; {found.describe()}. Is it for {other}?")
    wanted = ("image",) if "image" in kinds and not column else ("image", "file", "arrays")
    images = found.choose(column, wanted, key="data.column", what="images", usual=("image", "img", "x", "pixels"))
    labels = read_labels(found, target)
    if images.kind == "arrays":
        parts, more = _arrays(found, images, labels.parts), ()
    else:
        parts, more = _pictures(found, images, labels, size=size, channels=channels, fit=fit, bad_files=bad_files)
    return RawData(
        pool=parts["train"],
        val=parts.get("val"),
        test=parts.get("test"),
        class_names=labels.names,
        provenance=Provenance(
            name=found.path.resolve().name,
            source=str(found.path.resolve()),
            digest=digest(*parts.values()),
            note=f"Hugging Face data set, images of {images.name}, classes of {labels.column.name}",
        ),
        key="data.path",
        notes=(*found.notes, *labels.notes, *more),
    )


# ------------------------------------------------------------------ pieces
def _pictures(
    found: HfFolder,
    column: Column,
    labels: Labels,
    *,
    size: int,
    channels: Channels,
    fit: Fit,
    bad_files: BadFiles,
) -> tuple[dict[PartName, Part], tuple[str, ...]]:
    where, bad, total = str(found.path), list[Bad](), 0
    good: dict[PartName, list[tuple[Picture, int]]] = {}
    named: list[tuple[str, Picture]] = []
    for part, y in labels.parts.items():
        rows = list(file_contents(found.tables[part].column(column.name), found.path))
        kept = [(f"{part} row {i + 1}", rows[i], int(label)) for i, label in enumerate(y.tolist()) if label >= 0]
        contents = [content or b"" for _, (content, _), _ in kept]
        total += len(kept)
        good[part] = []
        for (place, (content, file), label), image in zip(
            kept, decode_images(contents, size=size, channels=channels, fit=fit), strict=True
        ):
            if isinstance(image, str):
                lost = f"names the file {file}, which is not in the folder" if content is None and file else image
                bad.append((place, lost))
            else:
                named.append((place, image))
                good[part].append((image, label))
    if bad_files == "error":
        refuse_bad_files(bad, where, key="data.path")
    if len(bad) > _MOST_BAD * total:
        what = f"{len(bad)} of {total} images cannot be used: {describe_bad_files(bad)}"
        raise DataError("data.path", where, what)
    for part, items in good.items():
        held = {label for _, label in items}
        lacking = [n for i, n in enumerate(labels.names) if i not in held] if part == "train" else []
        if lacking or not items:
            what = f"class {lacking[0]!r}" if lacking else f"the {part} part"
            raise DataError("data.path", where, f"holds no usable image of {what}: {describe_bad_files(bad)}")
    scale, told = bring_to_one_scale(named, where=where)
    planes = max(p.pixels.shape[0] for _, p in named) if channels == "auto" else int(channels)
    parts: dict[PartName, Part] = {
        part: Part(
            x=torch.from_numpy(stack_images([p for p, _ in items], planes=planes, scale=scale)),
            y=torch.tensor([label for _, label in items], dtype=torch.int64),
        )
        for part, items in good.items()
    }
    return parts, (*told, *note_bad_files(bad, total, "images"))


def _arrays(found: HfFolder, column: Column, labels: dict[PartName, Tensor]) -> dict[PartName, Part]:
    parts: dict[PartName, Part] = {}
    for part, y in labels.items():
        values = found.tables[part].column(column.name).to_pylist()
        try:
            rows = np.array([v for v, label in zip(values, y.tolist(), strict=True) if label >= 0])
        except ValueError as error:
            what = f"column {column.name} holds arrays of different shapes; write them alike"
            raise DataError("data.path", str(found.path), what) from error
        x = read_examples(rows, name=column.name, path=found.path)
        parts[part] = Part(x=x, y=y[y >= 0])
    shape = parts["train"].x.shape[1:]
    for part, found_part in parts.items():
        theirs = tuple(found_part.x.shape[1:])
        if theirs == tuple(shape):
            continue
        what = f"column {column.name} has the shape {theirs} in {part}, {tuple(shape)} in train"
        raise DataError("data.path", str(found.path), what)
    if len({p.x.dtype for p in parts.values()}) > 1:
        parts = {part: Part(x=p.x.float(), y=p.y) for part, p in parts.items()}
    return parts
