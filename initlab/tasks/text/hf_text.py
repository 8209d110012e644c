"""Reads the text of a folder of Hugging Face `datasets`, for language models."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from initlab.core.factories import factory
from initlab.errors import DataError
from initlab.spec import PartName, PositiveInt, Provenance
from initlab.tasks.hf_tables import PARTS, Column, HfFolder, read_hf_folder
from initlab.tasks.splitting import Fraction
from initlab.tasks.text.corpus import RawText, digest_of, split_parts
from initlab.tasks.text.task import TextData
from initlab.tasks.text.tokens import Level, split_text


@factory
def hf_text(
    *,
    path: Path,
    column: str = "",
    level: Level = "char",
    sequence_length: PositiveInt = 64,
    val_fraction: Fraction = 0.1,
    test_fraction: Fraction = 0.1,
    min_count: PositiveInt = 1,
    max_words: PositiveInt | None = None,
) -> TextData:
    """The text in a folder that `Dataset.save_to_disk` or `DatasetDict.save_to_disk` wrote, or in Parquet files.

    Rows are joined in their order, with the end of a line between them where they have none.

    Args:
        path: the folder; see `hf_folder` for its parts.
        column: of the text; empty takes the only one, else the one called text.
        level: see `text_file`, as for the arguments after it.
        sequence_length: see `text_file`.
        val_fraction: share of the characters, where there is no validation split.
        test_fraction: likewise, where there is no test split.
        min_count: see `text_file`.
        max_words: see `text_file`.
    """
    load = partial(
        read_hf_text, path, column=column, level=level, val_fraction=val_fraction, test_fraction=test_fraction
    )
    return TextData(
        name="hf_text",
        load=load,
        level=level,
        sequence_length=sequence_length,
        min_count=min_count,
        max_words=max_words,
    )


def read_hf_text(
    path: Path,
    *,
    column: str = "",
    level: Level = "char",
    val_fraction: Fraction = 0.1,
    test_fraction: Fraction = 0.1,
) -> RawText:
    """The texts of the splits. A part that has no split is cut off the end of the training split.

    Raises:
        DataError: see `read_hf_folder`; no column of text, or a split without text.
    """
    found = read_hf_folder(path)
    chosen = found.choose(column, ("text",), key="data.column", what="text", usual=("text", "content", "sentence"))
    texts: dict[PartName, str] = {part: _join(found, chosen, part) for part in found.tables}
    if level == "byte":
        texts = {part: text.encode().decode("latin-1") for part, text in texts.items()}
    parts = _parts(texts, val_fraction, test_fraction)
    return RawText(
        parts=parts,
        level=level,
        split=partial(split_text, level=level),
        provenance=Provenance(
            name=found.path.resolve().name,
            source=str(found.path.resolve()),
            digest=digest_of(parts),
            note=f"Hugging Face data set, text of {chosen.name}",
        ),
        key="data.path",
        notes=found.notes,
    )


def _parts(texts: dict[PartName, str], val_fraction: float, test_fraction: float) -> tuple[str, str, str]:
    """Train, val and test; what has no split is cut off the end of the training text."""
    train = texts["train"]
    if len(texts) == 1:
        return split_parts(train, val_fraction=val_fraction, test_fraction=test_fraction)
    for lacking in PARTS:
        if lacking in texts:
            continue
        at = len(train) - round(len(train) * (val_fraction if lacking == "val" else test_fraction))
        texts["train"], texts[lacking] = train[:at], train[at:]
    return texts["train"], texts["val"], texts["test"]


def _join(found: HfFolder, column: Column, part: PartName) -> str:
    table = found.tables[part]
    if column.name not in table.column_names:
        raise DataError("data.path", str(found.path), f"the {part} split has no column {column.name}")
    rows = [str(v) for v in table.column(column.name).to_pylist() if v is not None]
    # rows of some data sets are lines, those of others documents
    ended = sum(row.endswith("\n") for row in rows) * 2 > len(rows)
    text = ("" if ended else "\n").join(rows)
    if not text.strip():
        raise DataError("data.path", str(found.path), f"the column {column.name} of the {part} split is empty")
    return text
