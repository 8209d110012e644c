"""Numbers that the checks of a claim are about, seed by seed, each with the bounds between which it is known to lie."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from initlab.compare.metric import LESS
from initlab.errors import InitlabError
from initlab.papers.arms import same_value
from initlab.papers.claim import Check
from initlab.papers.results import Row
from initlab.spec.target import UNTIL_STEP

#: arms that a message names
_NAMED = 6
#: of a test part whose accuracies are known to be shares
_MOST_EXAMPLES = 20_000


class Number(NamedTuple):
    """A number of one seed.

    Attributes:
        value: the best guess; NaN where there is none.
        least: it is no smaller.
        most: it is no larger.
    """

    value: float
    least: float
    most: float


#: of a run that left no value, as one that diverged
UNKNOWN = Number(math.nan, -math.inf, math.inf)


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """The number of a check under every seed.

    Attributes:
        by_seed: seed → number.
        logarithmic: whether these are logarithms of it.
        grid: distance of the values that it can have, as of the accuracy of a few hundred examples; 0 for any value.
        notes: what to know of them.
    """

    by_seed: Mapping[int, Number]
    logarithmic: bool = False
    grid: float = 0.0
    notes: tuple[str, ...] = ()


def numbers_of(check: Check, rows: Sequence[Row]) -> Numbers:
    """The number of `check` under every seed of the runs.

    A target that was not reached within the budget, a best value at the edge of those that were tried, and a run
    without a value widen the bounds: they can leave a claim open, and cannot decide it.

    Raises:
        InitlabError: no arm, or more than one, fits what the check names; no run has the metric; no seed is common.
    """
    own = _select(rows, check.arm, check.part)
    if check.slope:
        return _slopes(check, own)
    first = _of_arm(check, own)
    notes = _notes(check, own, first)
    if not (check.minus or check.over):
        return Numbers(by_seed=first, grid=0.0 if check.best else _grid(check, rows, own), notes=notes)
    others = _select(rows, check.minus or check.over, check.part)
    second = _of_arm(check, others)
    notes = tuple(dict.fromkeys([*notes, *_notes(check, others, second)]))
    common = sorted(set(first) & set(second))
    if not common:
        raise InitlabError("the two arms have no seed in common")
    if check.minus:
        grid = 0.0 if check.best else _grid(check, rows, own)
        return Numbers(by_seed={s: _minus(first[s], second[s]) for s in common}, grid=grid, notes=notes)
    by_seed = {s: _minus(_log(first[s]), _log(second[s])) for s in common}
    return Numbers(by_seed=by_seed, logarithmic=True, notes=notes)


def values_of(rows: Sequence[Row], metric: str) -> dict[int, Number]:
    """The metric of one arm by seed.

    Raises:
        InitlabError: rows of more than one arm, or none of them has the metric.
    """
    arms = _arms(rows)
    if len(arms) > 1:
        raise InitlabError(f"{len(arms)} arms fit where one is meant: {_listed(arms)}")
    found: dict[int, Number] = {}
    for row in rows:
        value = row.values.get(metric)
        if value is not None:
            found[row.seed] = Number(value, value, value)
        elif metric == UNTIL_STEP and math.isfinite(row.budget):
            found[row.seed] = Number(row.budget, row.budget, math.inf)
        else:
            found[row.seed] = UNKNOWN
    if all(n == UNKNOWN for n in found.values()):
        there = sorted({m for r in rows for m in r.values})
        raise InitlabError(f"no run has a value of {metric}; there are {', '.join(there) or 'none'}")
    return found


# ------------------------------------------------------------------ arms
def _select(rows: Sequence[Row], arm: str, part: str) -> list[Row]:
    """Rows of the arms that ``KEY=VALUE KEY=VALUE`` names."""
    wanted = dict(w.split("=", 1) for w in arm.split())
    inside = [r for r in rows if not part or r.part == part]
    found = [r for r in inside if all(k in r.params and same_value(r.params[k], v) for k, v in wanted.items())]
    if not found:
        raise InitlabError(f"no arm is {arm or 'there'}; there are: {_listed(_arms(inside)) or 'none'}")
    return found


def _arms(rows: Iterable[Row]) -> dict[tuple[str, ...], str]:
    """Part and parameters of each arm → the arm in words."""
    found: dict[tuple[str, ...], str] = {}
    for r in rows:
        words = [f"{k}={v}" for k, v in sorted(r.params.items())]
        found[r.part, *words] = f"{' '.join(words)} ({r.part})"
    return found


def _listed(arms: Mapping[tuple[str, ...], str]) -> str:
    more = len(arms) - _NAMED
    return ", ".join(sorted(arms.values())[:_NAMED]) + (f" and {more} more" if more > 0 else "")


# ------------------------------------------------------------------ numbers
def _of_arm(check: Check, rows: Sequence[Row]) -> dict[int, Number]:
    """Seed → the metric of one arm, or the best value of a key, or the metric there, of arms that differ in the key."""
    key = check.best or check.at_best
    if not key:
        return values_of(rows, check.metric)
    sign = 1.0 if check.metric.endswith(LESS) else -1.0
    whole = _by_size(check, rows, key)
    if check.best:
        return {s: _best_size(by_size, sign) for s, by_size in whole.items()}
    return {s: _best_of(by_size, sign) for s, by_size in whole.items()}


def _by_size(check: Check, rows: Sequence[Row], key: str) -> dict[int, dict[float, Number]]:
    """Seed → value of the key → metric, of the seeds that have all values of the key."""
    sizes = sorted({_size(r, key) for r in rows if key in r.params})
    if len(sizes) < 2:
        raise InitlabError(f"{key} must have two values or more among the arms; it has {len(sizes)}")
    table: dict[int, dict[float, Number]] = {}
    for size in sizes:
        own = [r for r in rows if key in r.params and _size(r, key) == size]
        inner = values_of(own, check.metric) if key != check.slope else _of_arm(check, own)
        for seed, number in inner.items():
            table.setdefault(seed, {})[size] = number
    whole = {s: by_size for s, by_size in table.items() if len(by_size) == len(sizes)}
    if not whole:
        raise InitlabError(f"no seed has {check.metric} at every value of {key}")
    return whole


def _size(row: Row, key: str) -> float:
    try:
        return float(row.params[key])
    except ValueError as error:
        raise InitlabError(f"{key} must be a number in every arm; it is {row.params[key]}") from error


def _best_of(by_size: Mapping[float, Number], sign: float) -> Number:
    """The best of the numbers; where one of them is unknown it might be the best."""
    if any(math.isnan(n.value) for n in by_size.values()):
        return UNKNOWN
    return min(by_size.values(), key=lambda n: sign * n.value)


def _best_size(by_size: Mapping[float, Number], sign: float) -> Number:
    """The size with the best number: vertex of the parabola through the best and its neighbours, in log(size).

    At the edge of the sizes the best may lie beyond it.
    """
    sizes = sorted(by_size)
    values = [sign * by_size[s].value for s in sizes]
    if any(math.isnan(v) for v in values):
        return UNKNOWN
    i = int(np.argmin(values))
    best = by_size[sizes[i]]
    if best.least != best.most:  # the target was reached nowhere: no size is the best
        return UNKNOWN
    if i == 0:
        return Number(sizes[0], 0.0, sizes[0])
    if i == len(sizes) - 1:
        return Number(sizes[i], sizes[i], math.inf)
    near = sizes[i - 1 : i + 2]
    curve = np.polyfit(np.log(near), values[i - 1 : i + 2], 2)
    size = float(math.exp(-curve[1] / (2 * curve[0]))) if curve[0] > 0 else sizes[i]
    return Number(size, size, size)


def _slopes(check: Check, rows: Sequence[Row]) -> Numbers:
    """Least-squares slopes of log(metric) over log(key)."""
    whole = _by_size(check, rows, check.slope)
    sizes = sorted(next(iter(whole.values())))
    if sizes[0] <= 0:
        raise InitlabError(f"a slope over log {check.slope} needs values of it above 0")
    x = np.log(sizes)
    weights = (x - x.mean()) / float(((x - x.mean()) ** 2).sum())
    found: dict[int, Number] = {}
    for seed, by_size in whole.items():
        logs = [_log(by_size[s]) for s in sizes]
        value = least = most = 0.0
        for weight, n in zip(map(float, weights), logs, strict=True):
            if weight != 0:
                value += weight * n.value
                least += weight * (n.least if weight > 0 else n.most)
                most += weight * (n.most if weight > 0 else n.least)
        found[seed] = Number(value, least, most)
    return Numbers(by_seed=found, notes=_notes(check, rows, found))


def _minus(a: Number, b: Number) -> Number:
    return Number(a.value - b.value, a.least - b.most, a.most - b.least)


def _log(n: Number) -> Number:
    if n.value <= 0:
        raise InitlabError(f"a ratio or a slope needs values above 0; one is {n.value:g}")
    return Number(math.log(n.value), math.log(n.least) if n.least > 0 else -math.inf, math.log(n.most))


# ------------------------------------------------------------------ what is said of them
def _notes(check: Check, rows: Sequence[Row], found: Mapping[int, Number]) -> tuple[str, ...]:
    notes: list[str] = []
    lacking = [r for r in rows if check.metric not in r.values]
    if lacking and check.metric == UNTIL_STEP:
        notes.append(
            f"{len(lacking)} of {len(rows)} runs did not reach the target; they count as the updates made, or more"
        )
    elif lacking:
        diverged = sum(r.ending == "diverged" for r in lacking)
        why = f", {diverged} of them diverged" if diverged else ""
        notes.append(f"{len(lacking)} of {len(rows)} runs have no {check.metric}{why}")
    edge = sum(n.least != n.most for n in found.values())
    if check.best and edge and not check.slope:
        notes.append(f"the best {check.best} lies at the edge of its values in {edge} of {len(found)} seeds")
    return tuple(notes)


def _grid(check: Check, rows: Sequence[Row], own: Sequence[Row]) -> float:
    """Step of values that are shares of a test part, from all arms of the claim's part; 0 where they are no shares.

    The arms share the data, so that the values of all tell it, also where one arm has the same value in every seed.
    """
    parts = {r.part for r in own}
    return share_step([r.values[check.metric] for r in rows if r.part in parts and check.metric in r.values])


def share_step(values: Sequence[float]) -> float:
    """1/n, for the smallest n such that all values are numbers of n things; 0 where there is none.

    A multiple of the true step where the values happen to lie on it, which makes an interval wider.

    Example:
        >>> round(1 / share_step([36 / 359, 215 / 359])), share_step([0.3141592653, 0.2718281828])
        (359, 0.0)
    """
    shares = np.unique([v for v in values if v not in (0, 1)])
    if len(shares) < 2 or shares[0] < 0 or shares[-1] > 1:
        return 0.0
    n = np.arange(2, _MOST_EXAMPLES)
    products = shares[:, None] * n
    fit = np.flatnonzero((np.abs(products - np.round(products)) < 1e-6).all(axis=0))
    return float(1 / n[fit[0]]) if len(fit) else 0.0
