"""The user's own arrays: every layout, and one clear sentence for everything that is wrong with them."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from initlab.errors import DataError
from initlab.tasks import ImageTask, npz
from initlab.tasks.sources.npz import Layout, read_npz

RNG = np.random.default_rng(0)
Y = np.arange(30) % 3


def images(*shape: int, dtype: str = "uint8") -> np.ndarray:
    return RNG.integers(0, 256, (30, *shape)).astype(dtype)


def saved(path: Path, **arrays: Any) -> Path:
    np.savez(path / "data.npz", **arrays)
    return path / "data.npz"


@pytest.mark.parametrize(
    ("shape", "layout", "expected"),
    [
        ((8, 9), "auto", (1, 8, 9)),
        ((1, 8, 9), "auto", (1, 8, 9)),
        ((3, 8, 9), "auto", (3, 8, 9)),
        ((8, 9, 3), "auto", (3, 8, 9)),
        ((8, 9, 1), "auto", (1, 8, 9)),
        ((16, 8, 9), "channels_first", (16, 8, 9)),
        ((8, 9, 16), "channels_last", (16, 8, 9)),
        ((3, 8, 3), "channels_last", (3, 3, 8)),
        ((64,), "auto", (64,)),
    ],
)
def test_layouts(tmp_path: Path, shape: tuple[int, ...], layout: Layout, expected: tuple[int, ...]) -> None:
    x = images(*shape)
    data = npz(path=saved(tmp_path, x=x, y=Y), layout=layout)
    splits = ImageTask(data=data).open(seed=0, device=torch.device("cpu"))
    assert splits.io.input_shape == expected
    assert splits.io.classes == 3
    assert splits.train.x.dtype == torch.uint8
    pool = data.load().pool
    if len(shape) == 3 and expected[0] == shape[-1]:
        assert np.array_equal(pool.x.numpy(), x.transpose(0, 3, 1, 2))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_floats_become_float32_and_are_standardised(tmp_path: Path, dtype: str) -> None:
    x = (RNG.standard_normal((30, 3, 5, 5)) * 7 + 2).astype(dtype)
    splits = ImageTask(data=npz(path=saved(tmp_path, x=x, y=Y))).open(seed=0, device=torch.device("cpu"))
    assert splits.train.x.dtype == torch.float32
    z = splits.prepare(splits.train.x)
    torch.testing.assert_close(z.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)


def test_small_integers_are_kept_as_bytes_and_large_ones_as_floats(tmp_path: Path) -> None:
    assert read_npz(saved(tmp_path, x=images(4, 4, dtype="int64"), y=Y)).pool.x.dtype == torch.uint8
    assert read_npz(saved(tmp_path, x=images(4, 4, dtype="int64") > 99, y=Y)).pool.x.dtype == torch.uint8
    assert read_npz(saved(tmp_path, x=images(4, 4, dtype="int64") * 10, y=Y)).pool.x.dtype == torch.float32


def test_an_official_test_part(tmp_path: Path) -> None:
    x_test = images(8, 8)
    raw = read_npz(saved(tmp_path, x=images(8, 8), y=Y, x_test=x_test[:4], y_test=np.array([[0], [2], [1], [2]])))
    assert raw.test is not None
    assert raw.test.y.tolist() == [0, 2, 1, 2]
    assert np.array_equal(raw.test.x[:, 0].numpy(), x_test[:4])


def test_test_images_in_another_dtype(tmp_path: Path) -> None:
    raw = read_npz(
        saved(tmp_path, x=images(8, 8), y=Y, x_test=images(8, 8, dtype="float32")[:2], y_test=np.array([0, 1]))
    )
    assert raw.test is not None
    assert raw.test.x.dtype == raw.pool.x.dtype == torch.float32


X = images(8, 8)
NAN = X.astype("float32")
NAN[7, 3, 3] = np.nan


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": X}, "lacks y, it holds x; write it with"),
        ({"spectra": X, "names": Y}, "lacks x and y, it holds spectra, names"),
        ({"train_images": X, "train_labels": Y, "test_images": X}, "lacks y_test: test_images and y_test go together"),
        ({"images": X, "features": X, "labels": Y}, "images and features both hold the train part; leave one out"),
        ({"x": X, "y": Y, "x_test": X}, "lacks y_test"),
        ({"x": X, "y": Y[:-1]}, "x has 30 examples, y has 29 labels"),
        ({"x": X, "y": Y - 1}, "labels must be 0 or greater, the least is -1"),
        ({"x": X, "y": Y + 1}, "without a gap, there is no example of 0"),
        ({"x": X, "y": Y * 10**9}, "2000000000 is too large for 30"),
        ({"x": NAN, "y": Y}, "x: holds NaN or infinite numbers, first in example 7"),
        ({"x": X.astype("float64") * 1e300, "y": Y}, "NaN or infinite"),
        ({"x": X.astype(str), "y": Y}, "x: must hold numbers"),
        ({"x": X.astype("complex64"), "y": Y}, "x: must hold numbers"),
        ({"x": X[:, 0, 0], "y": Y}, r"x: must be \(N, H, W\)"),
        ({"x": X[:0], "y": Y[:0]}, "not empty"),
        ({"x": X.astype(object), "y": Y}, "holds Python objects instead of numbers"),
        ({"x": X, "y": Y, "x_test": X, "y_test": Y + 1}, "y_test: label 3 does not occur in y"),
        ({"x": X, "y": Y, "x_test": X[:, 1:], "y_test": Y}, r"x_test: examples have the shape \(1, 7, 8\)"),
        ({"x": images(3, 8, 3), "y": Y}, r"data\.layout=auto: cannot tell where the channels"),
        ({"x": images(9, 8, 7), "y": Y}, r"data\.layout=auto: cannot tell where the channels"),
    ],
)
def test_wrong_arrays(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_npz(saved(tmp_path, **arrays))


def test_wrong_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data\.path=.*nowhere\.npz: does not exist"):
        read_npz(tmp_path / "nowhere.npz")
    with pytest.raises(DataError, match="is a folder"):
        read_npz(tmp_path)
    text = tmp_path / "text.npz"
    text.write_text("x,y\n1,2\n")
    with pytest.raises(DataError, match=r"text\.npz: is not an \.npz file; write it with numpy\.savez"):
        read_npz(text)
    np.save(tmp_path / "one.npy", X)
    with pytest.raises(DataError, match=r"is not an \.npz file"):
        read_npz(tmp_path / "one.npy")
    whole = saved(tmp_path, x=X, y=Y)
    broken = bytearray(whole.read_bytes())
    broken[200:260] = bytes(60)
    whole.write_bytes(bytes(broken))
    with pytest.raises(DataError, match="is damaged"):
        read_npz(whole)
    whole.write_bytes(bytes(broken[: len(broken) // 2]))
    with pytest.raises(DataError, match=r"is not an \.npz file"):
        read_npz(whole)


def declared(path: Path, *, shape: tuple[int, ...], dtype: str, of: str) -> Path:
    """A file in which the array `of` declares `shape`, and holds 64 bytes."""
    header, plain = io.BytesIO(), io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": dtype, "fortran_order": False, "shape": shape})
    np.save(plain, images(8, 8) if of == "y" else Y)
    with zipfile.ZipFile(path / "data.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{of}.npy", header.getvalue() + bytes(64))
        archive.writestr(f"{'x' if of == 'y' else 'y'}.npy", plain.getvalue())
    return path / "data.npz"


@pytest.mark.parametrize(
    ("shape", "dtype", "of"),
    [
        ((10**12, 8, 8), "<f4", "x"),
        ((2**40, 2**40), "|u1", "x"),
        ((10**12,), "<i8", "y"),
        ((2**63 - 1,), "<u8", "y"),
        ((30,), "<U100000000", "y"),
        ((30, 65), "<f8", "x"),
    ],
)
def test_a_shape_that_the_file_does_not_hold_is_refused_in_words(
    tmp_path: Path, shape: tuple[int, ...], dtype: str, of: str
) -> None:
    with pytest.raises(DataError, match=f"{of} is declared as .* bytes, and .* are there") as told:
        read_npz(declared(tmp_path, shape=shape, dtype=dtype, of=of))
    assert "MemoryError" not in str(told.value)


@pytest.mark.parametrize("label", [2**64 - 1, 2**63, 2**53 + 1])
@pytest.mark.parametrize("kind", ["uint64", "float64"])
def test_labels_beyond_int64_are_refused_in_words(tmp_path: Path, label: int, kind: str) -> None:
    y = Y.astype(kind)
    y[4] = label
    with pytest.raises(DataError, match=r"no number of a class|too large"):
        read_npz(saved(tmp_path, x=images(8, 8), y=y))


def test_small_labels_of_uint64_are_classes(tmp_path: Path) -> None:
    assert read_npz(saved(tmp_path, x=images(8, 8), y=Y.astype("uint64"))).class_names == ("0", "1", "2")
