"""Reads the user's own arrays from an ``.npz`` file with `x` and `y`."""

from __future__ import annotations

import math
import pickle
import zipfile
import zlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import IO, Literal, Unpack

import numpy as np
import torch
from torch import Tensor

from initlab.core.factories import factory
from initlab.core.signature import with_parameters_of
from initlab.errors import DataError
from initlab.spec import Part, PartName, Provenance
from initlab.tasks.augment import AugmentName
from initlab.tasks.image import ImageData
from initlab.tasks.raw import RawData, digest
from initlab.tasks.sources.array_labels import LabelReader, is_one_hot
from initlab.tasks.sources.array_names import HINT, Roles, roles_of
from initlab.tasks.splitting import Plan, SplitSettings

PARTS: tuple[PartName, ...] = ("train", "val", "test")
Layout = Literal["auto", "channels_first", "channels_last"]
_MOST_CHANNELS = 4  # more planes than red, green, blue and one other are not taken for channels without being told


@factory
@with_parameters_of(Plan())
def npz(
    *,
    path: Path,
    layout: Layout = "auto",
    augment: AugmentName = "none",
    **split: Unpack[SplitSettings],
) -> ImageData:
    """Arrays `x` and `y` in the file `path`, and optionally `x_val` and `y_val`, `x_test` and `y_test`.

    `x` is (N, H, W), (N, C, H, W), (N, H, W, C) or flat (N, D), of uint8 or float; `y` holds integer labels from 0,
    names of classes, or one-hot rows. `x_train`, `train_images`, `labels` and the like are found too
    (`array_names.py`), with any spelling of a part (`part_names.py`). Other arrays are left out, and named in a note.

    Args:
        path: the file, written by `numpy.savez` or `numpy.savez_compressed`. Pickled objects in it are refused.
        layout: where the channels of a four-dimensional `x` are; auto takes the dimension of size 1 to 4.
        augment: see `augment.py`.
        split: see `Plan`. The parts of the file go first where they exist.
    """
    return ImageData(name="npz", load=partial(read_npz, path, layout=layout), plan=Plan(**split), augment=augment)


def read_npz(path: Path, *, layout: Layout = "auto") -> RawData:
    """The arrays of `path` as one pool, and val and test parts where the file has them.

    Raises:
        DataError: absent, not an npz file, or arrays of the wrong form.
    """
    file = path.expanduser()
    names, left, arrays = _arrays(file)
    reader = LabelReader(where=str(file)).fit(arrays[names["y", "train"]], name=names["y", "train"])
    parts: dict[PartName, Part] = {}
    for part in PARTS:
        if ("x", part) in names:
            x_name, y_name = names["x", part], names["y", part]
            x = read_examples(arrays[x_name], name=x_name, path=file, layout=layout)
            y = reader.read(arrays[y_name], name=y_name)
            if len(x) != len(y):
                raise DataError("data.path", str(file), f"{x_name} has {len(x)} examples, {y_name} has {len(y)} labels")
            parts[part] = Part(x=x, y=y)
    shape = parts["train"].x.shape[1:]
    for part, found in parts.items():
        if found.x.shape[1:] != shape:
            shapes = f"{tuple(found.x.shape[1:])}, those of {names['x', 'train']} {tuple(shape)}"
            raise DataError("data.path", str(file), f"{names['x', part]}: examples have the shape {shapes}")
    if len({p.x.dtype for p in parts.values()}) > 1:
        parts = {part: Part(x=p.x.float(), y=p.y) for part, p in parts.items()}
    labels = [name for (kind, _), name in names.items() if kind == "y"]
    notes = [f"{name} is one-hot: the class is the column with the 1" for name in labels if is_one_hot(arrays[name])]
    if left:
        more = f" and {len(left) - 9} more" if len(left) > 9 else ""
        notes.append(f"arrays of {file.name} that are left out: {', '.join(left[:9])}{more}")
    if names["x", "train"] == "arr_0":
        notes.append("arr_0 is taken for x, arr_1 for y")
    pool, val, test = parts["train"], parts.get("val"), parts.get("test")
    ordered = (pool, test) if val is None else (pool, val, test)
    return RawData(
        pool=pool,
        val=val,
        test=test,
        class_names=reader.names,
        provenance=Provenance(name=file.stem, source=str(file.resolve()), digest=digest(*ordered)),
        key="data.path",
        notes=tuple(notes),
    )


