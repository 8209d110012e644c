"""Reads the user's own recordings from a folder: one sub-folder a class."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Unpack

from initlab.core.signature import with_parameters_of
from initlab.errors import DataError
from initlab.spec import PartName
from initlab.tasks.links import refuse_links_out
from initlab.tasks.raw import RawData
from initlab.tasks.speech.audio import SUFFIXES
from initlab.tasks.speech.augment import SpeechAugment
from initlab.tasks.speech.cache import cache_root
from initlab.tasks.speech.corpus import Folder, read_corpus
from initlab.tasks.speech.features import Features
from initlab.tasks.speech.labels import BadFiles, assemble_parts
from initlab.tasks.speech.settings import (
    RENAMED,
    ReadOptions,
    SplitRecordingSettings,
    recordings,
)
from initlab.tasks.speech.task import SpeechData
from initlab.tasks.splitting import Plan

_PARTS: dict[PartName, tuple[str, ...]] = {"val": ("val", "valid", "validation"), "test": ("test",)}


_FEATURES = Features(sample_rate=16000, window_ms=32.0, hop_ms=16.0)


@with_parameters_of(_FEATURES, ReadOptions(), Plan(), SpeechAugment(), rename=RENAMED)
def audio_folder(
    *,
    path: Path,
    **settings: Unpack[SplitRecordingSettings],
) -> SpeechData:
    """Recordings below ``path/<class>/``, or below ``path/train/<class>/`` with val/ and test/ beside it.

    Args:
        path: the folder. Names that begin with a dot and files that are no sounds are passed over.
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
        DataError: no folder, fewer than two classes, or a class without a recording that can be read.
    """
    folder = path.expanduser()
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "does not exist"
        raise DataError("data.path", str(path), f"{what}; give a folder that holds one folder of recordings per class")
    homes = _homes(folder)
    class_names = [d.name for d in _folders(homes["train"])]
    if len(class_names) < 2:
        raise DataError(
            "data.path",
            str(path),
            f"holds {len(class_names)} class folder(s) in {homes['train']}; "
            "a classifier needs at least 2, one folder of recordings per class",
        )
    spots: dict[str, tuple[PartName, str]] = {}
    for part, home in homes.items():
        found = _labelled(home, class_names, every_class=part == "train")
        spots.update({p.relative_to(folder).as_posix(): (part, name) for p, name in found})
    source = Folder(place=folder.resolve(), names=tuple(sorted(spots)), key="data.path")
    return assemble_parts(
        read_corpus(source, features, folder=cache_root(cache)),
        features,
        spots.get,
        class_names=class_names,
        provenance=(source.place.name, str(source.place), ""),
        key="data.path",
        bad_files=bad_files,
    )


# ------------------------------------------------------------------ files
def _folders(path: Path) -> list[Path]:
    return sorted(d for d in path.iterdir() if d.is_dir() and not d.name.startswith("."))


def _homes(folder: Path) -> dict[PartName, Path]:
    """Where each part lies. A folder called train with sounds and no folders in it is a class like any other."""
    train = folder / "train"
    if not (train.is_dir() and _folders(train)):
        return {"train": folder}
    homes: dict[PartName, Path] = {"train": train}
    for part, names in _PARTS.items():
        home = next((folder / n for n in names if (folder / n).is_dir()), None)
        if home is not None:
            homes[part] = home
    return homes


def _labelled(home: Path, class_names: list[str], *, every_class: bool) -> list[tuple[Path, str]]:
    strange = [d.name for d in _folders(home) if d.name not in class_names]
    if strange:
        raise DataError("data.path", str(home), f"holds classes that train/ lacks: {', '.join(strange[:5])}")
    found: list[tuple[Path, str]] = []
    for name in class_names:
        sounds = [p for p in (home / name).rglob("*") if _is_sound(p, home)]
        refuse_links_out(sounds, home)
        if every_class and not sounds:
            raise DataError(
                "data.path",
                str(home / name),
                f"holds no recordings; put "
                f"{', '.join(sorted(s[1:] for s in SUFFIXES))} files there, or remove the folder",
            )
        found.extend((p, name) for p in sounds)
    if not found:
        raise DataError("data.path", str(home), "holds no recordings; put a folder of them per class there")
    return found


def _is_sound(path: Path, home: Path) -> bool:
    hidden = any(piece.startswith(".") for piece in path.relative_to(home).parts)
    return path.suffix.lower() in SUFFIXES and not hidden and path.is_file()
