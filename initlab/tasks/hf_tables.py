"""Reads a folder of Hugging Face `datasets`: what `save_to_disk` wrote, or Parquet files named by their parts.

Both hold Arrow tables whose schema says what the columns are; pyarrow reads them, and no code of the data set runs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from initlab.core.text import listed, to_one_line
from initlab.errors import DataError
from initlab.spec import PartName
from initlab.tasks.links import refuse_links_out
from initlab.tasks.part_names import part_of

Kind = Literal["image", "audio", "class", "text", "number", "arrays", "file", "other"]

PARTS: tuple[PartName, ...] = ("train", "val", "test")
#: a table, column, schema or type of pyarrow, which has no annotations
Arrow = Any
_NAMED = 9  # columns that a message names
#: what follows the name of a part: its number and how many there are, and a hash
_SHARD = re.compile(r"-\d+-of-\d+(?:-[0-9a-f]+)?$")
_FORM = "give a folder that Dataset.save_to_disk wrote, or one with data/train-00000-of-00001.parquet"


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of the tables.

    Attributes:
        name: of the column.
        kind: what it holds; ``file`` is the content of files of which the schema does not say the kind.
        names: of the classes, of a ClassLabel.
        words: its type, for messages.
    """

    name: str
    kind: Kind
    names: tuple[str, ...] = ()
    words: str = ""


@dataclass(frozen=True, kw_only=True)
class HfFolder:
    """A folder as read.

    Attributes:
        path: the folder.
        tables: rows of each part.
        columns: those of the training part, by name.
        notes: what is left out.
    """

    path: Path
    tables: dict[PartName, Arrow]
    columns: dict[str, Column]
    notes: tuple[str, ...] = field(default=())

    def choose(
        self, asked: str, kinds: Collection[Kind], *, key: str, what: str, usual: Collection[str] = ()
    ) -> Column:
        """The column that was asked for, else the only one of the kinds, else the only one with a usual name.

        Raises:
            DataError: no such column, or none or several that could be meant.
        """
        fit = [c for c in self.columns.values() if c.kind in kinds]
        if asked:
            if asked not in self.columns:
                raise DataError(key, asked, f"is no column; {self.describe()}")
            found = self.columns[asked]
            if found not in fit:
                raise DataError(key, asked, f"holds {found.words}, not {what}; {self.describe()}")
            return found
        named = [c for c in fit if c.name.lower() in usual]
        if len(fit) == 1 or len(named) == 1:
            return (named or fit)[0]
        if not fit:
            raise DataError("data.path", str(self.path), f"has no column of {what}; {self.describe()}")
        raise DataError(key, None, f"say which column holds {what}, {key}=NAME; {self.describe()}")

    def describe(self) -> str:
        """The columns and their types in words."""
        return f"its columns are {listed([f'{c.name} ({c.words})' for c in self.columns.values()], _NAMED)}"


def read_hf_folder(path: Path, *, key: str = "data.path") -> HfFolder:
    """The tables of all parts below `path`. A table that names no part is the training part.

    Raises:
        DataError: no such folder, a damaged file, several data sets, or parts without one to train on.
    """
    folder = path.expanduser()
    if not folder.is_dir():
        why = "is a file, not a folder" if folder.exists() else "does not exist"
        raise DataError(key, str(path), f"{why}; {_FORM}")
    files = _files(folder, key)
    by_name: dict[str, list[Path]] = {}
    homes: dict[Path, None] = {}
    for file in files:
        name, home = _split_of(file, folder)
        by_name.setdefault(name, []).append(file)
        homes[home] = None
    if len(homes) > 1:
        names = sorted(h.relative_to(folder).as_posix() for h in homes)
        example = folder / next(n for n in names if n != ".")
        raise DataError(key, str(folder), f"holds several data sets ({listed(names)}); give one, {key}={example}")
    parts: dict[PartName, str] = {}
    left: list[str] = []
    for name in by_name:
        part = part_of(name) if name else "train"
        if part is None:
            left.append(name)
        elif part in parts:
            what = f"{parts[part] or 'a table without a name'} and {name} both name the {part} part; remove one"
            raise DataError(key, str(folder), what)
        else:
            parts[part] = name
    if "train" not in parts:
        held = listed([n or "." for n in by_name])
        raise DataError(key, str(folder), f"holds the splits {held}, but no train; save the one to train on as train")
    tables: dict[PartName, Arrow] = {part: _table(by_name[parts[part]], key) for part in PARTS if part in parts}
    tables = {part: table for part, table in tables.items() if part == "train" or table.num_rows}
    if not tables["train"].num_rows:
        raise DataError(key, str(folder), "the train split has no rows")
    notes = (f"splits that are left out: {listed(left)}",) if left else ()
    return HfFolder(path=folder, tables=tables, columns=_columns(tables["train"].schema), notes=notes)


def file_contents(column: Arrow, root: Path) -> Iterable[tuple[bytes | None, str]]:
    """Of each row the content of its file, None where it has none, and the file's name.

    A row may name a file of the folder `root` in place of its content; others are not followed.
    """
    for row in column:
        value = row.as_py()
        if isinstance(value, bytes):
            yield value, ""
            continue
        content, name = ((value or {}).get("bytes"), (value or {}).get("path") or "")
        if content is None and name:
            place = root / name
            if place.is_file() and place.resolve().is_relative_to(root.resolve()):
                content = place.read_bytes()
        yield content, name


