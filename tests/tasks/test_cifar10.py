"""The reader of CIFAR-10's archive, on small archives of the same layout that hold made-up numbers."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest

from initlab.errors import DataError
from initlab.tasks.sources import cifar10 as source


class Evil:
    """What a hostile pickle does: names a function to be called on loading."""

    def __init__(self, marker: Path) -> None:
        self.marker = str(marker)

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (self.marker,)


def batch(seed: int, n: int = 20) -> dict[bytes, object]:
    data = np.random.default_rng(seed).integers(0, 256, (n, 3072), dtype=np.uint8)
    return {b"data": data, b"labels": [i % 10 for i in range(n)], b"batch_label": b"made up"}


def python2_batch(data: np.ndarray, labels: list[int]) -> bytes:
    """A pickle as Python 2 wrote it, protocol 2 with byte strings, opcode by opcode as in the real batches."""

    def small(text: bytes) -> bytes:
        return b"U" + bytes([len(text)]) + text

    shape = b"".join(b"J" + struct.pack("<i", n) for n in data.shape)
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n" + b"cnumpy\nndarray\n" + b"K\x00\x85" + small(b"b") + b"\x87R"
        + b"(K\x01" + shape + b"\x86"
        + b"cnumpy\ndtype\n" + small(b"u1") + b"K\x00K\x01\x87R"
        + b"(K\x03" + small(b"|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        + b"\x89T" + struct.pack("<I", data.nbytes) + data.tobytes() + b"tb"
    )  # fmt: skip
    numbers = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    return b"\x80\x02}(" + small(b"data") + array + small(b"labels") + numbers + b"u."


def contents() -> dict[str, bytes]:
    return {name: pickle.dumps(batch(i), protocol=4) for i, name in enumerate(source.FILES)}


def archive(root: Path, files: dict[str, bytes]) -> str:
    """Writes the archive and returns its checksum."""
    path = root / source.ARCHIVE
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(f"{source.FOLDER}/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def test_the_archive_is_read_where_it_lies(tmp_path: Path) -> None:
    md5 = archive(tmp_path, contents())
    raw = source.read_cifar10(tmp_path, archive_md5=md5)
    assert raw.pool.x.shape == (100, 3, 32, 32)
    assert raw.test is not None
    assert raw.test.x.shape == (20, 3, 32, 32)
    expected = np.asarray(batch(0)[b"data"]).reshape(-1, 3, 32, 32)
    assert np.array_equal(raw.pool.x[:20].numpy(), expected)
    assert raw.pool.y[:20].tolist() == [i % 10 for i in range(20)]
    assert [p.name for p in tmp_path.iterdir()] == [source.ARCHIVE]


def test_the_unpacked_folder_gives_the_same(tmp_path: Path) -> None:
    files = contents()
    packed = source.read_cifar10(tmp_path, archive_md5=archive(tmp_path, files))
    (tmp_path / source.ARCHIVE).unlink()
    (tmp_path / source.FOLDER).mkdir()
    for name, content in files.items():
        (tmp_path / source.FOLDER / name).write_bytes(content)
    sums = {name: hashlib.md5(content, usedforsecurity=False).hexdigest() for name, content in files.items()}
    assert source.read_cifar10(tmp_path, file_md5=sums).provenance == packed.provenance
    with pytest.raises(DataError, match="data_batch_1: is damaged"):
        source.read_cifar10(tmp_path)


def test_a_pickle_of_python_2() -> None:
    data = np.random.default_rng(0).integers(0, 256, (4, 3072), dtype=np.uint8)
    table = source.load_numbers(python2_batch(data, [3, 1, 4, 1]))
    assert np.array_equal(table[b"data"], data)
    assert table[b"labels"] == [3, 1, 4, 1]


def test_the_checksum_comes_first(tmp_path: Path) -> None:
    archive(tmp_path, {"data_batch_1": pickle.dumps(Evil(tmp_path / "ran"))})
    with pytest.raises(DataError, match=f"it must be {source.ARCHIVE_MD5}"):
        source.read_cifar10(tmp_path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("protocol", range(6))
def test_an_evil_pickle_is_refused(tmp_path: Path, protocol: int) -> None:
    evil = pickle.dumps({"data": Evil(tmp_path / "ran"), "labels": [0]}, protocol=protocol)
    with pytest.raises(pickle.UnpicklingError, match=r"it names \w+\.mkdir"):
        source.load_numbers(evil)
    md5 = archive(tmp_path, contents() | {"test_batch": evil})
    with pytest.raises(DataError, match=r"is not a batch of CIFAR-10: it names \w+\.mkdir"):
        source.read_cifar10(tmp_path, archive_md5=md5)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "names",
    [
        "builtins\neval",
        "os\nsystem",
        "numpy\nload",
        "numpy\ncore.os.system",
        "numpy.core.multiarray\nscalar",
        "_codecs\nencode",
    ],
)
def test_every_other_name_is_refused(names: str) -> None:
    with pytest.raises(pickle.UnpicklingError, match="it names"):
        source.load_numbers(b"\x80\x02c" + names.encode() + b"\n.")


@pytest.mark.parametrize(
    "content", [b"", b"text", pickle.dumps([1, 2]), pickle.dumps({b"data": b"x"}), pickle.dumps(7)]
)
def test_other_content(tmp_path: Path, content: bytes) -> None:
    md5 = archive(tmp_path, contents() | {"data_batch_3": content})
    with pytest.raises(DataError, match="data_batch_3: is not a batch of CIFAR-10"):
        source.read_cifar10(tmp_path, archive_md5=md5)


def test_a_batch_is_missing(tmp_path: Path) -> None:
    files = contents()
    del files["data_batch_2"]
    with pytest.raises(DataError, match="lacks data_batch_2"):
        source.read_cifar10(tmp_path, archive_md5=archive(tmp_path, files))


def test_not_an_archive(tmp_path: Path) -> None:
    (tmp_path / source.ARCHIVE).write_bytes(b"<html>404</html>")
    md5 = hashlib.md5(b"<html>404</html>", usedforsecurity=False).hexdigest()
    with pytest.raises(DataError, match="cannot be read"):
        source.read_cifar10(tmp_path, archive_md5=md5)


def test_checksums_are_torchvisions() -> None:
    from torchvision.datasets import CIFAR10

    assert CIFAR10.tgz_md5 == source.ARCHIVE_MD5
    assert CIFAR10.url == source.URL
    assert dict([*CIFAR10.train_list, *CIFAR10.test_list]) == dict(source.FILES)
