"""idx files: reading them in either form, and refusing what is not whole."""

from __future__ import annotations

import gzip
import hashlib
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from initlab.errors import DataError
from initlab.tasks.sources import idx

RNG = np.random.default_rng(0)


def packed(array: np.ndarray) -> bytes:
    return struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def tiny_set(root: Path, *, compressed: bool) -> idx.IdxSet:
    """A set of four files in MNIST's layout, with the checksums of these very files."""
    arrays = [
        RNG.integers(0, 256, (40, 4, 4), dtype=np.uint8),
        np.arange(40, dtype=np.uint8) % 10,
        RNG.integers(0, 256, (20, 4, 4), dtype=np.uint8),
        np.arange(20, dtype=np.uint8) % 10,
    ]
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True)
    files: list[tuple[str, str]] = []
    for (name, _), array in zip(idx.MNIST.files, arrays, strict=True):
        content = gzip.compress(packed(array))
        files.append((name, hashlib.md5(content, usedforsecurity=False).hexdigest()))
        if compressed:
            (folder / name).write_bytes(content)
        else:
            (folder / name).with_suffix("").write_bytes(packed(array))
    return replace(idx.MNIST, files=tuple(files))


@pytest.mark.parametrize("compressed", [True, False])
def test_both_forms(tmp_path: Path, compressed: bool) -> None:
    raw = idx.read_idx_set(tiny_set(tmp_path, compressed=compressed), tmp_path)
    assert raw.pool.x.shape == (40, 1, 4, 4)
    assert raw.test is not None
    assert raw.test.y.tolist() == [i % 10 for i in range(20)]


def test_the_digest_does_not_depend_on_the_form(tmp_path: Path) -> None:
    which = tiny_set(tmp_path, compressed=True)
    first = idx.read_idx_set(which, tmp_path).provenance.digest
    for file in (tmp_path / "MNIST" / "raw").iterdir():
        file.with_suffix("").write_bytes(gzip.decompress(file.read_bytes()))
        file.unlink()
    assert idx.read_idx_set(which, tmp_path).provenance.digest == first


def test_a_wrong_checksum_names_both(tmp_path: Path) -> None:
    which = tiny_set(tmp_path, compressed=True)
    name, md5 = which.files[0]
    file = tmp_path / "MNIST" / "raw" / name
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(DataError, match=f"{name}: is damaged or another file: .* it must be {md5}"):
        idx.read_idx_set(which, tmp_path)


def test_an_unpacked_file_that_was_cut_short(tmp_path: Path) -> None:
    which = tiny_set(tmp_path, compressed=False)
    file = tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(DataError, match="cut short"):
        idx.read_idx_set(which, tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"hello, this is text", struct.pack(">HBB", 0, 13, 1), struct.pack(">HBB", 0, 8, 3)]
)
def test_not_an_idx_file(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "train-labels-idx1-ubyte"
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"idx file|cut short"):
        idx.read_idx(file)


def test_labels_and_images_that_do_not_belong_together(tmp_path: Path) -> None:
    which = tiny_set(tmp_path, compressed=False)
    labels = tmp_path / "MNIST" / "raw" / "train-labels-idx1-ubyte"
    labels.write_bytes(packed(np.zeros(7, dtype=np.uint8)))
    with pytest.raises(DataError, match="do not belong together"):
        idx.read_idx_set(which, tmp_path)


@pytest.mark.parametrize("which", [idx.MNIST, idx.FASHION_MNIST])
def test_checksums_and_classes_are_torchvisions(which: idx.IdxSet) -> None:
    from torchvision import datasets

    theirs = getattr(datasets, which.folder)
    assert list(which.files) == list(theirs.resources)
    assert [c.split(" - ")[0] for c in theirs.classes] == list(which.class_names)
