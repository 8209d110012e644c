"""Posterior probability that each arm has the best mean."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from initlab.statistics.intervals import spread
from initlab.statistics.significance.blocks import blocks, centre_by_block

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from initlab.statistics.significance.blocks import Floats

_DRAWS = 20_000


def probability_of_best(values: Floats, *, apart: NDArray[np.bool_] | None = None, seed: int = 0) -> Floats:
    """Posterior probability that each arm has the best mean: flat priors, Student's t for each mean.

    What all arms share under a seed is taken out first; the scatter is borrowed as `intervals.spread` does.
    """
    b = blocks(values)
    centred = centre_by_block(values, b)
    able = np.isfinite(values).any(axis=1)
    found = np.zeros(len(values))
    if able.sum() < 2:
        found[able] = 1.0
        return found
    of = spread(centred[able], apart=None if apart is None else apart[able])
    n = np.isfinite(values[able]).sum(axis=1)
    if not np.isfinite(of.freedom).all() or not np.isfinite(of.variance).all():
        return np.full(len(values), math.nan)
    rng = np.random.default_rng(seed)
    means = np.nansum(centred[able], axis=1) / n
    # taking the seeds' means out leaves residuals smaller than they were
    arms = int(able.sum())
    grown = arms / (arms - 1) if b.paired else 1.0
    error, freedom = np.sqrt(of.variance * grown / n), np.maximum(of.freedom / grown, 1.0)
    tally, left = np.zeros(arms), _DRAWS
    chunk = max(1, 4_000_000 // arms)
    while left > 0:
        size = min(chunk, left)
        left -= size
        drawn = means + error * rng.standard_t(np.broadcast_to(freedom, (size, arms)))
        tally += np.bincount(drawn.argmax(axis=1), minlength=arms)
    found[able] = tally / _DRAWS
    return found
