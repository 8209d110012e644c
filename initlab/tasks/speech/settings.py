"""Arguments that the speech data sets share, and the data set that they make."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypedDict

from initlab.core.signature import fields_among
from initlab.spec import NonNegativeInt, PositiveFloat, PositiveInt, UnitFloat
from initlab.tasks.bad_files import BadFiles
from initlab.tasks.raw import RawData
from initlab.tasks.speech.augment import AugmentName, SpeechAugment
from initlab.tasks.speech.features import FeatureName, Features
from initlab.tasks.speech.task import SpeechData
from initlab.tasks.splitting import OfficialTestSettings, Plan, SplitSettings

#: fields whose parameter has another name in `conf/data`
RENAMED = {"kind": "features", "name": "augment"}


class AugmentSettings(TypedDict, total=False):
    """Arguments of the augmentation; see `SpeechAugment`."""

    augment: AugmentName
    masks: NonNegativeInt
    mask_features: UnitFloat
    mask_time: UnitFloat
    shift: UnitFloat


class RecordingSettings(AugmentSettings, total=False):
    """Arguments of a data set of recordings; see `Features` and `ReadOptions`."""

    features: FeatureName
    sample_rate: PositiveInt
    n_mels: PositiveInt
    n_mfcc: PositiveInt
    window_ms: PositiveFloat
    hop_ms: PositiveFloat
    seconds: PositiveFloat | None
    bad_files: BadFiles
    cache: Path | None


class OfficialRecordingSettings(RecordingSettings, OfficialTestSettings, total=False):
    """Arguments of a data set of recordings with an official test part."""


class SplitRecordingSettings(RecordingSettings, SplitSettings, total=False):
    """Arguments of a data set of recordings from which a test part is cut."""


class SplitFeatureSettings(AugmentSettings, SplitSettings, total=False):
    """Arguments of a data set of stored features from which a test part is cut."""


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How recordings are read.

    Attributes:
        bad_files: ``skip`` passes over what cannot be read and says so, ``error`` refuses it.
        cache: folder for computed features; None is ``features`` in INITLAB_CACHE or the user's cache directory.
    """

    bad_files: BadFiles = "skip"
    cache: Path | None = None


def recordings(
    name: str, read: Callable[..., RawData], settings: Mapping[str, Any], *, defaults: Features
) -> SpeechData:
    """The data set `name` of recordings.

    Args:
        name: as in the configuration.
        read: reads them; takes the features as next positional argument, and the fields of `ReadOptions`.
        settings: of `RecordingSettings` and of the split.
        defaults: features where the settings give none.

    Raises:
        ConfigError: settings of features that do not fit together.
    """
    features = replace(defaults, **fields_among(Features, settings, RENAMED))
    return SpeechData(
        name=name,
        load=partial(read, features, **fields_among(ReadOptions, settings)),
        plan=Plan(**fields_among(Plan, settings)),
        augment=SpeechAugment(**fields_among(SpeechAugment, settings, RENAMED)),
        waveform=features.kind == "waveform",
    )