# ------------------------------------------------------------------ files
def _files(folder: Path, key: str) -> list[Path]:
    """The tables below `folder`. Files of a cache beside them (``cache-….arrow``) are not part of the data set."""
    listed_files = _saved(folder)
    if listed_files is None:
        inside = [p for p in folder.rglob("*") if p.suffix.lower() in (".parquet", ".arrow") and p.is_file()]
        visible = [p for p in inside if not any(n.startswith(".") for n in p.relative_to(folder).parts)]
        listed_files = sorted(p for p in visible if not p.name.startswith(("cache-", "tmp")))
    if not listed_files:
        kinds = sorted({p.suffix.lower() for p in folder.rglob("*") if p.is_file() and p.suffix})
        held = f" (only {listed(kinds)})" if kinds else ""
        raise DataError(key, str(folder), f"holds no .arrow or .parquet files{held}; {_FORM}")
    refuse_links_out(listed_files, folder, key=key)
    return listed_files


def _saved(folder: Path) -> list[Path] | None:
    """The files that `save_to_disk` lists, None where it did not write `folder`."""
    names = _json(folder / "dataset_dict.json").get("splits")
    homes = [folder / str(n) for n in names] if isinstance(names, list) else [folder]
    states = [(home, _json(home / "state.json").get("_data_files")) for home in homes]
    if not all(isinstance(files, list) for _, files in states):
        return None
    return [home / str(f["filename"]) for home, files in states for f in files or ()]


def _split_of(file: Path, root: Path) -> tuple[str, Path]:
    """Name of the split that `file` is of, empty where it has none, and the folder of its data set."""
    home = file.parent
    if (home / "state.json").is_file():
        if home != root:
            return home.name, home.parent
        split = str(_json(home / "state.json").get("_split") or "")
        # a part of a part, train[:50%]; saved alone it is what there is to train on
        return ("", home) if part_of(split) != "train" else (split, home)
    stem = _SHARD.sub("", file.stem)
    last = re.split(r"[-.]", stem)[-1]
    named = stem if part_of(stem) is not None or _SHARD.search(file.stem) else last if part_of(last) is not None else ""
    if not named and home != root and part_of(home.name) is not None:
        return home.name, home.parent
    return named, home.parent if home.name == "data" and home != root else home


def _json(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _table(files: list[Path], key: str) -> Arrow:
    from pyarrow import parquet

    tables: list[Arrow] = []
    for file in files:
        try:
            if file.suffix.lower() == ".parquet":
                tables.append(parquet.ParquetFile(file).read())
                continue
            with pa.memory_map(str(file)) as source:
                try:
                    tables.append(pa.ipc.open_stream(source).read_all())
                except pa.ArrowInvalid:
                    tables.append(pa.ipc.open_file(source).read_all())
        except (pa.ArrowException, OSError, ValueError) as error:
            reason = to_one_line(str(error)) or type(error).__name__
            raise DataError(key, str(file), f"cannot be read as a table ({reason}); save the data set again") from error
    try:
        return pa.concat_tables(tables)
    except pa.ArrowException as error:
        names = listed([f.name for f in files])
        raise DataError(key, str(files[0].parent), f"the files of a split have other columns: {names}") from error


# ------------------------------------------------------------------ columns
def _columns(schema: Arrow) -> dict[str, Column]:
    stored = (schema.metadata or {}).get(b"huggingface", b"{}")
    try:
        info = json.loads(stored)
        features = (info.get("info") or {}).get("features") or {}
    except (ValueError, AttributeError):
        features = {}
    return {f.name: _column(f.name, f.type, features.get(f.name)) for f in schema}


def _column(name: str, kind: Arrow, feature: Any) -> Column:
    declared = str(feature.get("_type", "")) if isinstance(feature, dict) else ""
    if declared == "ClassLabel" and isinstance(feature.get("names"), list):
        names = tuple(str(n) for n in feature["names"])
        return Column(name=name, kind="class", names=names, words=f"ClassLabel of {len(names)}")
    if declared in ("Image", "Audio"):
        return Column(name=name, kind="image" if declared == "Image" else "audio", words=declared)
    types = pa.types
    if types.is_dictionary(kind):
        kind = kind.value_type
    base = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
    words = declared if declared not in ("", "Value") else str(kind)
    if types.is_string(base) or types.is_large_string(base):
        return Column(name=name, kind="text", words="string")
    if types.is_boolean(base) or types.is_integer(base) or types.is_floating(base):
        return Column(name=name, kind="number", words=words)
    if types.is_binary(base) or types.is_large_binary(base):
        return Column(name=name, kind="file", words=words)
    if types.is_struct(base) and {base.field(i).name for i in range(base.num_fields)} == {"bytes", "path"}:
        return Column(name=name, kind="file", words="bytes and path")
    inner = base
    while types.is_list(inner) or types.is_large_list(inner) or types.is_fixed_size_list(inner):
        inner = inner.value_type
    if inner is not base and (types.is_integer(inner) or types.is_floating(inner)):
        return Column(name=name, kind="arrays", words=words)
    return Column(name=name, kind="other", words=to_one_line(words))
