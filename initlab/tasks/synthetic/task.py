"""The task of the synthetic data: squared error for numbers, else cross entropy."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from initlab.core.factories import factory
from initlab.errors import ConfigError
from initlab.spec import Monitor, Part, Splits
from initlab.tasks import classes

#: squared error that counts as none
_NO_ERROR = 1e-20


@dataclass(frozen=True, kw_only=True)
class SyntheticData:
    """Synthetic sequences or examples of a regression, generated when opened.

    Attributes:
        name: as in the configuration.
        make: the parts under a run's seed and on the CPU.
        numbers: whether answers are numbers, (B, K), and not classes.
        factor: of the mean squared error of numbers in the loss.
        peak: width of the range of the numbers, where the peak signal-to-noise ratio is a score.
        episodes: see `Plan`.
    """

    name: str
    make: Callable[[int], Splits]
    numbers: bool = False
    factor: float = 1.0
    peak: float | None = None
    episodes: int | None = None


@factory
@dataclass(frozen=True, kw_only=True)
class SyntheticTask:
    """Task on synthetic long sequences, or on a regression.

    Attributes:
        data: the sequences or examples.
    """

    data: SyntheticData
    name: str = field(default="synthetic", init=False)
    monitor: Monitor = field(default="val/loss", init=False)

    def __post_init__(self) -> None:
        if not isinstance(self.data, SyntheticData):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigError(
                "data",
                type(self.data).__name__,
                "is no synthetic data; choose from adding, copy_memory, sequential_mnist, whitened_linear, teacher,"
                " coordinates",
            )

    @property
    def episodes(self) -> int | None:
        """See `Plan`."""
        return self.data.episodes

    def open(self, *, seed: int, device: torch.device) -> Splits:
        """The data as tensors on `device`: x (N, F, T) or (N, T), of a regression (N, F), y as `Part` says.

        The training part follows `seed`; validation and test are the same for every seed.
        """
        splits = self.data.make(seed)
        train, val, test = (Part(x=p.x.to(device), y=p.y.to(device)) for p in (splits.train, splits.val, splits.test))
        move = getattr(splits.prepare, "to", None)
        prepare = splits.prepare if move is None else move(device)
        return replace(splits, train=train, val=val, test=test, prepare=prepare)

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Mean squared error of numbers (B, K) times `factor`, or cross entropy (nats) of logits (..., classes)."""
        if not self.data.numbers:
            return classes.cross_entropy(output, target)
        error = F.mse_loss(output, target)
        return error if self.data.factor == 1 else error * self.data.factor

    def correct(self, output: Tensor, target: Tensor) -> Tensor:
        """How many answers have the largest logit, a scalar tensor; 0 where they are numbers."""
        return output.new_zeros((), dtype=torch.int64) if self.data.numbers else classes.count_correct(output, target)

    def scores(self, loss: float, accuracy: float) -> dict[str, float]:
        """The accuracy where answers are classes; of numbers with a `peak` the ratio ``psnr`` of its square and the
        mean squared error, in decibels."""
        if not self.data.numbers:
            return {"accuracy": accuracy}
        if self.data.peak is None:
            return {}
        error = max(loss / self.data.factor, _NO_ERROR)
        return {"psnr": 10 * math.log10(self.data.peak**2 / error)}

    def closing(self, model: nn.Module, splits: Splits, *, seed: int) -> dict[str, str]:
        """Nothing."""
        del model, splits, seed
        return {}


def as_float(x: Tensor) -> Tensor:
    """Stored numbers as the network reads them."""
    return x.float()


def as_tokens(x: Tensor) -> Tensor:
    """Stored tokens as the int64 that an embedding looks up."""
    return x.long()
