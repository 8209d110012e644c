"""Reads MNIST and Fashion-MNIST idx files in torchvision's layout: ``<root>/MNIST/raw/train-images-idx3-ubyte[.gz]``.

The idx format is a big-endian header (two zero bytes, a type code, the number of dimensions, their sizes) and raw
bytes. It is read here, compressed or not, so that a read-only directory of downloads serves as it is.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Unpack

import numpy as np
import torch
from torch import Tensor

from initlab.core.factories import factory
from initlab.core.signature import with_parameters_of
from initlab.errors import DataError
from initlab.spec import Part, Provenance
from initlab.tasks.augment import AugmentName
from initlab.tasks.download import check_md5, data_root, fetch
from initlab.tasks.image import ImageData
from initlab.tasks.raw import RawData, digest
from initlab.tasks.splitting import TEST_FIELDS, OfficialTestSettings, Plan

_UNSIGNED_BYTE = 8


@dataclass(frozen=True, kw_only=True)
class IdxSet:
    """One data set of four idx files.

    Attributes:
        folder: below the data root, as torchvision calls it; also the name of torchvision's class.
        files: name of each compressed file and its md5: train images, train labels, test images, test labels.
    """

    name: str
    folder: str
    files: tuple[tuple[str, str], ...]
    class_names: tuple[str, ...]
    source: str
    licence: str


MNIST = IdxSet(
    name="mnist",
    folder="MNIST",
    files=(
        ("train-images-idx3-ubyte.gz", "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
        ("train-labels-idx1-ubyte.gz", "d53e105ee54ea40749a09fcbcd1e9432"),
        ("t10k-images-idx3-ubyte.gz", "9fb629c4189551a2d022fa330f9573f3"),
        ("t10k-labels-idx1-ubyte.gz", "ec29112dd5afa0611ce80d1b7f02629c"),
    ),
    class_names=tuple("0123456789"),
    source="http://yann.lecun.com/exdb/mnist/",
    licence="CC BY-SA 3.0",
)
FASHION_MNIST = IdxSet(
    name="fashion_mnist",
    folder="FashionMNIST",
    files=(
        ("train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
        ("train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe"),
        ("t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79"),
        ("t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310"),
    ),
    class_names=(
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
    source="https://github.com/zalandoresearch/fashion-mnist",
    licence="MIT",
)


@factory
@with_parameters_of(Plan(), omit=TEST_FIELDS)
def mnist(
    *,
    root: Path | None = None,
    augment: AugmentName = "none",
    **split: Unpack[OfficialTestSettings],
) -> ImageData:
    """70,000 handwritten digits, 28 x 28 grey, 10,000 of them the official test part; fetched where absent.

    Args:
        root: directory that holds ``MNIST/raw``; None looks at INITLAB_DATA, then in the cache directory.
        augment: see `augment.py`.
        split: see `Plan`.

    LeCun, Bottou, Bengio & Haffner, Proceedings of the IEEE, 1998.
    """
    return _data(MNIST, root, Plan(**split), augment)


@factory
@with_parameters_of(Plan(), omit=TEST_FIELDS)
def fashion_mnist(
    *,
    root: Path | None = None,
    augment: AugmentName = "none",
    **split: Unpack[OfficialTestSettings],
) -> ImageData:
    """70,000 articles of clothing, 28 x 28 grey, laid out as MNIST and harder. Arguments as for `mnist`.

    Xiao, Rasul & Vollgraf, arXiv:1708.07747, 2017.
    """
    return _data(FASHION_MNIST, root, Plan(**split), augment)


def read_idx_set(which: IdxSet, root: Path | None = None) -> RawData:
    """The train and test parts of `which` below `root`, fetched where they are absent.

    Raises:
        DataError: a file is absent and cannot be fetched, or is damaged.
    """
    raw = data_root(root) / which.folder / "raw"
    train_x, train_y, test_x, test_y = (_array(which, raw, name, md5) for name, md5 in which.files)
    pool, test = _part(train_x, train_y, raw), _part(test_x, test_y, raw)
    return RawData(
        pool=pool,
        test=test,
        class_names=which.class_names,
        provenance=Provenance(name=which.name, source=which.source, digest=digest(pool, test), licence=which.licence),
        key="data.root",
    )


def missing_files(which: IdxSet, root: Path) -> list[Path]:
    """The files that would have to be fetched into `root`, in their compressed form."""
    raw = root / which.folder / "raw"
    return [
        raw / name for name, _ in which.files if not ((raw / name).is_file() or (raw / name).with_suffix("").is_file())
    ]


def read_idx(path: Path) -> np.ndarray:
    """The uint8 array of an idx file, compressed where its name ends in ``.gz``.

    Raises:
        DataError: not an idx file of unsigned bytes, or not as long as its header says.
    """
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError("data.root", str(path), f"cannot be read ({error}); delete it to fetch it again") from error
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] != _UNSIGNED_BYTE:
        raise DataError("data.root", str(path), "is not an idx file of unsigned bytes; delete it to fetch it again")
    dimensions = content[3]
    header = 4 + 4 * dimensions
    shape = struct.unpack(f">{dimensions}I", content[4:header]) if len(content) >= header else (-1,)
    if len(content) - header != math.prod(shape):
        raise DataError("data.root", str(path), "is cut short or too long; delete it to fetch it again")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


# ------------------------------------------------------------------ pieces
def _data(which: IdxSet, root: Path | None, plan: Plan, augment: AugmentName) -> ImageData:
    return ImageData(name=which.name, load=partial(read_idx_set, which, root), plan=plan, augment=augment)


def _array(which: IdxSet, raw: Path, name: str, md5: str) -> np.ndarray:
    packed = raw / name
    unpacked = packed.with_suffix("")
    if unpacked.is_file():
        return read_idx(unpacked)
    if not packed.is_file():
        fetch(packed, [f"{mirror}{name}" for mirror in _mirrors(which)], md5)
    check_md5(packed, md5)
    return read_idx(packed)


def _mirrors(which: IdxSet) -> list[str]:
    from torchvision import datasets

    return list(getattr(datasets, which.folder).mirrors)


def _part(x: np.ndarray, y: np.ndarray, raw: Path) -> Part:
    if x.ndim != 3 or y.shape != x.shape[:1] or len(y) == 0 or int(y.max()) > 9:
        raise DataError("data.root", str(raw), "holds images and labels that do not belong together; delete them")
    return Part(x=_writable(x).unsqueeze(1), y=_writable(y).long())


def _writable(array: np.ndarray) -> Tensor:
    """A tensor of its own memory: the buffer of a file is read-only, which torch warns of."""
    return torch.from_numpy(array.copy())
