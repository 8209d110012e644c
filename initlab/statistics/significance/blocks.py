"""Values grouped by arm and seed into the blocks within which a permutation test exchanges them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """All values in one row, sorted by arm, and the blocks within which they are exchanged.

    Attributes:
        value: each, the mean of its block taken away.
        arm: of each value.
        block: of each value: its seed; one for all where arms do not share their seeds.
        paired: whether blocks are seeds.
        raw: each value as it is.
    """

    value: Floats
    arm: Ints
    block: Ints
    paired: bool
    raw: Floats

    @property
    def freedom(self) -> int:
        """Of the residuals."""
        return len(self.value) - len(np.unique(self.arm)) - (len(np.unique(self.block)) - 1)


def blocks(values: Floats) -> Blocks:
    """Blocks by seed where every arm shares two seeds with the arm that has most, else one block for all."""
    finite = np.isfinite(values)
    most = finite[int(np.argmax(finite.sum(axis=1)))]
    paired = bool(((finite & most).sum(axis=1) >= np.minimum(2, finite.sum(axis=1))).all())
    arm, seed = np.nonzero(finite)
    block = seed if paired else np.zeros_like(seed)
    raw = values[arm, seed]
    # a seed that only one arm has tells of no difference
    centre = np.bincount(block, raw) / np.maximum(np.bincount(block), 1)
    return Blocks(value=raw - centre[block], arm=arm, block=block, paired=paired, raw=raw)


def centre_by_block(values: Floats, b: Blocks) -> Floats:
    """The values minus the mean of their block."""
    found = np.full(values.shape, math.nan)
    found[np.nonzero(np.isfinite(values))] = b.value
    return found


def residual(b: Blocks) -> float:
    """Variance of what neither arm nor seed explains."""
    counts = np.bincount(b.arm)
    means = np.bincount(b.arm, b.value) / np.maximum(counts, 1)
    return max(0.0, float((b.value**2).sum() - (counts * means**2).sum())) / b.freedom
