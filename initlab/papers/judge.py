"""Judges a claim: an interval over seeds for each check, and *reproduces*, *does not reproduce* or *undecided*."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from initlab.errors import InitlabError
from initlab.papers.claim import Check, Claim
from initlab.papers.numbers import numbers_of
from initlab.papers.results import Row
from initlab.statistics.student import half_width

Outcome = Literal["holds", "fails", "undecided"]
Verdict = Literal["reproduces", "does not reproduce", "undecided"]
#: of all checks of a claim together
ALPHA = 0.05
#: the exponential of more is no number
_MOST_LOG = 700.0


@dataclass(frozen=True, kw_only=True)
class Checked:
    """A check and what was measured.

    Attributes:
        check: the statement.
        mean: over seeds; of ratios the geometric mean.
        low, high: its interval, at the level that leaves `ALPHA` for all checks of the claim.
        seeds: number of them; an end is infinite where they set no bound.
        outcome: ``holds`` where the whole interval is on the side of the bound that the claim says, ``fails`` where it
            is on the other.
        note: what to know of the number.
        same: whether every seed gave the same number, so that the seeds tell nothing of its spread.
    """

    check: Check
    mean: float
    low: float
    high: float
    seeds: int
    outcome: Outcome
    note: str = ""
    same: bool = False


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A claim with its checks and the verdict."""

    claim: Claim
    checks: tuple[Checked, ...]
    rows: tuple[Row, ...]
    seconds: float

    @property
    def verdict(self) -> Verdict:
        """A claim reproduces where every check holds, and does not where one fails."""
        outcomes = {c.outcome for c in self.checks}
        if "fails" in outcomes:
            return "does not reproduce"
        return "reproduces" if outcomes == {"holds"} else "undecided"

    @property
    def seeds(self) -> int:
        """The fewest seeds of a check."""
        return min(c.seeds for c in self.checks)


def judge(claim: Claim, rows: Sequence[Row], seconds: float) -> Judged:
    """Judge a claim by the values of its runs.

    Raises:
        InitlabError: a check names an arm or a metric that the runs do not have.
    """
    checked = tuple(_check(claim, check, rows, ALPHA / len(claim.checks)) for check in claim.checks)
    return Judged(claim=claim, checks=checked, rows=tuple(rows), seconds=seconds)


def interval(values: Sequence[float], *, alpha: float, grid: float = 0.0) -> tuple[float, float, float]:
    """Mean of independent values and its Student interval at level 1 - alpha (Student, 1908).

    Args:
        values: by seed.
        alpha: probability that the interval misses the mean.
        grid: step of the values; rounding to it adds grid²/12 to a spread that is smaller (Sheppard, 1898).

    Returns:
        Mean, low and high end; ends at infinity for fewer than two values.
    """
    centre = float(np.mean(values))
    if len(values) < 2 or not math.isfinite(centre):
        return centre, -math.inf, math.inf
    half = half_width(values, confidence=1 - alpha, step=grid)
    return centre, centre - half, centre + half


# ------------------------------------------------------------------ pieces
def _check(claim: Claim, check: Check, rows: Sequence[Row], alpha: float) -> Checked:
    try:
        numbers = numbers_of(check, rows)
    except InitlabError as error:
        raise InitlabError(f"{check.subject}: {error}") from error
    found = list(numbers.by_seed.values())
    grid = 0.0 if numbers.logarithmic else numbers.grid
    alike = len(found) > 1 and len(set(found)) == 1 and found[0].least == found[0].most
    mean, _, _ = interval([n.value for n in found], alpha=alpha)
    _, low, _ = interval([n.least for n in found], alpha=alpha, grid=grid)
    _, _, high = interval([n.most for n in found], alpha=alpha, grid=grid)
    if numbers.logarithmic:
        mean, low, high = (math.exp(v) if v < _MOST_LOG else math.inf for v in (mean, low, high))
    return Checked(
        check=check, mean=mean, low=low, high=high, seeds=len(found), outcome=_outcome(check, low, high),
        note="; ".join(numbers.notes), same=alike and grid == 0,
    )  # fmt: skip


def _outcome(check: Check, low: float, high: float) -> Outcome:
    if check.bound == "near":
        bottom, top = check.value - check.within, check.value + check.within
        if bottom <= low and high <= top:
            return "holds"
        return "fails" if high < bottom or low > top else "undecided"
    if check.bound == "above":
        return "holds" if low > check.value else "fails" if high < check.value else "undecided"
    return "holds" if high < check.value else "fails" if low > check.value else "undecided"