# ------------------------------------------------------------------ pieces
def _arrays(file: Path) -> tuple[Roles, list[str], dict[str, np.ndarray]]:
    """Names of the arrays by what they hold, names of those that are left out, and the arrays."""
    if not file.is_file():
        what = "is a folder, not a file" if file.is_dir() else "does not exist"
        raise DataError("data.path", str(file), f"{what}; give an .npz file, {HINT}")
    name = ""
    try:
        if not zipfile.is_zipfile(file):
            raise DataError("data.path", str(file), f"is not an .npz file; {HINT}")
        with np.load(file, allow_pickle=False) as archive:
            roles = roles_of(archive.files, str(file))
            _check_memory(file, list(roles.values()))
            found: dict[str, np.ndarray] = {}
            for name in roles.values():
                found[name] = archive[name]
                if not isinstance(found[name], np.ndarray):  # pyright: ignore[reportUnnecessaryIsInstance]
                    raise ValueError("it holds what is no array")
            return roles, [n for n in archive.files if n not in found], found
    except (MemoryError, RuntimeError, NotImplementedError) as error:  # a size, a password or a packing from elsewhere
        raise DataError("data.path", str(file), f"cannot be read ({type(error).__name__}); {HINT}") from error
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error, pickle.UnpicklingError) as error:
        if "allow_pickle" not in str(error):
            raise DataError("data.path", str(file), f"is damaged ({error}); {HINT}") from error
        how = f"numpy.stack(list({name}))" if name.lower().startswith("x") else f"{name}.astype(str)"
        what = f"{name} holds Python objects instead of numbers or text; write {name}={how}"
        raise DataError("data.path", str(file), what) from error


def _check_memory(file: Path, names: Sequence[str]) -> None:
    """Raises DataError for arrays that unfold to more than there is memory for; a small file can hold them."""
    import psutil

    size = 0
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            name = info.filename.removesuffix(".npy")
            if name in names:
                size += info.file_size
                with archive.open(info) as content:
                    _check_declared(file, name, content, info.file_size)
    free = psutil.virtual_memory().available
    if size > free:
        raise DataError("data.path", str(file), f"holds {size / 1e9:.3g} GB of arrays, {free / 1e9:.3g} GB are free")


def _check_declared(file: Path, name: str, content: IO[bytes], size: int) -> None:
    """Raises DataError for an array whose header declares more than its `size` bytes hold."""
    try:
        version = np.lib.format.read_magic(content)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(content)
    except ValueError:
        return  # of a version to come, or no array: that is told by numpy's reader
    declared = math.prod(shape) * dtype.itemsize
    if declared > size and not dtype.hasobject:
        what = f"{name} is declared as {shape} of {dtype}, {declared:,} bytes, and {size:,} are there"
        raise DataError("data.path", str(file), f"is damaged ({what}); {HINT}")


def read_examples(array: np.ndarray, *, name: str, path: Path, layout: Layout = "auto") -> Tensor:
    """The examples in an array called `name` of the file `path`: images (N, C, H, W), or (N, D), uint8 or float32.

    Raises:
        DataError: no numbers, another shape, or channels that cannot be told from the sides.
    """

    def wrong(what: str) -> DataError:
        return DataError("data.path", str(path), f"{name}: {what}")

    if array.dtype.kind not in "buif":
        raise wrong(f"must hold numbers (uint8 or float), not {array.dtype}")
    if array.ndim not in (2, 3, 4) or 0 in array.shape:
        raise wrong(f"must be (N, H, W), (N, C, H, W), (N, H, W, C) or (N, D) and not empty, not {array.shape}")
    if array.ndim == 4 and not _channels_first(array.shape, layout, path):
        array = array.transpose(0, 3, 1, 2)
    if array.ndim == 3:
        array = array[:, None]
    if array.dtype.kind != "f" and array.min() >= 0 and array.max() <= 255:
        return torch.from_numpy(np.array(array, dtype=np.uint8, order="C"))
    # a number beyond float32 becomes infinite, and is told like one that was so from the start
    with np.errstate(over="ignore"):
        floats = np.array(array, dtype=np.float32, order="C")
    if not np.isfinite(floats).all():
        example = int(np.argwhere(~np.isfinite(floats))[0][0])
        raise wrong(f"holds NaN or infinite numbers, first in example {example}")
    return torch.from_numpy(floats)


def _channels_first(shape: tuple[int, ...], layout: Layout, path: Path) -> bool:
    if layout != "auto":
        return layout == "channels_first"
    first, last = shape[1] <= _MOST_CHANNELS, shape[3] <= _MOST_CHANNELS
    if first == last:
        raise DataError(
            "data.layout",
            "auto",
            f"cannot tell where the channels of x {shape} in {path} are; "
            "give data.layout=channels_first or data.layout=channels_last",
        )
    return first
