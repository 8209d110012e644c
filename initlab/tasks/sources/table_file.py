"""Reads the file of a table, CSV or Parquet, into a data frame: delimiter, encoding, header, empty cells."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from initlab.core.memory import raise_if_memory
from initlab.core.text import listed
from initlab.errors import ConfigError, DataError
from initlab.tasks.encoding import describe_bad_byte, encoding_of
from initlab.tasks.sources.table_columns import is_number, to_numbers

if TYPE_CHECKING:
    import pandas as pd

#: names of the column of the classes, where none is given
USUAL = ("target", "label", "class", "y")
PARQUET = (".parquet", ".pq")
#: delimiters of CSV files
_MARKS = (",", ";", "\t", "|")
#: texts that mean an empty cell, beside those of pandas; UCI's tables have "?"
_EMPTY = ("?",)
#: texts that pandas takes for an empty cell and that are classes in the column of the classes
_CLASSES = frozenset({"None", "NA", "n/a"})
_OTHER = {
    ".xlsx": "a spreadsheet", ".xls": "a spreadsheet", ".ods": "a spreadsheet", ".json": "JSON", ".jsonl": "JSON",
    ".feather": "Feather", ".arrow": "Arrow", ".h5": "HDF5", ".sav": "SPSS", ".dta": "Stata", ".npz": "for data=npz",
}  # fmt: skip
_DECIMAL = re.compile(r"[+-]?\d*,\d+(?:[eE][+-]?\d+)?|[+-]?\d+")
_GROUPS = re.compile(r"[+-]?\d{1,3}(?:,\d{3})+(?:\.\d+)?|[+-]?\d{1,3}(?:\.\d+)?")


@dataclass(frozen=True, kw_only=True)
class Frame:
    """A table as read.

    Attributes:
        rows: the data frame; the names of its columns are text.
        notes: what was found about the file.
        first_line: of a CSV file, the cells of its header; empty for Parquet.
    """

    rows: pd.DataFrame
    notes: tuple[str, ...] = ()
    first_line: tuple[str, ...] = ()


def read_frame(file: Path, target: str, *, encoding: str | None = None) -> Frame:
    """The table in `file`.

    Args:
        file: CSV, also compressed, or Parquet.
        target: column of the classes, empty for the usual one; texts such as NA are classes in it and not empty cells.
        encoding: of a CSV file; None takes that of its byte order mark, else UTF-8.

    Raises:
        DataError: absent, not a table, or without rows.
        ConfigError: an encoding that is unknown.
    """
    import pandas as pd

    if not file.is_file():
        what = "is a folder, not a file" if file.is_dir() else "does not exist"
        raise _wrong(file, f"{what}; give a CSV or Parquet file")
    suffix = file.suffix.lower()
    if suffix in _OTHER:
        raise _wrong(file, f"is {_OTHER[suffix]}; write the table as CSV or Parquet")
    try:
        if suffix in PARQUET:
            found = Frame(rows=pd.read_parquet(file).rename(columns=str))
        else:
            found = _read_csv(_content(file), file, target, encoding)
    except ConfigError:  # ours, DataError among them
        raise
    except UnicodeDecodeError as error:
        raise _wrong(file, describe_bad_byte(error, error.encoding)) from error
    except Exception as error:  # pandas', csv's, pyarrow's and zlib's own
        raise_if_memory(error)
        raise _wrong(file, f"cannot be read as a table: {_reason(error)}") from error
    if found.rows.empty:
        raise _wrong(file, "has no rows below its header")
    return found


def only_usual(columns: Iterable[str]) -> str:
    """The only one of `columns` that is called target, label, class or y; empty where there is none, or several."""
    found = [c for c in columns if c.lower() in USUAL]
    return found[0] if len(found) == 1 else ""


def column_of(frame: pd.DataFrame, name: str) -> pd.Series:
    """One column; a frame has one of each name."""
    return cast("pd.Series", frame[name])


# ------------------------------------------------------------------ pieces
def _wrong(file: Path, what: str) -> DataError:
    return DataError("data.path", str(file), what)


def _reason(error: Exception) -> str:
    text = (str(error).splitlines() or [type(error).__name__])[0]
    ragged = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", text)
    return f"line {ragged[2]} has {ragged[3]} cells, the lines before it {ragged[1]}" if ragged else text


def _content(file: Path) -> bytes:
    content = file.read_bytes()
    suffix = file.suffix.lower()
    if suffix == ".zip":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = [n for n in archive.namelist() if not n.endswith("/") and not n.startswith("__MACOSX")]
            if len(names) != 1:
                raise _wrong(file, f"holds {len(names)} files; give an archive of one table, or the table itself")
            return archive.read(names[0])
    opener = {".gz": gzip.decompress, ".bz2": bz2.decompress, ".xz": lzma.decompress}.get(suffix)
    if opener is None and content.startswith(b"PK\x03\x04"):
        raise _wrong(file, "is a spreadsheet or an archive; write the table as CSV or Parquet")
    return opener(content) if opener is not None else content


def _read_csv(content: bytes, file: Path, target: str, encoding: str | None) -> Frame:
    import pandas as pd

    name = encoding_of(content, encoding, str(file))
    text = content.decode(name)
    if "\0" in text[:4096]:
        raise _wrong(file, "holds zero bytes; it is no text")
    if text.startswith("#"):
        text = _uncommented(text, file)
    # the delimiter that makes the most columns of the first rows; a comma, where there is one column
    cells = {mark: _header(text, mark) for mark in _MARKS}
    mark = max(cells, key=lambda m: len(cells[m]))
    if len(cells[mark]) == 1 and len(re.split(r"\s+", cells[mark][0].strip())) > 1:
        cells, mark = {r"\s+": _header(text, r"\s+")}, r"\s+"
    header = [c.strip() for c in cells[mark]]
    twice = [n for n, count in Counter(h for h in header if h).items() if count > 1]
    target = target or only_usual(header)
    if target in twice:
        raise _wrong(file, f"has {header.count(target)} columns called {target}; leave one")
    empty = [*_pandas_empty(), *_EMPTY]
    of_target = {target: sorted(set(empty) - _CLASSES)} if target in header else {}
    na = {h: of_target.get(h, empty) for h in _numbered(header)}
    with warnings.catch_warnings():
        # more cells in a row than in the header: pandas would take the first for names of rows, or cut the last
        warnings.simplefilter("error", pd.errors.ParserWarning)
        try:
            frame = pd.read_csv(
                io.StringIO(text), sep=mark, skipinitialspace=True, keep_default_na=False, na_values=cast("Any", na),
                index_col=False, header=0, names=_numbered(header), low_memory=False,
            )  # fmt: skip
        except pd.errors.ParserWarning as error:
            what = f"has rows with more cells than the {len(header)} names of its header ({listed(header)})"
            raise _wrong(file, f"{what}; name every column, or remove what follows the last") from error
    notes = [f"{listed(twice)}: several columns are called so, and numbered"] if twice else []
    for column in frame.columns:
        notes += _decimal_commas(frame, column, file)
    unnamed = [c for c, h in zip(frame.columns, header, strict=True) if not h or h.startswith("Unnamed: ")]
    numbers = [c for c in unnamed if _numbers_rows(column_of(frame, c))]
    if numbers and len(numbers) < len(frame.columns):
        frame = frame.drop(columns=numbers)
        notes.append("a column without a name that numbers the rows is left out")
    _restore_empty(frame, target)
    return Frame(rows=frame, notes=tuple(notes), first_line=tuple(header))


def _uncommented(text: str, file: Path) -> str:
    """The text with the header that `numpy.savetxt` writes, ``# u,v,label``, as a header.

    Raises:
        DataError: other comments above the header.
    """
    lines = text.splitlines()
    above = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    cells = [max(len(re.split(re.escape(m), line)) for m in _MARKS) for line in lines[above - 1 : above + 1]]
    if len(cells) < 2 or cells[0] != cells[1] or cells[0] < 2:
        raise _wrong(file, "begins with a comment (#); remove the lines before the header")
    return "\n".join([lines[above - 1].removeprefix("#").strip(), *lines[above:]]) + "\n"


def _header(text: str, mark: str) -> list[str]:
    import pandas as pd

    first = pd.read_csv(io.StringIO(text), sep=mark, nrows=1, header=None, dtype=str, keep_default_na=False)
    return [str(c) for c in first.iloc[0].tolist()]


def _numbered(header: list[str]) -> list[str]:
    """Names of the columns: a second one of a name gets a number, as pandas writes it; one without gets its place."""
    found: list[str] = []
    for place, name in enumerate(header):
        wanted, number = name or f"column {place + 1}", 1
        while wanted in found:
            wanted, number = f"{name or f'column {place + 1}'}.{number}", number + 1
        found.append(wanted)
    return found


def _pandas_empty() -> list[str]:
    """What pandas takes for an empty cell."""
    return [
        "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
        "NULL", "NaN", "None", "n/a", "nan", "null",
    ]  # fmt: skip


def _decimal_commas(frame: pd.DataFrame, name: str, file: Path) -> list[str]:
    """Turns a column of numbers with decimal commas into numbers, with a note.

    Raises:
        DataError: numbers with commas that may be decimals or thousands.
    """
    column = column_of(frame, name)
    if is_number(column):
        return []
    texts = [str(v).strip() for v in column.dropna().tolist()]
    with_comma = [t for t in texts if "," in t]
    if not with_comma:
        return []
    if all(_GROUPS.fullmatch(t) for t in texts):
        raise _wrong(
            file, f"column {name} holds numbers with commas ({with_comma[0]}); write them with a decimal point"
        )
    if not all(_DECIMAL.fullmatch(t) for t in texts):
        return []
    frame[name] = column.str.strip().str.replace(",", ".").astype("float64")
    return [f"column {name} has decimal commas"]


def _numbers_rows(column: pd.Series) -> bool:
    from pandas.api import types

    if not types.is_integer_dtype(column):
        return False
    values = column.to_numpy(dtype=np.int64)
    return int(values[0]) in (0, 1) and np.array_equal(values, values[0] + np.arange(len(values)))


def _restore_empty(frame: pd.DataFrame, target: str) -> None:
    """Takes NA and None for empty cells in a column of the classes that otherwise holds numbers."""
    column = column_of(frame, target) if target in frame.columns else None
    if column is None or is_number(column):
        return
    odd = column.isin(sorted(_CLASSES))
    rest = cast("pd.Series", column[~odd])
    numbers = to_numbers(rest)
    if odd.any() and numbers.notna().any() and numbers.isna().sum() == rest.isna().sum():
        frame[target] = to_numbers(column.mask(odd))
