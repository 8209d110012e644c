"""Turns the columns of a table into features and labels; refuses what is neither numbers nor categories."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor

from initlab.errors import DataError
from initlab.tasks.sources.array_labels import LabelReader

if TYPE_CHECKING:
    import pandas as pd

#: columns of text with more different values are names or notes, and no categories
_MOST_CATEGORIES = 50
#: a column with more different numbers than this and at most so many different texts holds numbers and slips
_SLIP_NUMBERS, _SLIP_TEXTS = 10, 3
_DATE = r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}(?:[T ].*)?"


def is_number(column: pd.Series) -> bool:
    """Whether a column holds numbers or truth values."""
    from pandas.api import types

    return bool(types.is_numeric_dtype(column) or types.is_bool_dtype(column))


def to_numbers(texts: pd.Series) -> pd.Series:
    """The numbers that a column of text holds, NaN where it holds none."""
    import pandas as pd

    return cast("pd.Series", pd.to_numeric(texts, errors="coerce"))


def labels_of(column: pd.Series, name: str, file: Path) -> tuple[Tensor, tuple[str, ...]]:
    """The classes of a column without empty cells, int64 (N,), and their names.

    Whole numbers are classes in their order, whatever the first is; text in alphabetical order.

    Raises:
        DataError: a regression, or what is no class.
    """
    from pandas.api import types

    if types.is_datetime64_any_dtype(column):
        raise DataError("data.target", name, f"holds dates in {file.name}; name a column of classes")
    array = column.to_numpy()
    if types.is_bool_dtype(column):
        array = array.astype(bool)
    elif is_number(column):
        numbers = column.to_numpy(dtype=np.float64)
        values = np.unique(numbers)
        if not np.isfinite(values).all():
            raise DataError("data.target", name, f"holds infinite numbers in {file.name}; leave such rows out")
        how = f"to classify ranges write a column of them, {name}=pandas.qcut({name}, 4).astype(str)"
        regression = "initlab trains classifiers, a regression is no task here"
        if (values != np.floor(values)).any():
            broken = values[values != np.floor(values)][0]
            few = len(values) <= min(20, len(numbers) // 2)
            text = f"where its {len(values)} values are classes write them as text; " if few else ""
            raise DataError("data.target", name, f"holds {broken:.4g}: {regression}; {text}{how}")
        if len(values) > max(2, len(numbers) // 2):
            raise DataError(
                "data.target", name, f"has {len(values)} values in {len(numbers)} rows: {regression}; {how}"
            )
        codes = np.searchsorted(values, numbers).astype(np.int64)
        return torch.from_numpy(codes), tuple(f"{v:.0f}" for v in values)
    else:
        array = array.astype(str)
    reader = LabelReader(where=str(file)).fit(array, name=name)
    if len(reader.names) > max(2, len(array) // 2):
        what = f"has {len(reader.names)} different texts in {len(array)} rows: names or notes, no classes"
        raise DataError("data.target", name, f"{what}; name another column")
    return reader.read(array, name=name), reader.names


def features_of(column: pd.Series, name: str, file: Path, missing: str, notes: list[str]) -> list[np.ndarray]:
    """The features of a column: its numbers, or one for each of its values; and whether it was empty.

    Adds to `notes` what is odd about it.

    Raises:
        DataError: empty cells under ``missing=error``, dates, names, or numbers with a few texts among them.
    """
    empty = column.isna().to_numpy()
    if empty.any() and missing == "error":
        row = int(np.flatnonzero(empty)[0])
        raise DataError(
            "data.missing",
            "error",
            f"column {name} of {file.name} is empty in {int(empty.sum())} rows, first in row {row + 1};"
            f" data.missing=mean fills it, data.missing=drop leaves such rows out, data.drop=[{name}] the column",
        )
    if is_number(column):
        numbers = column.to_numpy(dtype=np.float64, na_value=np.nan)
        if len(numbers) > 2 and not empty.any() and np.array_equal(numbers, numbers[0] + np.arange(len(numbers))):
            notes.append(f"column {name} numbers the rows and is a feature; data.drop=[{name}] leaves it out")
        if empty.any():
            mean = np.nanmean(numbers) if not empty.all() else 0.0
            return [np.where(empty, mean, numbers), empty.astype(np.float64)]
        return [numbers]
    _refuse_dates_and_slips(column, name, file)
    values = column.astype("string").str.strip()
    categories = sorted(values.dropna().unique().tolist())
    if len(categories) > _MOST_CATEGORIES:
        raise DataError(
            "data.path",
            str(file),
            f"column {name} has {len(categories)} different texts, more than {_MOST_CATEGORIES}: no categories;"
            f" leave it out with data.drop=[{name}]",
        )
    found = [(values == c).fillna(False).to_numpy(dtype=np.float64) for c in categories]
    return [*found, empty.astype(np.float64)] if empty.any() else found


def _refuse_dates_and_slips(column: pd.Series, name: str, file: Path) -> None:
    from pandas.api import types

    values = column.dropna()
    kinds = {type(v) for v in values.head(100).tolist()}
    odd = [k.__name__ for k in kinds if k in (list, dict, tuple, bytes, np.ndarray)]
    if odd:
        what = f"column {name} holds values of type {odd[0]}: neither numbers nor categories"
        raise DataError("data.path", str(file), f"{what}; leave it out with data.drop=[{name}]")
    text = values.astype("string").str.strip()
    if types.is_datetime64_any_dtype(column) or (len(text) and text.str.fullmatch(_DATE).all()):
        what = f"column {name} holds dates ({text.iloc[0]}): neither numbers nor categories"
        raise DataError(
            "data.path", str(file), f"{what}; write parts of them as columns, or leave it out with data.drop=[{name}]"
        )
    numbers = to_numbers(text)
    slips = cast("pd.Series", text[numbers.isna()])
    if numbers.nunique() > _SLIP_NUMBERS and 0 < slips.nunique() <= _SLIP_TEXTS:
        row = int(np.flatnonzero(column.index == slips.index[0])[0])
        what = f"column {name} holds numbers, and {slips.iloc[0]!r} in row {row + 1}"
        raise DataError(
            "data.path",
            str(file),
            f"{what} ({len(slips)} such cells); write these as numbers or leave them empty, or data.drop=[{name}]",
        )
