"""Types of a prepared data set: inputs and outputs, parts, provenance, baseline, splits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch
    from torch import Tensor

PartName = Literal["train", "val", "test"]


@dataclass(frozen=True, kw_only=True)
class IO:
    """Input and output shapes that a model must have.

    Attributes:
        input_shape: of one example: (C, H, W) for images, (D,) for vectors, (F, T) for F features over T steps, (T,)
            for tokens. Steps at the end of a sequence at which all features are exactly zero are padding.
        classes: outputs: logits of so many classes, or so many numbers.
        vocabulary: how many tokens there are, where inputs are tokens (int64); None where they are numbers.
        per_step: whether every step has an output, (B, T, classes), and not only the whole sequence, (B, classes).
    """

    input_shape: tuple[int, ...]
    classes: int
    vocabulary: int | None = None
    per_step: bool = False


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part (train, val or test) of a data set, complete and on its device.

    `x` keeps the dtype of its storage (uint8 for images) until a batch is taken; `y` holds int64 class indices, (B,) or
    one a step, (B, T), or float targets (B, classes).
    """

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return int(self.y.shape[0])


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Source of a data set, for the tracker's dataset record."""

    name: str
    source: str
    digest: str
    licence: str = ""
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """Loss and accuracy on the validation part that ignore the input.

    Attributes:
        untrained: loss of a network that says nothing of its input: what the loss before training should be near.
        constant: loss of the best answer that is the same for every input.
        accuracy: share of right answers of that one; None where answers are not right or wrong.
        words: `untrained` in a figure's legend, such as ``ln 10 = 2.30``.
    """

    untrained: float
    constant: float
    accuracy: float | None
    words: str


@dataclass(frozen=True, kw_only=True)
class Splits:
    """A prepared data set: three disjoint parts and the functions from storage to network input.

    `prepare(x)` turns a stored batch into the float batch the network sees (scaling and standardisation with statistics
    of the training part only). `augment(x, generator)` acts on prepared training batches and draws from the CPU
    generator it is handed; None where augmentation is off.

    Where `streams` is true the examples of a part are windows of one long sequence, in order. A batch then holds the
    next window of as many parallel streams, and a network can carry its state from batch to batch. `notes` say what was
    counted while reading: files passed over, sequences cut, unknown words.
    """

    train: Part
    val: Part
    test: Part
    io: IO
    prepare: Callable[[Tensor], Tensor]
    augment: Callable[[Tensor, torch.Generator], Tensor] | None
    class_names: tuple[str, ...]
    provenance: Provenance
    baseline: Baseline
    streams: bool = False
    notes: tuple[str, ...] = ()

    def part(self, name: PartName) -> Part:
        return {"train": self.train, "val": self.val, "test": self.test}[name]
