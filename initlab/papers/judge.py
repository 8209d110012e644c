"""Judges a claim: an interval over seeds for each check, and *reproduces*, *does not reproduce* or *undecided*."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from initlab.errors import InitlabError
from initlab.papers.claim import Check, Claim
from initlab.papers.results import LESS, Row, Values, select, values_of
from initlab.statistics.rows import step

Outcome = Literal["holds", "fails", "undecided"]
Verdict = Literal["reproduces", "does not reproduce", "undecided"]
#: of all checks of a claim together
ALPHA = 0.05


@dataclass(frozen=True, kw_only=True)
class Checked:
    """A check and what was measured.

    Attributes:
        check: the statement.
        mean: over seeds; of ratios the geometric mean.
        low, high: its interval, at the level that leaves `ALPHA` for all checks of the claim.
        seeds: number of them.
        outcome: ``holds`` where the whole interval is on the side of the bound that the claim says, ``fails`` where it
            is on the other.
        note: what to know of the number.
    """

    check: Check
    mean: float
    low: float
    high: float
    seeds: int
    outcome: Outcome
    note: str = ""


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
    from scipy.stats import t

    spread = max(float(np.var(values, ddof=1)), grid**2 / 12)
    half = float(t.ppf(1 - alpha / 2, len(values) - 1)) * math.sqrt(spread / len(values))
    return centre, centre - half, centre + half


# ------------------------------------------------------------------ pieces
def _check(claim: Claim, check: Check, rows: Sequence[Row], alpha: float) -> Checked:
    try:
        values, logarithmic, bounds = _values(check, rows)
    except InitlabError as error:
        raise InitlabError(f"{claim.name}: {check.subject}: {error}") from error
    grid = 0.0 if logarithmic else _grid(list(values.values()))
    mean, low, high = interval(list(values.values()), alpha=alpha, grid=grid)
    if logarithmic:
        mean, low, high = (math.exp(v) if v < 700 else math.inf for v in (mean, low, high))
    return Checked(
        check=check, mean=mean, low=low, high=high, seeds=len(values), outcome=_outcome(check, low, high), note=bounds
    )


def _outcome(check: Check, low: float, high: float) -> Outcome:
    if check.bound == "near":
        bottom, top = check.value - check.within, check.value + check.within
        if bottom <= low and high <= top:
            return "holds"
        return "fails" if high < bottom or low > top else "undecided"
    if check.bound == "above":
        return "holds" if low > check.value else "fails" if high < check.value else "undecided"
    return "holds" if high < check.value else "fails" if low > check.value else "undecided"


def _values(check: Check, rows: Sequence[Row]) -> tuple[Mapping[int, float], bool, str]:
    """Seed → the number that is checked; whether it is a logarithm; and what to know of it."""
    if check.slope:
        return _slopes(check, select(rows, check.arm, check.part)), False, ""
    one = _of_arm(check, select(rows, check.arm, check.part))
    if not (check.minus or check.over):
        return _bounded(one, check, upper=False), False, _capped_note(one)
    other = _of_arm(check, select(rows, check.minus or check.over, check.part))
    common = sorted(set(one.by_seed) & set(other.by_seed))
    if len(common) < 2:
        raise InitlabError("the two arms have fewer than two seeds in common")
    first, second = _bounded(one, check, upper=False), _bounded(other, check, upper=True)
    note = _capped_note(one) or _capped_note(other)
    if check.minus:
        return {s: first[s] - second[s] for s in common}, False, note
    if any(not v > 0 for s in common for v in (first[s], second[s])):
        raise InitlabError("a ratio needs values above 0")
    return {s: math.log(first[s]) - math.log(second[s]) for s in common}, True, note


def _of_arm(check: Check, rows: Sequence[Row]) -> Values:
    """Seed → the metric of one arm, or the best value of a key, or the metric there, of arms that differ in the key."""
    key = check.best or check.at_best
    if not key:
        return values_of(rows, check.metric)
    sign = 1.0 if check.metric.endswith(LESS) else -1.0
    sizes = sorted({float(r.params[key]) for r in rows if key in r.params})
    table: dict[int, dict[float, float]] = {}
    capped: dict[int, float] = {}
    for size in sizes:
        own = values_of([r for r in rows if float(r.params.get(key, "nan")) == size], check.metric)
        for seed, value in own.by_seed.items():
            table.setdefault(seed, {})[size] = sign * value
        capped |= {s: own.by_seed[s] for s in own.capped}
    whole = {s: by_size for s, by_size in table.items() if len(by_size) == len(sizes) > 1}
    if not whole:
        raise InitlabError(f"the best {key} needs two values of it with {check.metric} under a common seed")
    if check.best:
        return Values(by_seed={s: _lowest(by_size) for s, by_size in whole.items()})
    best = {s: sign * min(by_size.values()) for s, by_size in whole.items()}
    # a budget is longer than what reached the target: it is the best only where nothing did
    return Values(by_seed=best, capped=frozenset(s for s, value in best.items() if capped.get(s) == value))


def _lowest(by_size: Mapping[float, float]) -> float:
    """Size with the lowest value: vertex of the parabola through the lowest point and its neighbours, in log(size)."""
    sizes = sorted(by_size)
    i = min(range(len(sizes)), key=lambda k: by_size[sizes[k]])
    if not 0 < i < len(sizes) - 1:
        return sizes[i]
    x = np.log([sizes[k] for k in (i - 1, i, i + 1)])
    curve = np.polyfit(x, [by_size[sizes[k]] for k in (i - 1, i, i + 1)], 2)
    return float(math.exp(-curve[1] / (2 * curve[0]))) if curve[0] > 0 else sizes[i]


def _bounded(values: Values, check: Check, *, upper: bool) -> dict[int, float]:
    """Values with the lower bounds of `values` where these can only hurt the claim, and infinity where not.

    A lower bound in front makes the number too small, which hurts a claim of "above"; behind, in the second arm, too
    large, which hurts one of "below".
    """
    hurts = check.bound == ("below" if upper else "above")
    return {s: v if s not in values.capped or hurts else math.inf for s, v in values.by_seed.items()}


def _capped_note(values: Values) -> str:
    if not values.capped:
        return ""
    return f"{len(values.capped)} of {len(values.by_seed)} runs did not reach the target; their budget stands for them"


def _slopes(check: Check, rows: Sequence[Row]) -> dict[int, float]:
    """Seed → least-squares slope of log(metric) over log(key)."""
    sizes = sorted({float(r.params[check.slope]) for r in rows if check.slope in r.params})
    if len(sizes) < 2:
        raise InitlabError(f"a slope over {check.slope} needs two values of it")
    table: dict[int, dict[float, float]] = {}
    for size in sizes:
        own = [r for r in rows if float(r.params[check.slope]) == size]
        for seed, value in _of_arm(check, own).by_seed.items():
            table.setdefault(seed, {})[size] = value
    found: dict[int, float] = {}
    for seed, by_size in table.items():
        if len(by_size) == len(sizes) and all(v > 0 and math.isfinite(v) for v in by_size.values()):
            found[seed] = float(np.polyfit(np.log(sizes), np.log([by_size[s] for s in sizes]), 1)[0])
    if not found:
        raise InitlabError(f"no seed has a value above 0 at every {check.slope}")
    return found


def _grid(values: Sequence[float]) -> float:
    """Step of values that look like shares of a test part, between 0 and 1; 0 where there is none."""
    return float(step(np.array([values]))) if all(0 <= abs(v) <= 1 for v in values) else 0.0
