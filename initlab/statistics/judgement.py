"""The one judgement of the arms of a study: order, intervals and best set, the same wherever a study is shown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from initlab.statistics.intervals import Intervals, intervals
from initlab.statistics.rows import count, mean
from initlab.statistics.significance import SEEDS, probability_of_best, seeds_needed, winner_set

if TYPE_CHECKING:
    from initlab.statistics.rows import Floats, Mask

Verdict = Literal["best", "not distinguishable", "worse", ""]


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """Result of each arm, in the order of `values`.

    Attributes:
        intervals: mean of each arm with its 95 % interval.
        p: of belonging to the best set, corrected for all arms; NaN where nothing can be said.
        best: probability of having the best mean.
        needed: seeds that would tell the first two apart.
        alpha: level of the best set.
    """

    intervals: Intervals
    p: Floats
    best: Floats
    needed: float
    alpha: float

    def in_best_set(self, arm: int) -> bool | None:
        """Whether the arm is not distinguishable from the best; None where there are too few seeds, or no spread."""
        p = float(self.p[arm])
        return None if not math.isfinite(p) else p > self.alpha


def judge(
    values: Floats, *, alpha: float = 0.05, floor: float = math.nan, known: Mask | None = None, thorough: bool = True
) -> Judgement:
    """Judge the arms of a study.

    Args:
        values: arms × seeds, more is better, each arm with a value at least, sorted by `order_of`.
        alpha: level of the best set.
        floor, known: of `failures.failed_seeds`.
        thorough: also the probabilities and the number of seeds, which take longer.
    """
    found = intervals(values, floor=floor, known=known)
    many = len(values) > 1
    return Judgement(
        intervals=found,
        p=winner_set(values, alpha=alpha, floor=floor, known=known),
        best=probability_of_best(values, floor=floor, known=known) if thorough else np.full(len(values), math.nan),
        needed=seeds_needed(values, 0, 1, alpha=alpha, floor=floor, known=known) if thorough and many else math.nan,
        alpha=alpha,
    )


def order_of(values: Floats, names: Sequence[str]) -> list[int]:
    """Rows from the best mean to the worst; those with too few seeds to be judged behind those with enough, without
    values last; the name decides among equals.
    """
    n, centre = count(values), mean(values)
    enough = SEEDS if len(n) and n.max() >= SEEDS else 1
    return sorted(range(len(values)), key=lambda i: (n[i] == 0, n[i] < enough, -centre[i] if n[i] else 0.0, names[i]))


def verdict(*, first: bool, in_best_set: bool | None) -> Verdict:
    """The words for an arm's place, the same in every table."""
    if first:
        return "best"
    return {True: "not distinguishable", False: "worse", None: ""}[in_best_set]  # pyright: ignore[reportReturnType]
