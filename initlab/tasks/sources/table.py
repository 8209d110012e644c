"""Reads a table, CSV or Parquet: a row an example, a column the class, the others what it is told from."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Unpack, cast

import numpy as np
import torch

from initlab.core.signature import with_parameters_of
from initlab.errors import DataError
from initlab.spec import Part, Provenance
from initlab.tasks.image import ImageData
from initlab.tasks.raw import RawData, digest
from initlab.tasks.sources.array_labels import LabelReader
from initlab.tasks.splitting import Plan, SplitSettings

if TYPE_CHECKING:
    import pandas as pd

#: columns of text with more different values are names or notes, and no categories
_MOST_CATEGORIES = 50
#: columns that are named in a message
_NAMED = 9
_PARQUET = (".parquet", ".pq")
#: delimiters of CSV files
_MARKS = (",", ";", "\t", "|")


@with_parameters_of(Plan())
def table(
    *,
    path: Path,
    target: str = "",
    drop: Sequence[str] | None = None,
    missing: Literal["error", "mean"] = "error",
    **split: Unpack[SplitSettings],
) -> ImageData:
    """The table in the file `path`: classes in one column, numbers and categories in the others.

    A number is a feature, standardised over the training part; True and False are 1 and 0; a column of text with up to
    50 different values becomes a feature for each value. Examples are vectors: use model=mlp or model=linear.

    Args:
        path: a CSV file (comma, semicolon, tab or bar between cells; header in the first line; also .gz and .zip), or
            a Parquet file.
        target: column of the classes; empty takes the only one called target, label, class or y.
        drop: columns that are left out, such as names and numbers of rows.
        missing: ``error`` stops at an empty cell and names its column; ``mean`` puts the column's mean there, or no
            category, and adds a feature that says so.
        split: see `Plan`.
    """
    names = (drop,) if isinstance(drop, str) else tuple(drop or ())
    load = partial(read_table, path, target=target, drop=names, missing=missing)
    return ImageData(name="table", load=load, plan=Plan(**split))


def read_table(
    path: Path, *, target: str = "", drop: Sequence[str] = (), missing: Literal["error", "mean"] = "error"
) -> RawData:
    """All rows as one pool, x float32 (N, features).

    Raises:
        DataError: absent, not a table, no such column, or a column that is neither numbers nor categories.
    """
    file = path.expanduser()
    frame = _frame(file)
    target = _target(frame, target, file)
    unknown = [name for name in drop if name not in frame.columns]
    if unknown:
        raise DataError("data.drop", unknown[0], f"is no column of {file.name}; its columns are {_columns(frame)}")
    labels = _column(frame, target)
    if labels.isna().any():
        row = int(np.flatnonzero(labels.isna())[0])
        raise DataError("data.target", target, f"is empty in row {row + 1} of {file.name}; leave such rows out")
    array = labels.to_numpy()
    reader = LabelReader(where=str(file))
    array = array.astype(str) if array.dtype.kind not in "buif" else array
    reader = reader.fit(array, name=target)
    rest = frame.drop(columns=[target, *drop])
    columns, notes = [], []
    for name in rest.columns:
        columns += _features(_column(rest, name), str(name), file, missing)
    if not columns:
        raise DataError("data.path", str(file), f"has no column beside {target} that could tell the classes apart")
    text = [str(n) for n in rest.columns if not _is_number(_column(rest, n))]
    if text:
        notes.append(f"a feature for each value of {', '.join(text[:_NAMED])}")
    if drop:
        notes.append(f"left out: {', '.join(drop[:_NAMED])}")
    with np.errstate(over="ignore"):  # told below
        x = np.stack(columns, axis=1).astype(np.float32)
    if not np.isfinite(x).all():
        row, column = (int(i) for i in np.argwhere(~np.isfinite(x))[0])
        raise DataError("data.path", str(file), f"row {row + 1} holds a number beyond float32 (feature {column + 1})")
    pool = Part(x=torch.from_numpy(x), y=reader.read(array, name=target))
    return RawData(
        pool=pool, class_names=reader.names, key="data.path", notes=tuple(notes),
        provenance=Provenance(name=file.name.split(".")[0], source=str(file.resolve()), digest=digest(pool)),
    )  # fmt: skip


# ------------------------------------------------------------------ pieces
def _frame(file: Path) -> pd.DataFrame:
    import pandas as pd

    if not file.is_file():
        what = "is a folder, not a file" if file.is_dir() else "does not exist"
        raise DataError("data.path", str(file), f"{what}; give a CSV or Parquet file")
    try:
        if file.suffix.lower() in _PARQUET:
            found = pd.read_parquet(file)
        else:
            # the delimiter that makes the most columns of the first rows; a comma, where there is one column
            first = {mark: len(pd.read_csv(file, sep=mark, nrows=1, encoding="utf-8-sig").columns) for mark in _MARKS}
            found = pd.read_csv(file, sep=max(first, key=lambda mark: first[mark]), encoding="utf-8-sig")
    except (ValueError, OSError, EOFError, MemoryError, pd.errors.ParserError, ImportError) as error:
        raise DataError("data.path", str(file), f"cannot be read as a table: {str(error).splitlines()[0]}") from error
    except Exception as error:  # csv.Error, pyarrow's own
        raise DataError("data.path", str(file), f"cannot be read as a table: {str(error).splitlines()[0]}") from error
    if found.empty:
        raise DataError("data.path", str(file), "has no rows below its header")
    return found.rename(columns=str)


def _target(frame: pd.DataFrame, target: str, file: Path) -> str:
    if target:
        if target in frame.columns:
            return target
        raise DataError("data.target", target, f"is no column of {file.name}; its columns are {_columns(frame)}")
    usual = [c for c in frame.columns if c.lower() in ("target", "label", "class", "y")]
    if len(usual) == 1:
        return usual[0]
    raise DataError(
        "data.target", None, f"say which column holds the classes, data.target=NAME; the columns are {_columns(frame)}"
    )


def _column(frame: pd.DataFrame, name: str) -> pd.Series:
    """One column; a frame has one of each name, as pandas numbers those that a file has twice."""
    return cast("pd.Series", frame[name])


def _features(column: pd.Series, name: str, file: Path, missing: str) -> list[np.ndarray]:
    """The features of a column: its numbers, or one for each of its values; and whether it was empty."""
    empty = column.isna().to_numpy()
    if empty.any() and missing == "error":
        row = int(np.flatnonzero(empty)[0])
        raise DataError(
            "data.missing",
            "error",
            f"column {name} of {file.name} is empty in {int(empty.sum())} rows, first in row {row + 1};"
            f" data.missing=mean fills it, data.drop=[{name}] leaves it out",
        )
    if _is_number(column):
        numbers = column.to_numpy(dtype=np.float64, na_value=np.nan)
        if empty.any():
            mean = np.nanmean(numbers) if not empty.all() else 0.0
            return [np.where(empty, mean, numbers), empty.astype(np.float64)]
        return [numbers]
    values = column.astype("string")
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


def _is_number(column: pd.Series) -> bool:
    from pandas.api import types

    return bool(types.is_numeric_dtype(column) or types.is_bool_dtype(column))


def _columns(frame: pd.DataFrame) -> str:
    names = [str(c) for c in frame.columns]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
