"""Reads the Free Spoken Digit Dataset: 3,000 recordings by 6 speakers at 8 kHz, 50 a digit and speaker."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, Unpack

from initlab.core.factories import factory
from initlab.core.signature import with_parameters_of
from initlab.errors import ConfigError, DataError, one_of
from initlab.spec import PartName
from initlab.tasks.bad_files import BadFiles
from initlab.tasks.download import data_root
from initlab.tasks.raw import RawData
from initlab.tasks.speech.augment import SpeechAugment
from initlab.tasks.speech.cache import cache_root
from initlab.tasks.speech.corpus import Archive, Folder, Source, read_corpus
from initlab.tasks.speech.features import Features
from initlab.tasks.speech.labels import assemble_parts
from initlab.tasks.speech.packaged import FSDD_LICENCE
from initlab.tasks.speech.settings import (
    RENAMED,
    OfficialRecordingSettings,
    ReadOptions,
    recordings,
)
from initlab.tasks.speech.task import SpeechData
from initlab.tasks.splitting import TEST_FIELDS, Plan

Split = Literal["official", "speaker"]

URL = "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/v1.0.10.tar.gz"
FOLDER = "fsdd"
RECORDINGS = "recordings"
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
#: who is heard in validation and test where speakers are kept apart
VAL_SPEAKERS: Sequence[str] = ["yweweler"]
TEST_SPEAKERS: Sequence[str] = ["theo"]
_WHOLE = 3000
_OFFICIAL_TEST = 5  # recordings 0 to 4 of each digit and speaker
_NAME = re.compile(r"(?:^|.*/)((\d)_([A-Za-z]+)_(\d+)\.wav)")


_FEATURES = Features(sample_rate=8000, window_ms=32.0, hop_ms=16.0, seconds=1.0)


@factory
@with_parameters_of(_FEATURES, ReadOptions(), Plan(), SpeechAugment(), rename=RENAMED, omit=TEST_FIELDS)
def fsdd(
    *,
    root: Path | None = None,
    split: Split = "official",
    val_speakers: Sequence[str] = VAL_SPEAKERS,
    test_speakers: Sequence[str] = TEST_SPEAKERS,
    **settings: Unpack[OfficialRecordingSettings],
) -> SpeechData:
    """3,000 recordings of spoken digits, from ``fsdd/recordings`` or a tar archive in ``fsdd``.

    Args:
        root: directory that holds ``fsdd``; None looks at INITLAB_DATA, then in the cache directory.
        split: ``official`` tests on recordings 0 to 4 of each digit and speaker (300) and takes validation from the
            other 2,700; ``speaker`` lets nobody be heard in two parts.
        val_speakers: heard in validation, where the split is by speaker.
        test_speakers: heard in the test, likewise.
        settings: see `Features`, `ReadOptions`, `Plan` and `SpeechAugment`.

    Jackson et al., Free Spoken Digit Dataset v1.0.8, doi:10.5281/zenodo.1342401, 2018.

    Raises:
        ConfigError: speakers that do not exist or are in two parts, or settings of features that do not fit together.
    """
    read = partial(read_fsdd, root, split=split, val_speakers=val_speakers, test_speakers=test_speakers)
    return recordings("fsdd", read, settings, defaults=_FEATURES)


def read_fsdd(
    root: Path | None,
    features: Features,
    *,
    split: Split = "official",
    val_speakers: Sequence[str] = VAL_SPEAKERS,
    test_speakers: Sequence[str] = TEST_SPEAKERS,
    bad_files: BadFiles = "skip",
    cache: Path | None = None,
) -> RawData:
    """The recordings below `root` in the parts of `split`; arguments as for `fsdd`.

    Raises:
        DataError: absent, or damaged.
        ConfigError: speakers that do not exist, or are in two parts.
    """
    source = find(data_root(root))
    corpus = read_corpus(source, features, folder=cache_root(cache))
    heard = sorted({speaker_of(name) for name in corpus.names})
    placing = _official if split == "official" else _by_speaker(heard, val_speakers, test_speakers)
    found = len(corpus.names) + len(corpus.bad)
    return assemble_parts(
        corpus,
        features,
        placing,
        class_names=tuple("0123456789"),
        provenance=("fsdd", str(source.place), FSDD_LICENCE),
        key="data.root",
        bad_files=bad_files,
        notes=() if found == _WHOLE else (f"{found} recordings were found; the whole data set has {_WHOLE}",),
    )


def find(home: Path) -> Source:
    """The folder of recordings or the archive below `home`.

    Raises:
        DataError: neither is there; says what to put where.
    """
    folder = home / FOLDER / RECORDINGS
    if folder.is_dir():
        names = sorted(p.name for p in folder.iterdir() if _NAME.fullmatch(p.name))
        if names:
            return Folder(place=folder, names=tuple(names))
    archives = sorted((home / FOLDER).glob("*.tar.gz"))
    if archives:
        return Archive(place=archives[0], name_of=_name_of)
    # GitHub packs an archive anew when it likes, so that no checksum of it can be relied on
    raise DataError(
        "data.root",
        str(home),
        f"holds no {FOLDER}/{RECORDINGS} and no {FOLDER}/*.tar.gz: put {URL} into "
        f"{home / FOLDER} as it is; data=fsdd_mfcc needs no download",
    )


def speaker_of(name: str) -> str:
    """Who speaks in the recording ``<digit>_<speaker>_<index>.wav``."""
    return name.split("_")[1]


# ------------------------------------------------------------------ pieces
def _name_of(member: str) -> str | None:
    match = _NAME.fullmatch(member)
    return match[1] if match is not None else None


def _official(name: str) -> tuple[PartName, str]:
    digit, _, index = name.removesuffix(".wav").split("_")
    return ("test" if int(index) < _OFFICIAL_TEST else "train", digit)


def _by_speaker(heard: Sequence[str], val: Sequence[str], test: Sequence[str]) -> Callable[[str], tuple[PartName, str]]:
    for key, names in (("data.val_speakers", val), ("data.test_speakers", test)):
        strange = [n for n in names if n not in heard]
        if strange or not names:
            raise ConfigError(key, f"[{','.join(names)}]", one_of(heard, strange[0] if strange else None))
    both = sorted(set(val) & set(test))
    if both:
        raise ConfigError("data.val_speakers", f"[{','.join(val)}]", f"{', '.join(both)} is heard in the test")
    if set(heard) <= set(val) | set(test):
        raise ConfigError("data.val_speakers", f"[{','.join(val)}]", "leaves nobody to train on")

    def placing(name: str) -> tuple[PartName, str]:
        speaker = speaker_of(name)
        return ("test" if speaker in test else "val" if speaker in val else "train", name[0])

    return placing
