"""Speech classification: cross entropy and accuracy on recordings, as waveforms or features over time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from initlab.core.factories import factory
from initlab.errors import ConfigError
from initlab.spec import IO, Monitor, Probability, Splits
from initlab.tasks import classes
from initlab.tasks.raw import RawData
from initlab.tasks.speech.augment import SpeechAugment
from initlab.tasks.speech.sequences import standardise_steps
from initlab.tasks.splitting import Plan, partition


@dataclass(frozen=True, kw_only=True)
class SpeechData:
    """A set of labelled recordings that can be opened.

    Attributes:
        name: as in the configuration.
        load: reads it. Raises DataError, which says which file to put where.
        plan: how it is cut into train, val and test.
        augment: what is done to training batches.
        waveform: whether the examples are samples, (1, T) with zeros as padding, and not features, (F, T) with NaN.
    """

    name: str
    load: Callable[[], RawData]
    plan: Plan = field(default_factory=Plan)
    augment: SpeechAugment = field(default_factory=SpeechAugment)
    waveform: bool = False

    def __post_init__(self) -> None:
        self.augment.check(waveform=self.waveform)

    def read(self) -> RawData:
        """The data as read from their files; once and for all where they are drawn from again and again."""
        return self.load() if self.plan.episodes is None else self._cached

    @cached_property
    def _cached(self) -> RawData:
        return self.load()


@factory
@dataclass(frozen=True, kw_only=True)
class SpeechTask(classes.Classification):
    """Classify recordings: cross entropy in nats, accuracy as the share of right answers.

    Attributes:
        data: the recordings.
        label_smoothing: share of the target spread evenly over all classes (Szegedy et al., CVPR 2016); 0 is off.
    """

    data: SpeechData
    label_smoothing: Probability = 0.0
    name: str = field(default="speech", init=False)
    monitor: Monitor = field(default="val/accuracy", init=False)

    def __post_init__(self) -> None:
        # composing a task with another task's data is an easy slip on the command line
        if not isinstance(self.data, SpeechData):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigError(
                "data", type(self.data).__name__, "is not a set of recordings; see python -m initlab data"
            )

    @property
    def episodes(self) -> int | None:
        """See `Plan`."""
        return self.data.plan.episodes

    def open(self, *, seed: int, device: torch.device) -> Splits:
        """The data set as tensors on `device`: x as stored, (N, F, T); y int64 (N,).

        After `prepare`, steps of padding are 0 in all features. Statistics for the standardisation come from the
        training part alone, after shots and limit, and from its steps that are not padding.

        Raises:
            DataError: a file is absent, damaged or of the wrong form.
            ConfigError: shots or limit do not suit the data.
        """
        raw = self.data.read()
        train, val, test = partition(raw, self.data.plan, seed=seed)
        return Splits(
            train=classes.move_part(train, device),
            val=classes.move_part(val, device),
            test=classes.move_part(test, device),
            io=IO(input_shape=tuple(train.x.shape[1:]), classes=len(raw.class_names)),
            prepare=standardise_steps(train.x, waveform=self.data.waveform).to(device),
            augment=None if self.data.augment.name == "none" else self.data.augment,
            class_names=raw.class_names,
            provenance=raw.provenance,
            baseline=classes.baseline(val.y, len(raw.class_names)),
            notes=raw.notes,
        )

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Mean cross entropy (nats) of logits (B, classes) and class indices (B,)."""
        return classes.cross_entropy(output, target, label_smoothing=self.label_smoothing)
