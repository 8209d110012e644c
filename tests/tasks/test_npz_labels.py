"""Labels of many types in an .npz file: read, or refused with advice that works when it is followed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from initlab.errors import DataError
from initlab.tasks import ImageTask, npz
from initlab.tasks.raw import RawData
from initlab.tasks.sources.npz import read_npz

RNG = np.random.default_rng(0)
N = 60
X = RNG.integers(0, 256, (N, 6, 6)).astype(np.uint8)
Y = np.arange(N) % 3
NAMES = np.array(["pear", "apple", "fig"])
PRICES = RNG.uniform(0, 5, N)


def load(folder: Path, **arrays: Any) -> RawData:
    everything: dict[str, Any] = {"x": X, **arrays}
    np.savez(folder / "mine.npz", **everything)
    return read_npz(folder / "mine.npz")


@pytest.mark.parametrize(
    ("y", "names", "first"),
    [
        (NAMES[Y], ("apple", "fig", "pear"), [2, 0, 1]),
        (np.char.encode(NAMES[Y], "utf-8"), ("apple", "fig", "pear"), [2, 0, 1]),
        (np.array(["Ä ", "b", "c"])[Y], ("b", "c", "Ä"), [2, 0, 1]),
        (Y.astype(str), ("0", "1", "2"), [0, 1, 2]),
        ((Y + 7).astype(str), ("7", "8", "9"), [0, 1, 2]),
        (Y.astype("float64"), ("0", "1", "2"), [0, 1, 2]),
        (Y.astype("float16")[:, None], ("0", "1", "2"), [0, 1, 2]),
        (Y[None].astype("uint8"), ("0", "1", "2"), [0, 1, 2]),
        (Y > 0, ("False", "True"), [0, 1, 1]),
        (NAMES[Y][:, None], ("apple", "fig", "pear"), [2, 0, 1]),
        (np.eye(3, dtype=int)[Y], ("0", "1", "2"), [0, 1, 2]),
        (np.eye(4, dtype=bool)[Y], ("0", "1", "2"), [0, 1, 2]),
        (np.eye(2, dtype="float32")[Y % 2], ("0", "1"), [0, 1, 0]),
    ],
)
def test_labels_that_are_read(tmp_path: Path, y: np.ndarray, names: tuple[str, ...], first: list[int]) -> None:
    raw = load(tmp_path, y=y)
    assert raw.class_names == names
    assert raw.pool.y[:3].tolist() == first
    assert raw.pool.y.dtype == torch.int64
    splits = ImageTask(data=npz(path=tmp_path / "mine.npz")).open(seed=0, device=torch.device("cpu"))
    assert splits.class_names == names


@pytest.mark.parametrize(
    ("y", "told"),
    [
        (PRICES, "a regression is no task here; to classify ranges"),
        (PRICES.astype("float32")[:, None], "a regression is no task here; to classify ranges"),
        (np.round(PRICES * 1e5).astype(int), "a regression is no task here; to classify ranges"),
        (PRICES - 3, "a regression is no task here; to classify ranges"),
        (np.where(Y == 0, 0.0, PRICES), "a regression is no task here; to classify ranges"),
        (Y / 2, "where its 3 values are classes write"),
        (Y + 1, r"without a gap, there is no example of 0; write these as names"),
        (Y * 5, r"there is no example of 1, 2, 3, 4, 6; write these as names"),
        (Y - 1, "the least is -1; write these as names"),
        (np.where(Y > 0, 1.0, -1.0), "the least is -1; write these as names"),
        (Y * 10**9, "2000000000 is too large for 60 of them; write these as names"),
        (np.eye(5, dtype=int)[Y * 2], r"there is no example of 1, 3; write these as names, y=y.argmax\(1\)"),
        (np.eye(3)[Y] * 0.8 + 0.2 / 3, "not shares of classes"),
        (RNG.integers(0, 2, (N, 5)) | np.eye(5, dtype=int)[1], "several labels an example"),
        (NAMES[Y].astype(object), "y holds Python objects instead of numbers or text"),
    ],
)
def test_advice_works(tmp_path: Path, y: np.ndarray, told: str) -> None:
    with pytest.raises(DataError, match=told) as caught:
        load(tmp_path, y=y)
    advised = re.findall(r"\by=([^;, ]+(?:, [^;]*[\])][^;, ]*)*)", str(caught.value))
    assert advised, caught.value
    for expression in advised:
        # as a reader of the message would type it
        raw = load(tmp_path, y=eval(expression, {"numpy": np, "y": y}))
        assert 2 <= len(raw.class_names) <= 5, expression


@pytest.mark.parametrize(
    ("y", "told"),
    [
        (np.where(Y == 2, np.nan, Y), "the label of example 2 is nan; leave such examples out"),
        (np.where(Y == 1, np.inf, Y), "the label of example 1 is inf"),
        (np.array(["a", "", "b"])[Y], "the label of example 1 is empty"),
        (Y.astype(complex), "must be integers from 0 or names of classes, not complex numbers"),
        (Y.astype("datetime64[D]"), "not dates"),
        (RNG.uniform(-1, 1, (N, 4)), r"must be \(N,\) and not empty, one label per example, not \(60, 4\)"),
        (Y[:0], "not empty"),
        (np.where(Y == 1, 1e300, Y), "is no number of a class"),
        (np.full(N, 2**63, dtype=np.uint64), "is no number of a class"),
    ],
)
def test_labels_that_are_refused(tmp_path: Path, y: np.ndarray, told: str) -> None:
    with pytest.raises(DataError, match=told):
        load(tmp_path, y=y)


# ------------------------------------------------------------------ parts and other arrays
@pytest.mark.parametrize(
    ("suffixes", "has"),
    [
        (("_val", "_test"), ("val", "test")),
        (("_valid",), ("val",)),
        (("_Validation", "_TEST"), ("val", "test")),
        (("_dev",), ("val",)),
        (("_testing",), ("test",)),
    ],
)
@pytest.mark.parametrize("train", ["", "_train"])
def test_parts_of_the_file_are_the_parts(
    tmp_path: Path, suffixes: tuple[str, ...], has: tuple[str, ...], train: str
) -> None:
    arrays: dict[str, Any] = {f"x{train}": X, f"y{train}": NAMES[Y]}
    for i, suffix in enumerate(suffixes):
        arrays |= {f"x{suffix}": X[i : 40 + i], f"y{suffix}": NAMES[Y][i : 40 + i]}
    np.savez(tmp_path / "mine.npz", **arrays)
    raw = read_npz(tmp_path / "mine.npz")
    found = {"val": raw.val, "test": raw.test}
    assert tuple(p for p, part in found.items() if part is not None and len(part) == 40) == has
    assert raw.notes == ()
    splits = ImageTask(data=npz(path=tmp_path / "mine.npz")).open(seed=0, device=torch.device("cpu"))
    if "val" in has:
        assert torch.equal(splits.val.x, torch.from_numpy(X[:40])[:, None])
        assert len(splits.train) == (60 if "test" in has else 48)


@pytest.mark.parametrize(
    "spelled",
    ["X_train y_train X_val y_val X_test y_test", "train_x train_y valid_x valid_y test_x test_y",
     "train_images train_labels val_images val_labels test_images test_labels", "images labels dev_images dev_labels"
     " testing_images testing_labels", "data target data_val target_val data_test target_test",
     "trainX trainY valX valY testX testY", "xtrain ytrain xval yval xtest ytest", "features targets val_features"
     " val_targets test_features test_targets", "x-train y-train x-validation y-validation x-test y-test"],
)  # fmt: skip
def test_spellings_of_names(tmp_path: Path, spelled: str) -> None:
    names = spelled.split()
    stops = [60, 30, 21]
    arrays = {n: (X if i % 2 == 0 else Y)[: stops[i // 2]] for i, n in enumerate(names)}
    np.savez(tmp_path / "mine.npz", **arrays)
    raw = read_npz(tmp_path / "mine.npz")
    assert raw.notes == ()
    assert [len(p) for p in (raw.pool, raw.val, raw.test) if p is not None] == stops


def test_x_and_y_win_over_other_words(tmp_path: Path) -> None:
    raw = load(tmp_path, y=Y, data=X[:, 0, 0], labels=NAMES[Y])
    assert raw.class_names == ("0", "1", "2")
    assert raw.notes == ("arrays of mine.npz that are left out: data, labels",)


def test_arrays_without_names(tmp_path: Path) -> None:
    np.savez(tmp_path / "mine.npz", X, Y)
    raw = read_npz(tmp_path / "mine.npz")
    assert len(raw.pool) == 60 and raw.notes == ("arr_0 is taken for x, arr_1 for y",)
    np.savez(tmp_path / "mine.npz", X, Y, X)
    with pytest.raises(DataError, match="lacks x and y, it holds arr_0, arr_1, arr_2"):
        read_npz(tmp_path / "mine.npz")


def test_one_hot_labels_are_told(tmp_path: Path) -> None:
    raw = load(tmp_path, y=np.eye(3)[Y], x_test=X[:9], y_test=np.eye(3)[Y[:9]])
    assert raw.test is not None and raw.test.y.tolist() == Y[:9].tolist()
    assert raw.notes == tuple(f"{n} is one-hot: the class is the column with the 1" for n in ("y", "y_test"))


def test_arrays_that_are_left_out_are_named(tmp_path: Path) -> None:
    raw = load(
        tmp_path, y=Y, ids=np.arange(N), mean=np.zeros(3), y_weights=np.ones(N), blob=np.array([{}], dtype=object)
    )
    assert raw.notes == ("arrays of mine.npz that are left out: ids, mean, y_weights, blob",)


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"y": Y, "x_val": X}, "lacks y_val: x_val and y_val go together"),
        ({"y": Y, "y_dev": Y}, "lacks x_dev: y_dev and x_dev go together"),
        ({"y": Y, "x_val": X, "y_val": Y, "x_valid": X}, "x_val and x_valid both hold the val part"),
        ({"y": Y, "x_train": X}, "x and x_train both hold the train part"),
        ({"y": NAMES[Y], "x_val": X, "y_val": Y}, "y_val: holds numbers, the labels of the training part are names"),
        ({"y": Y, "x_test": X, "y_test": NAMES[Y]}, "y_test: holds names, the labels of the training part are numbers"),
        (
            {"y": NAMES[Y], "x_val": X, "y_val": np.array(["figs"] * N)},
            "y_val: label 'figs' does not occur in y, which",
        ),
        ({"y": Y, "x_val": X[:, :5], "y_val": Y}, r"x_val: examples have the shape \(1, 5, 6\), those of x"),
        (
            {"y": Y, "x_test": X, "y_test": PRICES},
            r"y_test: .*write y_test=numpy\.digitize\(y_test, numpy\.quantile\(y,",
        ),
        ({"y": Y, "x": np.array([X[0], X[1, :3]], dtype=object)}, r"x holds Python objects.*numpy\.stack\(list\(x\)\)"),
    ],
)
def test_parts_that_do_not_fit(tmp_path: Path, arrays: dict[str, np.ndarray], told: str) -> None:
    with pytest.raises(DataError, match=told):
        load(tmp_path, **arrays)
