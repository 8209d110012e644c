"""Image classification: cross entropy and accuracy on any source of labelled images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from initlab.core.factories import factory
from initlab.errors import ConfigError
from initlab.spec import IO, Monitor, Probability, Splits
from initlab.tasks import classes
from initlab.tasks.augment import AugmentName, augmentation
from initlab.tasks.normalise import standardise
from initlab.tasks.raw import RawData
from initlab.tasks.splitting import Plan, partition


@dataclass(frozen=True, kw_only=True)
class ImageData:
    """A set of labelled images that can be opened.

    Attributes:
        name: as in the configuration.
        load: reads it. Raises DataError, which says which file to put where.
        plan: how it is cut into train, val and test.
        augment: what is done to training batches.
    """

    name: str
    load: Callable[[], RawData]
    plan: Plan = field(default_factory=Plan)
    augment: AugmentName = "none"

    def read(self) -> RawData:
        """The data as read from their files; once and for all where they are drawn from again and again."""
        return self.load() if self.plan.episodes is None else self._cached

    @cached_property
    def _cached(self) -> RawData:
        return self.load()


@factory
@dataclass(frozen=True, kw_only=True)
class ImageTask(classes.Classification):
    """Classify images: cross entropy in nats, accuracy as the share of right answers.

    Attributes:
        data: the images.
        label_smoothing: share of the target spread evenly over all classes (Szegedy et al., CVPR 2016); 0 is off.
        output: ``softmax`` over the logits; ``sigmoid`` takes a sigmoid of each and divides by their sum, which is what
            Keras' categorical cross entropy makes of sigmoid outputs. Classes that exclude each other want softmax.
    """

    data: ImageData
    label_smoothing: Probability = 0.0
    output: Literal["softmax", "sigmoid"] = "softmax"
    name: str = field(default="image", init=False)
    monitor: Monitor = field(default="val/accuracy", init=False)

    def __post_init__(self) -> None:
        # composing a task with another task's data is an easy slip on the command line
        if not isinstance(self.data, ImageData):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigError("data", type(self.data).__name__, "is not a set of images; see python -m initlab data")

    @property
    def episodes(self) -> int | None:
        """See `Plan`."""
        return self.data.plan.episodes

    def open(self, *, seed: int, device: torch.device) -> Splits:
        """The data set as tensors on `device`: x as stored, (N, C, H, W) or (N, D); y int64 (N,).

        Statistics for the standardisation come from the training part alone, after shots and limit.

        Raises:
            DataError: a file is absent, damaged or of the wrong form.
            ConfigError: shots, limit or augment do not suit the data.
        """
        raw = self.data.read()
        train, val, test = partition(raw, self.data.plan, seed=seed)
        input_shape = tuple(train.x.shape[1:])
        augment = augmentation(self.data.augment, input_shape)
        prepare = standardise(train.x).to(device)
        return Splits(
            train=classes.move_part(train, device),
            val=classes.move_part(val, device),
            test=classes.move_part(test, device),
            io=IO(input_shape=input_shape, classes=len(raw.class_names)),
            prepare=prepare,
            augment=augment,
            class_names=raw.class_names,
            provenance=raw.provenance,
            baseline=classes.baseline(val.y, len(raw.class_names)),
            notes=raw.notes,
        )

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Mean cross entropy (nats) of logits (B, classes) and class indices (B,)."""
        # softmax(ln σ(z)) = σ(z) / Σ σ(z)
        logits = F.logsigmoid(output) if self.output == "sigmoid" else output
        return classes.cross_entropy(logits, target, label_smoothing=self.label_smoothing)

    def member_losses(self, output: Tensor, target: Tensor) -> Tensor:
        """`loss` of several networks: (members,) from logits (members, B, classes) and indices (members, B)."""
        logits = F.logsigmoid(output) if self.output == "sigmoid" else output
        return classes.member_cross_entropy(logits, target, label_smoothing=self.label_smoothing)
