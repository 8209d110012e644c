"""Reads the user's own arrays from an ``.npz`` file with `x` and `y`."""

from __future__ import annotations

import pickle
import zipfile
import zlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal, Unpack

import numpy as np
import torch
from torch import Tensor

from initlab.core.signature import with_parameters_of
from initlab.errors import DataError
from initlab.spec import Part, Provenance
from initlab.tasks.augment import AugmentName
from initlab.tasks.image import ImageData
from initlab.tasks.raw import RawData, digest
from initlab.tasks.splitting import Plan, SplitSettings

Layout = Literal["auto", "channels_first", "channels_last"]
_HINT = "write it with numpy.savez(path, x=images, y=labels)"
_MOST_CHANNELS = 4  # more planes than red, green, blue and one other are not taken for channels without being told


@with_parameters_of(Plan())
def npz(
    *,
    path: Path,
    layout: Layout = "auto",
    augment: AugmentName = "none",
    **split: Unpack[SplitSettings],
) -> ImageData:
    """Arrays `x` and `y`, and optionally `x_test` and `y_test`, in the file `path`.

    `x` is (N, H, W), (N, C, H, W), (N, H, W, C) or flat (N, D), of uint8 or float; `y` holds integer labels from 0.

    Args:
        path: the file, written by `numpy.savez` or `numpy.savez_compressed`. Pickled objects in it are refused.
        layout: where the channels of a four-dimensional `x` are; auto takes the dimension of size 1 to 4.
        augment: see `augment.py`.
        split: see `Plan`.
    """
    return ImageData(name="npz", load=partial(read_npz, path, layout=layout), plan=Plan(**split), augment=augment)


def read_npz(path: Path, *, layout: Layout = "auto") -> RawData:
    """The arrays of `path` as one pool, and a test part where the file has one.

    Raises:
        DataError: absent, not an npz file, or arrays of the wrong form.
    """
    file = path.expanduser()
    arrays = _arrays(file)
    pool = _part(arrays, "", path=file, layout=layout)
    test = _part(arrays, "_test", path=file, layout=layout) if {"x_test", "y_test"} & set(arrays) else None
    classes = int(pool.y.max()) + 1
    if classes > len(pool):
        raise DataError(
            "data.path",
            str(file),
            f"y: labels must be 0, 1, 2, ...; {classes - 1} is too large for {len(pool)} of them",
        )
    absent = sorted(set(range(classes)) - set(pool.y.tolist()))
    if absent:
        shown = ", ".join(map(str, absent[:5]))
        raise DataError(
            "data.path",
            str(file),
            f"y: labels must be 0 to {classes - 1} without a gap, there is no example of {shown}",
        )
    if test is not None:
        if int(test.y.max()) >= classes:
            raise DataError("data.path", str(file), f"y_test: label {int(test.y.max())} does not occur in y")
        if test.x.shape[1:] != pool.x.shape[1:]:
            shapes = f"{tuple(test.x.shape[1:])}, those of x {tuple(pool.x.shape[1:])}"
            raise DataError("data.path", str(file), f"x_test: examples have the shape {shapes}")
        if test.x.dtype != pool.x.dtype:
            pool, test = Part(x=pool.x.float(), y=pool.y), Part(x=test.x.float(), y=test.y)
    return RawData(
        pool=pool,
        test=test,
        class_names=tuple(str(c) for c in range(classes)),
        provenance=Provenance(name=file.stem, source=str(file.resolve()), digest=digest(pool, test)),
        key="data.path",
    )


# ------------------------------------------------------------------ pieces
def _arrays(file: Path) -> dict[str, np.ndarray]:
    if not file.is_file():
        what = "is a folder, not a file" if file.is_dir() else "does not exist"
        raise DataError("data.path", str(file), f"{what}; give an .npz file, {_HINT}")
    try:
        if not zipfile.is_zipfile(file):
            raise DataError("data.path", str(file), f"is not an .npz file; {_HINT}")
        with np.load(file, allow_pickle=False) as archive:
            names = [n for n in ("x", "y", "x_test", "y_test") if n in archive.files]
            missing = [n for n in ("x", "y") if n not in names]
            if missing:
                held = ", ".join(archive.files) or "nothing"
                raise DataError("data.path", str(file), f"lacks {' and '.join(missing)}, it holds {held}; {_HINT}")
            _check_memory(file, names)
            found = {n: archive[n] for n in names}
            if not all(isinstance(a, np.ndarray) for a in found.values()):
                raise ValueError("it holds what is no array")
            return found
    except (MemoryError, RuntimeError, NotImplementedError) as error:  # a size, a password or a packing from elsewhere
        raise DataError("data.path", str(file), f"cannot be read ({type(error).__name__}); {_HINT}") from error
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error, pickle.UnpicklingError) as error:
        why = "holds Python objects instead of numbers" if "allow_pickle" in str(error) else f"is damaged ({error})"
        raise DataError("data.path", str(file), f"{why}; {_HINT}") from error


def _check_memory(file: Path, names: Sequence[str]) -> None:
    """Raises DataError for arrays that unfold to more than there is memory for; a small file can hold them."""
    import psutil

    with zipfile.ZipFile(file) as archive:
        size = sum(i.file_size for i in archive.infolist() if i.filename.removesuffix(".npy") in names)
    free = psutil.virtual_memory().available
    if size > free:
        raise DataError("data.path", str(file), f"holds {size / 1e9:.3g} GB of arrays, {free / 1e9:.3g} GB are free")


def _part(arrays: dict[str, np.ndarray], suffix: str, *, path: Path, layout: Layout) -> Part:
    x_name, y_name = f"x{suffix}", f"y{suffix}"
    absent = [n for n in (x_name, y_name) if n not in arrays]
    if absent:
        raise DataError("data.path", str(path), f"lacks {absent[0]}: x_test and y_test go together")
    x = _examples(arrays[x_name], name=x_name, path=path, layout=layout)
    y = _labels(arrays[y_name], name=y_name, path=path)
    if len(x) != len(y):
        raise DataError("data.path", str(path), f"{x_name} has {len(x)} examples, {y_name} has {len(y)} labels")
    return Part(x=x, y=y)


def _examples(array: np.ndarray, *, name: str, path: Path, layout: Layout) -> Tensor:
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


def _labels(array: np.ndarray, *, name: str, path: Path) -> Tensor:
    def wrong(what: str) -> DataError:
        return DataError("data.path", str(path), f"{name}: {what}")

    if array.dtype.kind not in "ui":
        raise wrong(f"labels must be integers, not {array.dtype}; convert them with {name}.astype('int64')")
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1 or array.size == 0:
        raise wrong(f"must be (N,) and not empty, not {array.shape}; one integer per example, not one-hot")
    if array.min() < 0:
        raise wrong(f"labels must be 0 or greater, the least is {array.min()}")
    return torch.from_numpy(array.astype(np.int64))
