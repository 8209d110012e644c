"""Reads a table, CSV or Parquet: a row an example, a column the class, the others what it is told from."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal, Unpack

import numpy as np
import torch

from initlab.core.factories import factory
from initlab.core.signature import with_parameters_of
from initlab.core.text import listed
from initlab.errors import DataError
from initlab.spec import Part, Provenance
from initlab.tasks.image import ImageData
from initlab.tasks.raw import RawData, digest
from initlab.tasks.sources.table_columns import features_of, is_number, labels_of
from initlab.tasks.sources.table_file import Frame, column_of, only_usual, read_frame
from initlab.tasks.splitting import Plan, SplitSettings

Missing = Literal["error", "mean", "drop"]
#: columns that are named in a message
_NAMED = 9


@factory
@with_parameters_of(Plan())
def table(
    *,
    path: Path,
    target: str = "",
    drop: Sequence[str] | None = None,
    missing: Missing = "error",
    encoding: str | None = None,
    **split: Unpack[SplitSettings],
) -> ImageData:
    """The table in the file `path`: classes in one column, numbers and categories in the others.

    A number is a feature, standardised over the training part; True and False are 1 and 0; a column of text with up to
    50 different values becomes a feature for each value. Examples are vectors: use model=mlp or model=linear.

    Args:
        path: a CSV file (comma, semicolon, tab, bar or spaces between cells; header in the first line; also .gz, .bz2,
            .xz and .zip), or a Parquet file.
        target: column of the classes; empty takes the only one called target, label, class or y.
        drop: columns that are left out, such as names and numbers of rows.
        missing: ``error`` stops at an empty cell and names its column; ``mean`` puts the column's mean there, or no
            category, and adds a feature that says so; ``drop`` leaves out the rows, and tells how many.
        encoding: of a CSV file, such as ``latin-1``; None takes that of its byte order mark, else UTF-8.
        split: see `Plan`.
    """
    names = (drop,) if isinstance(drop, str) else tuple(drop or ())
    load = partial(read_table, path, target=target, drop=names, missing=missing, encoding=encoding)
    return ImageData(name="table", load=load, plan=Plan(**split))


def read_table(
    path: Path, *, target: str = "", drop: Sequence[str] = (), missing: Missing = "error", encoding: str | None = None
) -> RawData:
    """All rows as one pool, x float32 (N, features).

    Raises:
        DataError: absent, not a table, no such column, or a column that is neither numbers nor categories.
        ConfigError: an encoding that is unknown.
    """
    file = path.expanduser()
    read = read_frame(file, target, encoding=encoding)
    target = _target(read, target, file)
    for name in drop:
        if name not in read.rows.columns:
            raise DataError("data.drop", name, f"is no column of {file.name}; {_columns(read, name)}")
        if name == target:
            raise DataError("data.drop", name, "is the column of the classes, data.target; name another")
    frame = read.rows.drop(columns=list(drop))
    notes = [*read.notes]
    if missing == "drop":
        whole = frame.dropna()
        if len(whole) < len(frame):
            notes.append(f"{len(frame) - len(whole)} of {len(frame)} rows with empty cells are left out")
        if whole.empty:
            raise DataError("data.missing", "drop", f"leaves no row of {file.name}: each has an empty cell")
        frame = whole
    labels = column_of(frame, target)
    if labels.isna().any():
        rows = np.flatnonzero(labels.isna())
        what = f"is empty in {len(rows)} row(s) of {file.name}, first in row {int(rows[0]) + 1}"
        raise DataError("data.target", target, f"{what}; leave these rows out with data.missing=drop")
    y, class_names = labels_of(labels, target, file)
    rest = frame.drop(columns=[target])
    columns = [f for name in rest.columns for f in features_of(column_of(rest, name), str(name), file, missing, notes)]
    if not columns:
        raise DataError("data.path", str(file), f"has no column beside {target} that could tell the classes apart")
    text = [str(n) for n in rest.columns if not is_number(column_of(rest, n))]
    if text:
        notes.append(f"a feature for each value of {listed(text, _NAMED)}")
    if drop:
        notes.append(f"left out: {listed([*drop], _NAMED)}")
    with np.errstate(over="ignore"):  # told below
        x = np.stack(columns, axis=1).astype(np.float32)
    if not np.isfinite(x).all():
        row, column = (int(i) for i in np.argwhere(~np.isfinite(x))[0])
        raise DataError("data.path", str(file), f"row {row + 1} holds a number beyond float32 (feature {column + 1})")
    pool = Part(x=torch.from_numpy(x), y=y)
    return RawData(
        pool=pool, class_names=class_names, key="data.path", notes=tuple(notes),
        provenance=Provenance(name=file.name.split(".")[0], source=str(file.resolve()), digest=digest(pool)),
    )  # fmt: skip


# ------------------------------------------------------------------ pieces
def _target(read: Frame, target: str, file: Path) -> str:
    columns = [str(c) for c in read.rows.columns]
    if target in columns:
        return target
    hint = _header_hint(read, file)
    if target:
        raise DataError("data.target", target, f"is no column of {file.name}; {_columns(read, target)}{hint}")
    if usual := only_usual(columns):
        return usual
    said = f"say which column holds the classes, data.target=NAME; {_columns(read, '')}{hint}"
    raise DataError("data.target", None, said)


def _columns(read: Frame, wanted: str) -> str:
    """The columns that are most like `wanted`, and others, and how many there are beside them."""
    names = [str(c) for c in read.rows.columns]
    lower = {n.lower(): n for n in reversed(names)}
    near = [lower[n] for n in difflib.get_close_matches(wanted.lower(), lower, n=3, cutoff=0.6)] if wanted else []
    meant = f"did you mean {' or '.join(near)}? " if near else ""
    # the last column is often that of the classes
    shown = names if len(names) <= _NAMED else [*names[: _NAMED - 1], names[-1]]
    more = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
    return f"{meant}Its columns are {', '.join(shown)}{more}" if meant else f"its columns are {', '.join(shown)}{more}"


def _header_hint(read: Frame, file: Path) -> str:
    """A sentence, where the header looks like a row."""
    numbers = 0
    for name in read.first_line:
        try:
            float(name)
        except ValueError:
            continue
        numbers += 1
    if not numbers or [*read.first_line] == [str(i) for i in range(len(read.first_line))]:
        return ""
    return f". The first line of {file.name} looks like a row: write a line with the names of the columns above it"
