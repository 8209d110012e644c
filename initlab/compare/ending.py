"""Ending of a run (finished, diverged, failed, early, running), as a comparison counts it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from initlab.tracking import RunRecord

    Floats = NDArray[np.float64]

#: how the run of a seed ended
Ending = Literal["finished", "diverged", "failed", "early", "running"]
ENDINGS: tuple[Ending, ...] = ("finished", "diverged", "failed", "early", "running")
_ENDING: dict[str, Ending] = {
    "finished": "finished", "stopped": "finished", "diverged": "diverged", "failed": "failed", "killed": "early",
    "running": "running",
}  # fmt: skip


def ending_of(run: RunRecord) -> Ending:
    return _ENDING.get(run.status, "running")
