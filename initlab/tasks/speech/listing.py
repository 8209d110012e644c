"""Entries of the speech data sets for `python -m initlab data`."""

from __future__ import annotations

from pathlib import Path

from initlab.errors import DataError
from initlab.tasks.entry import Entry
from initlab.tasks.speech import commands, spoken_digits
from initlab.tasks.speech.packaged import FRAMES, FSDD_LICENCE, FSDD_MFCC_SOURCE, fsdd_mfcc_path


def entries(home: Path) -> list[Entry]:
    """One entry a data set, that without download first. Reads nothing and fetches nothing.

    Args:
        home: where data sets live, see `download.data_root`. Shapes are those of the default features.
    """
    return [_fsdd_mfcc(), _fsdd(home), _speech_commands(home), *_user_entries()]


def _fsdd_mfcc() -> Entry:
    path = fsdd_mfcc_path()
    return Entry(
        name="fsdd_mfcc",
        title="spoken digits as MFCCs",
        examples=3000,
        classes=10,
        shape=(13, FRAMES),
        megabytes=0,
        licence=FSDD_LICENCE,
        source=FSDD_MFCC_SOURCE,
        present=path is not None and path.is_file(),
        where=str(path) if path is not None else 'pip install "initlab[samples]"',
    )


def _fsdd(home: Path) -> Entry:
    try:
        place = spoken_digits.find(home).place
    except DataError:
        place = None
    return Entry(
        name="fsdd",
        title="spoken digits, recordings",
        examples=3000,
        classes=10,
        shape=(13, 63),
        megabytes=0,
        licence=FSDD_LICENCE,
        source=spoken_digits.URL,
        present=place is not None,
        where=str(place) if place is not None else f"put {spoken_digits.URL} into {home / spoken_digits.FOLDER}",
    )


def _speech_commands(home: Path) -> Entry:
    source = commands.find(home)
    return Entry(
        name="speech_commands",
        title="single words by many speakers",
        examples=105_829,
        classes=35,
        shape=(13, 63),
        megabytes=2429,
        licence=commands.LICENCE,
        source=commands.URL,
        present=source is not None,
        where=str(source.place if source is not None else home / commands.FOLDER / commands.ARCHIVE),
    )


def _user_entries() -> list[Entry]:
    return [
        _user_entry("audio_folder", "your own recordings, one folder a class"),
        _user_entry("hf_audio", "your own recordings, saved by Hugging Face datasets"),
    ]


def _user_entry(name: str, title: str) -> Entry:
    return Entry(
        name=name,
        title=title,
        examples=None,
        classes=None,
        shape=None,
        megabytes=0,
        licence="",
        source="your files",
        present=True,
        where=f"data={name} data.path=FOLDER",
    )
