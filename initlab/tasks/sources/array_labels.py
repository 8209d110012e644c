"""Reads class labels from an array of numbers or names; refuses other targets with advice that works."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from initlab.errors import DataError

#: kinds of numpy dtypes, in words
_KINDS = {"c": "complex numbers", "M": "dates", "m": "time spans", "V": "records"}
#: numbers that are no labels as such: bins of equal counts, by the training part's quantiles
_BIN = "numpy.digitize({y}, numpy.quantile({of}, [0.25, 0.5, 0.75])).astype(str)"
_REGRESSION = "initlab trains classifiers, a regression is no task here"
#: most values that numbers with decimals may have to be taken for classes by what is advised
_FEW = 20


@dataclass(frozen=True, kw_only=True)
class LabelReader:
    """Reads the label arrays of a file, those of the training part first.

    Attributes:
        where: the file, for errors.
        names: of the classes, in the order of the labels; empty before the labels of the training part were read.
        numbered: whether the labels are numbers.
        of: name of the training labels in the file.
    """

    where: str
    names: tuple[str, ...] = ()
    numbered: bool = True
    of: str = "y"

    def fit(self, array: np.ndarray, *, name: str) -> LabelReader:
        """The reader with the classes of the training labels `array`, called `name` in the file.

        Whole numbers from 0 without a gap, also as floats, are classes by number; False and True are 0 and 1; text is
        the classes' names, which are sorted. Of one-hot rows the class is the column that holds 1.

        Raises:
            DataError: with what to write instead.
        """
        flat = self._flat(array, name)
        if flat.dtype.kind in "US":
            text = self._text(flat, name)
            return LabelReader(where=self.where, names=tuple(sorted(set(text.tolist()))), numbered=False, of=name)
        numbers = self._numbers(flat, name)
        count, distinct = int(numbers.max()) + 1, np.unique(numbers)
        written = f"{name}.argmax(1)" if is_one_hot(array) else name
        if count > len(numbers):
            raise self._wrong(
                name,
                f"labels must be 0, 1, 2, ...; {count - 1} is too large for {len(numbers)} of them; "
                f"{_advice(distinct, len(numbers), name, written)}",
            )
        if len(distinct) < count:
            absent = ", ".join(map(str, sorted(set(range(count)) - set(distinct.tolist()))[:5]))
            raise self._wrong(
                name,
                f"labels must be 0 to {count - 1} without a gap, there is no example of {absent}; "
                f"{_advice(distinct, len(numbers), name, written)}",
            )
        names = ("False", "True")[:count] if flat.dtype.kind == "b" else tuple(str(c) for c in range(count))
        return LabelReader(where=self.where, names=names, of=name)

    def read(self, array: np.ndarray, *, name: str) -> Tensor:
        """The labels in `array` as int64 (N,).

        Raises:
            DataError: labels of another kind than those of the training part, or of a class that it lacks.
        """
        flat = self._flat(array, name)
        if (flat.dtype.kind in "US") == self.numbered:
            ours, theirs = ("numbers", "names") if self.numbered else ("names", "numbers")
            raise self._wrong(name, f"holds {theirs}, the labels of the training part are {ours}; write both alike")
        if self.numbered:
            numbers = self._numbers(flat, name)
            if int(numbers.max()) >= len(self.names):
                raise self._wrong(name, f"label {int(numbers.max())} does not occur in {self.of}")
            return torch.from_numpy(numbers)
        text = self._text(flat, name)
        strange = sorted(set(text.tolist()) - set(self.names))
        if strange:
            raise self._wrong(
                name, f"label {strange[0]!r} does not occur in {self.of}, which has {', '.join(self.names[:9])}"
            )
        return torch.from_numpy(np.searchsorted(np.array(self.names), text).astype(np.int64))

    # -------------------------------------------------------------- pieces
    def _wrong(self, name: str, what: str) -> DataError:
        return DataError("data.path", self.where, f"{name}: {what}")

    def _flat(self, array: np.ndarray, name: str) -> np.ndarray:
        """Labels (N,), one an example."""
        if array.dtype.kind not in "buifUS":
            what = _KINDS.get(array.dtype.kind, str(array.dtype))
            raise self._wrong(name, f"labels must be integers from 0 or names of classes, not {what}")
        if array.ndim == 2 and 1 in array.shape and array.size:
            array = array.reshape(-1)
        if array.ndim == 1 and array.size:
            return array
        if is_one_hot(array):
            return array.argmax(1)
        what = f"must be (N,) and not empty, one label per example, not {array.shape}"
        if array.ndim == 2 and array.size and array.dtype.kind in "buif":
            rows = array.astype(np.float64)
            if np.all((rows == 0) | (rows == 1)):
                raise self._wrong(
                    name,
                    f"{what}; several labels an example are no task here: train on one column, {name}={name}[:, 0]",
                )
            if np.all(rows >= 0) and np.allclose(rows.sum(1), 1, atol=1e-3):
                raise self._wrong(name, f"{what}, not shares of classes; the likeliest is {name}={name}.argmax(1)")
        raise self._wrong(name, what)

    def _text(self, flat: np.ndarray, name: str) -> np.ndarray:
        text = np.char.decode(flat, "utf-8", "replace") if flat.dtype.kind == "S" else flat
        text = np.char.strip(text)
        empty = np.flatnonzero(text == "")
        if len(empty):
            raise self._wrong(
                name, f"the label of example {empty[0]} is empty; name its class or leave the example out"
            )
        return text

    def _numbers(self, flat: np.ndarray, name: str) -> np.ndarray:
        if flat.dtype.kind == "f":
            bad = np.flatnonzero(~np.isfinite(flat))
            if len(bad):
                raise self._wrong(name, f"the label of example {bad[0]} is {flat[bad[0]]}; leave such examples out")
            broken = flat[flat != np.floor(flat)]
            if len(broken):
                raise self._wrong(
                    name,
                    f"labels must be integers or names, not {broken[0]:.4g}: {_REGRESSION};"
                    f" {self._how_to_bin(flat, name)}",
                )
        if flat.min() < 0:
            what = f"labels must be 0 or greater, the least is {flat.min():.15g}"
            raise self._wrong(name, f"{what}; {_advice(np.unique(flat), len(flat), name, name)}")
        if float(flat.max()) >= 1 << 62:
            raise self._wrong(name, f"{flat.max():.4g} is no number of a class")
        return flat.astype(np.int64)

    def _how_to_bin(self, flat: np.ndarray, name: str) -> str:
        values = len(np.unique(flat))
        few = values <= min(_FEW, len(flat) // 2)
        classes = f"where its {values} values are classes write {name}={name}.astype(str); " if few else ""
        return f"{classes}to classify ranges write {name}={_BIN.format(y=name, of=self.of if self.names else name)}"


def is_one_hot(array: np.ndarray) -> bool:
    """Whether `array` is (N, C), C > 1, with a single 1 in each row and 0 elsewhere."""
    if array.ndim != 2 or array.dtype.kind not in "buif" or 1 in array.shape or not array.size:
        return False
    return bool(np.all((array == 0) | (array == 1)) and np.all(np.count_nonzero(array, axis=1) == 1))


def _advice(distinct: np.ndarray, examples: int, name: str, written: str) -> str:
    """Advice for whole numbers that are no labels: too many of them to be classes, or only numbered otherwise.

    `written` is the expression whose values they are.
    """
    if len(distinct) > max(2, examples // 2):
        return f"{_REGRESSION}; to classify ranges write {name}={_BIN.format(y=name, of=name)}"
    return f"write these as names, {name}={written}.astype(str)"
