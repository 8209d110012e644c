"""Reads the user's own recordings from a folder: one sub-folder a class."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Unpack

from initlab.core.factories import factory
from initlab.core.signature import with_parameters_of
from initlab.spec import PartName
from initlab.tasks.bad_files import BadFiles
from initlab.tasks.class_folders import find_class_folders, labelled_files
from initlab.tasks.raw import RawData
from initlab.tasks.speech.audio import RECORDINGS
from initlab.tasks.speech.augment import SpeechAugment
from initlab.tasks.speech.cache import cache_root
from initlab.tasks.speech.corpus import Folder, read_corpus
from initlab.tasks.speech.features import Features
from initlab.tasks.speech.labels import assemble_parts
from initlab.tasks.speech.settings import (
    RENAMED,
    ReadOptions,
    SplitRecordingSettings,
    recordings,
)
from initlab.tasks.speech.task import SpeechData
from initlab.tasks.splitting import Plan

_FEATURES = Features(sample_rate=16000, window_ms=32.0, hop_ms=16.0)


@factory
@with_parameters_of(_FEATURES, ReadOptions(), Plan(), SpeechAugment(), rename=RENAMED)
def audio_folder(
    *,
    path: Path,
    **settings: Unpack[SplitRecordingSettings],
) -> SpeechData:
    """Recordings below ``path/<class>/``, or below ``path/train/<class>/`` with val/ and test/ beside it.

    Args:
        path: the folder. Names that begin with a dot and files that are no sounds are passed over. Sounds in a format
            that libsndfile does not decode (m4a, wma) are bad files. For the names of parts see `class_folders.py`.
        settings: see `Features`, `ReadOptions`, `Plan` and `SpeechAugment`. Official parts go first where they exist.
            Speakers are not known: one may be in several parts unless the folders keep them apart.

    Raises:
        ConfigError: settings of features that do not fit together.
    """
    return recordings("audio_folder", partial(read_audio_folder, path), settings, defaults=_FEATURES)


def read_audio_folder(
    path: Path, features: Features, *, bad_files: BadFiles = "skip", cache: Path | None = None
) -> RawData:
    """All recordings below `path`; classes in alphabetical order. Arguments as for `audio_folder`.

    Raises:
        DataError: no folder, fewer than two classes, two folders for one part, or a class without a recording that can
            be read.
    """
    found = find_class_folders(path, RECORDINGS)
    folder = path.expanduser()
    files, left_out = labelled_files(found, RECORDINGS)
    spots: dict[str, tuple[PartName, str]] = {
        p.relative_to(folder).as_posix(): (part, name) for part, items in files.items() for p, name in items
    }
    source = Folder(place=folder.resolve(), names=tuple(sorted(spots)), key="data.path")
    return assemble_parts(
        read_corpus(source, features, folder=cache_root(cache)),
        features,
        spots.get,
        class_names=found.class_names,
        provenance=(source.place.name, str(source.place), ""),
        key="data.path",
        bad_files=bad_files,
        notes=(*found.notes, *left_out),
    )
