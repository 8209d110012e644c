"""The `Task` protocol: a data set with its loss and metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from initlab.spec.data import Splits

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

Monitor = Literal["val/accuracy", "val/loss"]


@runtime_checkable
class Task(Protocol):
    """A data set with its loss and metrics."""

    @property
    def name(self) -> str: ...

    @property
    def monitor(self) -> Monitor:
        """The metric that selects the best epoch."""
        ...

    @property
    def episodes(self) -> int | None:
        """How often training is repeated on another draw of few examples; None for an ordinary run."""
        ...

    def open(self, *, seed: int, device: torch.device) -> Splits:
        """The data set as tensors on `device`. Raises DataError, which says which file to put where."""
        ...

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Mean training loss of a batch, a scalar tensor: nats for classes and tokens, squared error for numbers."""
        ...

    def correct(self, output: Tensor, target: Tensor) -> Tensor:
        """Number of right answers of the batch's ``target.numel()``, a scalar tensor; 0 where targets are numbers."""
        ...

    def scores(self, loss: float, accuracy: float) -> dict[str, float]:
        """Metrics reported beside the loss, by the end of their key: accuracy, bits_per_char, perplexity.

        Args:
            loss: mean over a part, as `loss` gives it.
            accuracy: share of right answers.
        """
        ...

    def closing(self, model: nn.Module, splits: Splits, *, seed: int) -> dict[str, str]:
        """Texts to store at the end of a run, by file name: a sampled continuation. The model is in eval mode."""
        ...


@runtime_checkable
class StackedTask(Protocol):
    """A task that scores several networks at once, so that their runs can train as a cohort."""

    def member_losses(self, output: Tensor, target: Tensor) -> Tensor:
        """`Task.loss` of each member, (members,), from outputs (members, B, ...) and targets (members, B, ...)."""
        ...

    def member_correct(self, output: Tensor, target: Tensor) -> Tensor:
        """`Task.correct` of each member, (members,), likewise."""
        ...
