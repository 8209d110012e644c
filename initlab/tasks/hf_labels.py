"""Reads the classes of a folder of Hugging Face `datasets`: ClassLabel, text, whole numbers or truth values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from initlab.core.text import listed
from initlab.errors import DataError
from initlab.spec import PartName
from initlab.tasks.hf_tables import Arrow, Column, HfFolder
from initlab.tasks.sources.table_columns import labels_of

#: names of the column of the classes, where several could be
USUAL = ("label", "labels", "target", "class", "y")


@dataclass(frozen=True, kw_only=True)
class Labels:
    """The classes of the rows.

    Attributes:
        parts: int64 (N,) of each part that has labels, -1 where a row has none.
        names: of the classes.
        column: they are read from.
        notes: what is left out.
    """

    parts: dict[PartName, Tensor]
    names: tuple[str, ...]
    column: Column
    notes: tuple[str, ...] = ()


def read_labels(found: HfFolder, target: str) -> Labels:
    """The labels of each part. A ClassLabel wins over other columns; parts without a label are left out.

    Raises:
        DataError: no such column, a regression, or a class that the training part lacks.
    """
    classes = [c for c in found.columns.values() if c.kind == "class"]
    kinds = ("class",) if classes and not target else ("class", "text", "number")
    column = found.choose(target, kinds, key="data.target", what="the classes", usual=USUAL)
    name = column.name
    values: dict[PartName, Arrow] = {
        part: t.column(name).combine_chunks() for part, t in found.tables.items() if name in t.column_names
    }
    notes = [f"the {p} part has no column {name} and is left out" for p in found.tables if p not in values]
    parts, names = _of_class_label(column, values) if column.kind == "class" else _of_values(found, column, values)
    empty: list[PartName] = [p for p, y in parts.items() if not bool((y >= 0).any())]
    for part in empty:
        if part == "train":
            raise DataError("data.target", name, f"is empty in every row of the train split of {found.path}")
        notes.append(f"the {part} part has no labels and is left out")
        parts.pop(part)
    held = np.unique(parts["train"].numpy())
    held = held[held >= 0]
    absent = [n for i, n in enumerate(names) if i not in held]
    if absent:
        notes.append(f"classes of {name} without a training example are left out: {listed(absent)}")
        parts, names = _without(parts, names, held, name)
    unlabelled = sum(int((y < 0).sum()) for y in parts.values())
    if unlabelled:
        notes.append(f"{unlabelled} rows have no label and are left out")
    return Labels(parts=parts, names=names, column=column, notes=tuple(notes))


# ------------------------------------------------------------------ pieces
def _of_class_label(column: Column, values: dict[PartName, Arrow]) -> tuple[dict[PartName, Tensor], tuple[str, ...]]:
    parts: dict[PartName, Tensor] = {}
    for part, stored in values.items():
        numbers = stored.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False)
        if len(numbers) and int(numbers.max()) >= len(column.names):
            what = f"{part}: {int(numbers.max())} is no class of {len(column.names)}"
            raise DataError("data.target", column.name, what)
        parts[part] = torch.from_numpy(np.maximum(numbers, -1).astype(np.int64))
    return parts, column.names


def _of_values(
    found: HfFolder, column: Column, values: dict[PartName, Arrow]
) -> tuple[dict[PartName, Tensor], tuple[str, ...]]:
    whole = values["train"].drop_null().to_pandas().dropna()
    if not len(whole):
        raise DataError("data.target", column.name, f"is empty in every row of the train split of {found.path}")
    _, names = labels_of(whole, column.name, found.path)
    numbers = {n: i for i, n in enumerate(names)}
    parts: dict[PartName, Tensor] = {}
    for part, stored in values.items():
        texts = [_text(v) for v in stored.to_pylist()]
        strange = sorted({t for t in texts if t and t not in numbers})
        if strange:
            raise DataError("data.target", column.name, f"{part}: {strange[0]!r} does not occur in the train split")
        parts[part] = torch.tensor([numbers.get(t, -1) for t in texts], dtype=torch.int64)
    return parts, names


def _text(value: object) -> str:
    """The name of a class as `labels_of` writes it; empty for none."""
    if value is None or isinstance(value, bool):
        return "" if value is None else str(value)
    if isinstance(value, int | float):
        return "" if np.isnan(value) else f"{value:.0f}"
    return str(value).strip()


def _without(
    parts: dict[PartName, Tensor], names: tuple[str, ...], held: np.ndarray, column: str
) -> tuple[dict[PartName, Tensor], tuple[str, ...]]:
    """The labels numbered anew where only the classes `held` occur; the others would be outputs without an example."""
    place = torch.full((len(names) + 1,), -1, dtype=torch.int64)  # the last is for rows without a label, -1
    place[torch.from_numpy(held)] = torch.arange(len(held))
    for part, y in parts.items():
        lost = (y >= 0) & (place[y] < 0)
        if bool(lost.any()):
            raise DataError("data.target", column, f"{part}: {names[int(y[lost][0])]!r} has no training example")
    return {part: place[y] for part, y in parts.items()}, tuple(names[int(i)] for i in held)
