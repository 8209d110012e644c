"""Posterior probability that each arm has the best mean."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from initlab.statistics.failures import failed_seeds
from initlab.statistics.levels import separate
from initlab.statistics.rows import count, mean
from initlab.statistics.significance.blocks import blocks, centre_by_block
from initlab.statistics.spread import spread

if TYPE_CHECKING:
    from initlab.statistics.rows import Mask
    from initlab.statistics.significance.blocks import Floats

_DRAWS = 20_000


def probability_of_best(values: Floats, *, floor: float = math.nan, known: Mask | None = None, seed: int = 0) -> Floats:
    """Posterior probability that each arm has the best mean: flat priors, Student's t for each mean.

    What all arms share under a seed is taken out first; variances are those of `spread`. Of an arm under which seeds
    failed the share is drawn too (Jeffreys' prior, Beta(k + ½, n - k + ½)). Arms far below the others have none.

    Args:
        floor, known: of `failures.failed_seeds`.
    """
    found = np.zeros(len(values))
    able = np.flatnonzero(np.isfinite(values).any(axis=1))
    failed = failed_seeds(values, floor=floor, known=known)
    trained = np.where(failed, math.nan, values)
    able = able[separate(trained[able], floor=floor) == 0] if len(able) > 1 else able
    if len(able) < 2:
        found[able] = 1.0
        return found
    table = trained[able]
    b = blocks(table)
    centred = centre_by_block(table, b)
    of, n = spread(centred), count(table)
    if not np.isfinite(of.freedom).all() or not np.isfinite(of.variance).all():
        return np.full(len(values), math.nan)
    rng = np.random.default_rng(seed)
    arms, means = len(able), mean(centred)
    # taking the seeds' means out leaves residuals smaller than they were
    grown = arms / (arms - 1) if b.paired else 1.0
    error, freedom = np.sqrt(of.variance * grown / n), np.maximum(of.freedom / grown, 1.0)
    lost, total = failed[able].sum(axis=1), count(values[able])
    drop = np.where(lost > 0, mean(table) - mean(np.where(failed, values, math.nan)[able]), 0.0)
    tally, left = np.zeros(arms), _DRAWS
    chunk = max(1, 4_000_000 // arms)
    while left > 0:
        size = min(chunk, left)
        left -= size
        drawn = means + error * rng.standard_t(np.broadcast_to(freedom, (size, arms)))
        for i in np.flatnonzero(lost):
            drawn[:, i] -= drop[i] * rng.beta(lost[i] + 0.5, total[i] - lost[i] + 0.5, size)
        tally += np.bincount(drawn.argmax(axis=1), minlength=arms)
    found[able] = tally / _DRAWS
    return found
