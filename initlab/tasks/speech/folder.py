"""Reads the user's own recordings from a folder: one sub-folder a class."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from initlab.errors import DataError
from initlab.spec import NonNegativeInt, PartName, PositiveFloat, PositiveInt, UnitFloat
from initlab.tasks.links import refuse_links_out
from initlab.tasks.raw import RawData
from initlab.tasks.speech.audio import SUFFIXES
from initlab.tasks.speech.augment import AugmentName, SpeechAugment
from initlab.tasks.speech.cache import cache_root
from initlab.tasks.speech.corpus import Folder, read_corpus
from initlab.tasks.speech.features import FeatureName, Features
from initlab.tasks.speech.labels import BadFiles, assemble_parts
from initlab.tasks.speech.task import SpeechData
from initlab.tasks.splitting import Fraction, Plan

_PARTS: dict[PartName, tuple[str, ...]] = {"val": ("val", "valid", "validation"), "test": ("test",)}


def audio_folder(
    *,
    path: Path,
    features: FeatureName = "mfcc",
    sample_rate: PositiveInt = 16000,
    n_mels: PositiveInt = 40,
    n_mfcc: PositiveInt = 13,
    window_ms: PositiveFloat = 32.0,
    hop_ms: PositiveFloat = 16.0,
    seconds: PositiveFloat | None = None,
    bad_files: BadFiles = "skip",
    cache: Path | None = None,
    val_fraction: Fraction = 0.1,
    test_fraction: Fraction = 0.2,
    split_seed: NonNegativeInt = 0,
    shots: PositiveInt | None = None,
    limit: PositiveInt | None = None,
    episodes: PositiveInt | None = None,
    augment: AugmentName = "none",
    masks: NonNegativeInt = 1,
    mask_features: UnitFloat = 0.2,
    mask_time: UnitFloat = 0.2,
    shift: UnitFloat = 0.1,
) -> SpeechData:
    """Recordings below ``path/<class>/``, or below ``path/train/<class>/`` with val/ and test/ beside it.

    Args:
        path: the folder. Names that begin with a dot and files that are no sounds are passed over.
        features: see `Features`, as for the arguments after it up to seconds.
        sample_rate: that every recording is brought to; channels are averaged.
        n_mels: see `Features`.
        n_mfcc: see `Features`.
        window_ms: see `Features`.
        hop_ms: see `Features`.
        seconds: where longer recordings are cut and to which shorter ones are padded; None pads to the longest.
        bad_files: ``skip`` passes over what cannot be read and says so, ``error`` refuses it.
        cache: folder for computed features; None is ``features`` in INITLAB_CACHE or the user's cache directory.
        val_fraction: see `Plan`, as for the arguments after it. The official parts go first where they exist. Speakers
            are not known, so that one may be heard in several parts unless the folders keep them apart.
        test_fraction: see `Plan`.
        split_seed: see `Plan`.
        shots: see `Plan`.
        limit: see `Plan`.
        episodes: see `Plan`.
        augment: see `SpeechAugment`, as for the arguments after it.
        masks: see `SpeechAugment`.
        mask_features: see `SpeechAugment`.
        mask_time: see `SpeechAugment`.
        shift: see `SpeechAugment`.

    Raises:
        ConfigError: settings of features that do not fit together.
    """
    chosen = Features(
        kind=features, sample_rate=sample_rate, n_mels=n_mels, n_mfcc=n_mfcc, window_ms=window_ms, hop_ms=hop_ms,
        seconds=seconds,
    )  # fmt: skip
    return SpeechData(
        name="audio_folder",
        load=partial(read_audio_folder, path, chosen, bad_files=bad_files, cache=cache),
        plan=Plan(
            val_fraction=val_fraction, test_fraction=test_fraction, split_seed=split_seed, shots=shots, limit=limit,
            episodes=episodes,
        ),
        augment=SpeechAugment(
            name=augment, masks=masks, mask_features=mask_features, mask_time=mask_time, shift=shift
        ),
        waveform=features == "waveform",
    )  # fmt: skip


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
            "data.path", str(path), f"holds {len(class_names)} class folder(s) in {homes['train']}; "
            "a classifier needs at least 2, one folder of recordings per class",
        )  # fmt: skip
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
                "data.path", str(home / name), f"holds no recordings; put "
                f"{', '.join(sorted(s[1:] for s in SUFFIXES))} files there, or remove the folder",
            )  # fmt: skip
        found.extend((p, name) for p in sounds)
    if not found:
        raise DataError("data.path", str(home), "holds no recordings; put a folder of them per class there")
    return found


def _is_sound(path: Path, home: Path) -> bool:
    hidden = any(piece.startswith(".") for piece in path.relative_to(home).parts)
    return path.suffix.lower() in SUFFIXES and not hidden and path.is_file()
