"""Reads CIFAR-10 from its Python archive, with a restricted unpickler.

The archive holds pickled dictionaries. A pickle can run any code when it is loaded, so the checksum comes first, and
then a reader that knows four names of numpy and nothing else.
"""

from __future__ import annotations

import io
import pickle
import tarfile
import zlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import torch

from initlab.core.factories import factory
from initlab.core.signature import with_parameters_of
from initlab.errors import DataError
from initlab.spec import Part, Provenance
from initlab.tasks.augment import AugmentName
from initlab.tasks.download import check_md5, data_root, fetch
from initlab.tasks.image import ImageData
from initlab.tasks.raw import RawData, digest
from initlab.tasks.splitting import TEST_FIELDS, OfficialTestSettings, Plan

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
ARCHIVE = "cifar-10-python.tar.gz"
ARCHIVE_MD5 = "c58f30108f718f92721af3b95e74349a"
FOLDER = "cifar-10-batches-py"
LICENCE = "none stated; cite Krizhevsky (2009)"
#: published md5 of each unpacked file; the last batch is the official test part
FILES: Mapping[str, str] = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

#: what an array of numbers is rebuilt from, under the names of old and new numpy
_RECONSTRUCT = np.empty(0).__reduce__()[0]
_ALLOWED: Mapping[tuple[str, str], object] = {
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}


@factory
@with_parameters_of(Plan(), omit=TEST_FIELDS)
def cifar10(
    *,
    root: Path | None = None,
    augment: AugmentName = "none",
    **split: Unpack[OfficialTestSettings],
) -> ImageData:
    """60,000 colour images, 32 x 32, of 10 classes, 10,000 of them the official test part; fetched where absent.

    Args:
        root: directory that holds ``cifar-10-python.tar.gz`` or ``cifar-10-batches-py``; None looks at INITLAB_DATA,
            then in the cache directory.
        augment: see `augment.py`.
        split: see `Plan`.

    Krizhevsky, Learning multiple layers of features from tiny images, 2009.
    """
    plan = Plan(**split)
    return ImageData(name="cifar10", load=partial(read_cifar10, root), plan=plan, augment=augment)


def read_cifar10(
    root: Path | None = None, *, archive_md5: str = ARCHIVE_MD5, file_md5: Mapping[str, str] = FILES
) -> RawData:
    """The train and test parts below `root`, from the unpacked folder or the archive, fetched where both are absent.

    Args:
        root: see `cifar10`.
        archive_md5: checksum that the archive must have.
        file_md5: checksum that each unpacked file must have.

    Raises:
        DataError: absent and not to be fetched, damaged, or holding more than arrays of numbers.
    """
    home = data_root(root)
    folder, archive = home / FOLDER, home / ARCHIVE
    if folder.is_dir() and not archive.is_file():
        batches = {name: _from_folder(folder / name, file_md5[name]) for name in file_md5}
    else:
        fetch(archive, [URL], archive_md5)
        check_md5(archive, archive_md5)
        batches = _from_archive(archive, tuple(file_md5))
    train = [part for name, part in batches.items() if name != "test_batch"]
    pool = Part(x=torch.cat([p.x for p in train]), y=torch.cat([p.y for p in train]))
    test = batches["test_batch"]
    return RawData(
        pool=pool,
        test=test,
        class_names=CLASS_NAMES,
        provenance=Provenance(name="cifar10", source=URL, digest=digest(pool, test), licence=LICENCE),
        key="data.root",
    )


def is_present(root: Path) -> bool:
    """Whether the archive or its unpacked folder lies in `root`."""
    return (root / ARCHIVE).is_file() or all((root / FOLDER / name).is_file() for name in FILES)


def load_numbers(content: bytes) -> Any:
    """Unpickle dictionaries, lists, text and numpy arrays of numbers, and refuse everything else.

    Raises:
        pickle.UnpicklingError: the pickle names anything that is not needed for that.
    """
    return _NumbersOnly(io.BytesIO(content), encoding="bytes").load()


class _NumbersOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which no array of numbers needs")
        # from the table and never by import: looking a name up could itself run code
        return _ALLOWED[module, name]


# ------------------------------------------------------------------ pieces
def _from_folder(path: Path, md5: str) -> Part:
    if not path.is_file():
        raise DataError("data.root", str(path), f"is missing; unpack {ARCHIVE} again, or remove the folder to fetch it")
    check_md5(path, md5)
    return _batch(path.read_bytes(), path)


def _from_archive(archive: Path, names: tuple[str, ...]) -> dict[str, Part]:
    found: dict[str, Part] = {}
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                # read where it lies; nothing is unpacked, so no path of the archive can reach out of a folder
                name = member.name.removeprefix(f"{FOLDER}/")
                file = tar.extractfile(member) if member.isfile() and name in names else None
                if file is not None:
                    found[name] = _batch(file.read(), archive / name)
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise DataError("data.root", str(archive), f"cannot be read ({error}); delete it to fetch it again") from error
    absent = [name for name in names if name not in found]
    if absent:
        raise DataError("data.root", str(archive), f"lacks {', '.join(absent)}; delete it to fetch it again")
    return {name: found[name] for name in names}


def _batch(content: bytes, where: Path) -> Part:
    try:
        table = load_numbers(content)
        x = np.asarray(table[b"data"], dtype=np.uint8).reshape(-1, 3, 32, 32)
        y = np.asarray(table[b"labels"], dtype=np.int64)
    except (pickle.UnpicklingError, EOFError, KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise DataError("data.root", str(where), f"is not a batch of CIFAR-10: {error}") from error
    if len(x) != len(y) or y.size == 0 or y.min() < 0 or y.max() > 9:
        raise DataError("data.root", str(where), "holds images and labels that do not belong together")
    return Part(x=torch.from_numpy(x.copy()), y=torch.from_numpy(y))
