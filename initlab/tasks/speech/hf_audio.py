"""Reads the recordings of a folder of Hugging Face `datasets`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Unpack

from initlab.core.factories import factory
from initlab.core.signature import with_parameters_of
from initlab.errors import DataError
from initlab.spec import PartName
from initlab.tasks.bad_files import BadFiles
from initlab.tasks.hf_labels import read_labels
from initlab.tasks.hf_tables import HfFolder, file_contents, read_hf_folder
from initlab.tasks.raw import RawData
from initlab.tasks.speech.audio import RECORDINGS
from initlab.tasks.speech.augment import SpeechAugment
from initlab.tasks.speech.cache import cache_root
from initlab.tasks.speech.corpus import digest_of, read_corpus
from initlab.tasks.speech.features import Features
from initlab.tasks.speech.labels import assemble_parts
from initlab.tasks.speech.settings import RENAMED, ReadOptions, SplitRecordingSettings, recordings
from initlab.tasks.speech.task import SpeechData
from initlab.tasks.splitting import Plan

_FEATURES = Features(sample_rate=16000, window_ms=32.0, hop_ms=16.0)


@factory
@with_parameters_of(_FEATURES, ReadOptions(), Plan(), SpeechAugment(), rename=RENAMED)
def hf_audio(
    *,
    path: Path,
    column: str = "",
    target: str = "",
    **settings: Unpack[SplitRecordingSettings],
) -> SpeechData:
    """Recordings of a folder that `Dataset.save_to_disk` or `DatasetDict.save_to_disk` wrote, or of Parquet files.

    Args:
        path: the folder; see `hf_folder` for its parts and classes.
        column: of the recordings; empty takes the only one.
        target: column of the classes; empty takes the only ClassLabel, else the one called label.
        settings: see `audio_folder`.

    Raises:
        ConfigError: settings of features that do not fit together.
    """
    return recordings(
        "hf_audio", partial(read_hf_audio, path, column=column, target=target), settings, defaults=_FEATURES
    )


@dataclass(frozen=True, kw_only=True)
class _Rows:
    """The files in a column, as a source of recordings."""

    found: HfFolder
    column: str
    rows: dict[PartName, tuple[bool, ...]]

    @property
    def place(self) -> Path:
        return self.found.path.resolve()

    def digest(self) -> str:
        """Of the names and contents."""
        return digest_of(self.items())

    def items(self) -> Iterator[tuple[str, bytes]]:
        """Rows that have a label, by part and number."""
        for part, labelled in self.rows.items():
            contents = file_contents(self.found.tables[part].column(self.column), self.found.path)
            for number, ((content, file), keep) in enumerate(zip(contents, labelled, strict=True), 1):
                if keep:
                    yield _name(part, number, file), content or b""


def _name(part: PartName, number: int, file: str) -> str:
    suffix = Path(file).suffix.lower()
    return f"{part} row {number}{suffix if RECORDINGS.holds(Path(file)) else ''}"


def read_hf_audio(
    path: Path,
    features: Features,
    *,
    column: str = "",
    target: str = "",
    bad_files: BadFiles = "skip",
    cache: Path | None = None,
) -> RawData:
    """All recordings below `path`. Arguments as for `hf_audio`.

    Raises:
        DataError: see `read_hf_folder`; no column of recordings or classes; a class without one that can be read.
    """
    found = read_hf_folder(path)
    kinds = {c.kind for c in found.columns.values()}
    if not column and not kinds & {"audio", "file"} and kinds & {"image", "text"}:
        other = "task=image data=hf_folder" if "image" in kinds else "task=text data=hf_text"
        raise DataError("data.path", str(found.path), f"holds no recordings; {found.describe()}. Is it for {other}?")
    wanted = ("audio",) if "audio" in kinds and not column else ("audio", "file")
    sounds = found.choose(column, wanted, key="data.column", what="recordings", usual=("audio", "speech", "sound"))
    labels = read_labels(found, target)
    source = _Rows(
        found=found, column=sounds.name, rows={part: tuple((y >= 0).tolist()) for part, y in labels.parts.items()}
    )

    def placing(name: str) -> tuple[PartName, str] | None:
        part, _, number = Path(name).stem.partition(" row ")
        label = next((int(y[int(number) - 1]) for p, y in labels.parts.items() if p == part), -1)
        return next(((p, labels.names[label]) for p in labels.parts if p == part and label >= 0), None)

    return assemble_parts(
        read_corpus(source, features, folder=cache_root(cache)),
        features,
        placing,
        class_names=labels.names,
        provenance=(source.place.name, str(source.place), ""),
        key="data.path",
        bad_files=bad_files,
        notes=(*found.notes, *labels.notes, f"recordings of the column {sounds.name}, classes of {labels.column.name}"),
    )
