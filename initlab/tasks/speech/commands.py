"""Reads Speech Commands: one-second recordings of single words by many speakers at 16 kHz (Warden, 2018).

A folder a word, and two lists that say which recordings are for validation and which for the test; a speaker is in one
part only.
"""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Unpack

from initlab.core.factories import factory
from initlab.core.signature import with_parameters_of
from initlab.errors import ConfigError, DataError, one_of
from initlab.spec import PartName
from initlab.tasks.bad_files import BadFiles
from initlab.tasks.download import data_root, fetch
from initlab.tasks.raw import RawData
from initlab.tasks.speech.augment import SpeechAugment
from initlab.tasks.speech.cache import cache_root
from initlab.tasks.speech.corpus import Archive, Folder, Source, read_corpus
from initlab.tasks.speech.features import Features
from initlab.tasks.speech.labels import assemble_parts
from initlab.tasks.speech.settings import (
    RENAMED,
    OfficialRecordingSettings,
    ReadOptions,
    recordings,
)
from initlab.tasks.speech.task import SpeechData
from initlab.tasks.splitting import TEST_FIELDS, Plan

ARCHIVE = "speech_commands_v0.02.tar.gz"
URL = f"http://download.tensorflow.org/data/{ARCHIVE}"
MIRROR = f"https://storage.googleapis.com/download.tensorflow.org/data/{ARCHIVE}"
ARCHIVE_MD5 = "6b74f3901214cb2c2934e98196829835"
FOLDER = "speech_commands"
LICENCE = "CC BY 4.0"
_VAL_LIST, _TEST_LIST = "validation_list.txt", "testing_list.txt"
#: below the data root; the second is where torchaudio unpacks
_FOLDERS = (f"{FOLDER}/speech_commands_v0.02", "SpeechCommands/speech_commands_v0.02", FOLDER)


#: examples are cut or padded to one second
_FEATURES = Features(sample_rate=16000, window_ms=32.0, hop_ms=16.0, seconds=1.0)


@factory
@with_parameters_of(_FEATURES, ReadOptions(), Plan(), SpeechAugment(), rename=RENAMED, omit=TEST_FIELDS)
def speech_commands(
    *,
    root: Path | None = None,
    words: Sequence[str] | None = None,
    **settings: Unpack[OfficialRecordingSettings],
) -> SpeechData:
    """Recordings of single words in their official parts: 105,829 of 35 words in version 0.02; fetched where absent.

    Args:
        root: directory that holds ``speech_commands`` with the archive or its unpacked folders; None looks at
            INITLAB_DATA, then in the cache directory.
        words: which to tell apart; None is all there are. Background noise is left out.
        settings: see `Features`, `ReadOptions`, `SpeechAugment` and `Plan`; val_fraction only counts where the lists
            name nothing for validation.

    Warden, Speech Commands: a dataset for limited-vocabulary speech recognition, arXiv:1804.03209, 2018.

    Raises:
        ConfigError: settings of features that do not fit together.
    """
    read = partial(read_speech_commands, root, words=words)
    return recordings("speech_commands", read, settings, defaults=_FEATURES)


def read_speech_commands(
    root: Path | None,
    features: Features,
    *,
    words: Sequence[str] | None = None,
    bad_files: BadFiles = "skip",
    cache: Path | None = None,
) -> RawData:
    """The recordings below `root` in their official parts; arguments as for `speech_commands`.

    Raises:
        DataError: absent and not to be fetched, damaged, or without its lists.
        ConfigError: a word that there is not.
    """
    home = data_root(root)
    source = find(home, words)
    if source is None:
        archive = fetch(home / FOLDER / ARCHIVE, [URL, MIRROR], ARCHIVE_MD5, instead="data=fsdd_mfcc needs no download")
        source = _archive(archive, words)
    corpus = read_corpus(source, features, folder=cache_root(cache), scope=f"words={sorted(words) if words else None}")
    lists: dict[str, frozenset[str]] = {}
    for name in (_VAL_LIST, _TEST_LIST):
        if name not in corpus.texts:
            raise DataError("data.root", str(source.place), f"lacks {name}, which says who is in which part")
        lists[name] = frozenset(line.strip() for line in corpus.texts[name].splitlines())
    files = [*corpus.names, *(name for name, _ in corpus.bad)]
    found = sorted({_word(name) for name in files})
    strange = [w for w in words or () if w not in found]
    if strange:
        raise ConfigError("data.words", f"[{','.join(words or ())}]", one_of(words_in(source), strange[0]))

    def placing(name: str) -> tuple[PartName, str]:
        part: PartName = "test" if name in lists[_TEST_LIST] else "val" if name in lists[_VAL_LIST] else "train"
        return part, _word(name)

    return assemble_parts(
        corpus,
        features,
        placing,
        class_names=found,
        provenance=("speech_commands", str(source.place), LICENCE),
        key="data.root",
        bad_files=bad_files,
    )


def find(home: Path, words: Sequence[str] | None = None) -> Source | None:
    """The unpacked folder or the archive below `home`, None where neither is there. Any archive will do; the whole
    data set's comes first."""
    for place in (home / f for f in _FOLDERS):
        if (place / _TEST_LIST).is_file():
            wanted = words if words is not None else _word_folders(place)
            names = [f"{w}/{p.name}" for w in sorted(set(wanted)) for p in sorted((place / w).glob("*.wav"))]
            lists = [name for name in (_VAL_LIST, _TEST_LIST) if (place / name).is_file()]
            return Folder(place=place, names=(*lists, *names))
    archives = [home / FOLDER / ARCHIVE, home / ARCHIVE, *sorted((home / FOLDER).glob("*.tar.gz"))]
    archive = next((a for a in archives if a.is_file()), None)
    return None if archive is None else _archive(archive, words)


def words_in(source: Source) -> list[str]:
    """The words that `source` could give: its folders without the background noise."""
    if isinstance(source, Folder):
        return _word_folders(source.place)
    with tarfile.open(source.place, "r:*") as tar:
        names = [_name_of(member.name, words=None) for member in tar if member.isfile()]
    return sorted({_word(name) for name in names if name is not None and "/" in name})


# ------------------------------------------------------------------ pieces
def _archive(archive: Path, words: Sequence[str] | None) -> Archive:
    return Archive(place=archive, name_of=partial(_name_of, words=None if words is None else frozenset(words)))


def _name_of(member: str, *, words: frozenset[str] | None) -> str | None:
    *_, folder, name = ("", *PurePosixPath(member).parts)
    if name in (_VAL_LIST, _TEST_LIST):
        return name
    noise_or_hidden = not folder or folder[0] in "._" or name[0] == "."
    if noise_or_hidden or not name.endswith(".wav") or (words is not None and folder not in words):
        return None
    return f"{folder}/{name}"


def _word_folders(place: Path) -> list[str]:
    return sorted(d.name for d in place.iterdir() if d.is_dir() and d.name[0] not in "._")


def _word(name: str) -> str:
    return name.partition("/")[0]
