"""Robustness: size of the near-best area, where a study sweeps two numbers such as gain and learning rate."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from initlab.core.text import format_number
from initlab.study.search.arms import ENDED, ArmResult, varying
from initlab.study.space.objectives import Direction, Directions

#: share of the best score from which on an arm is near the best; for a loss that much above the lowest
NEAR = 0.9
#: minimum number of values of each of the two keys
_MIN_VALUES = 3


@dataclass(frozen=True, kw_only=True)
class Area:
    """The near-best area in the plane of two swept numbers.

    Attributes:
        of: the other choices as text; empty where there are none.
        keys: the two keys.
        near: combinations within `NEAR` of the best of the study.
        ended: combinations that ended, diverged ones included.
        spans: lowest and highest value of each key among the near ones; None where there are none.
    """

    of: str
    keys: tuple[str, str]
    near: int
    ended: int
    spans: tuple[tuple[float, float], tuple[float, float]] | None

    @property
    def share(self) -> float:
        """Share of the combinations, 0 to 1."""
        return self.near / self.ended

    def line(self) -> str:
        """Format the area as a sentence."""
        where = ""
        if self.spans is not None:
            where = "; " + ", ".join(
                f"{key} {low:g} to {high:g}" for key, (low, high) in zip(self.keys, self.spans, strict=True)
            )
        of = f"{self.of}: " if self.of else ""
        return f"{of}{self.near} of {self.ended} combinations ({100 * self.share:.0f} %){where}"


def near_best_threshold(arms: Sequence[ArmResult], direction: Direction) -> float | None:
    """The score from which on an arm is near the best; None where the best is not greater than 0."""
    scores = [a.finite for a in arms if a.state == "complete" and a.finite is not None]
    if not scores:
        return None
    best = max(scores) if direction == "maximize" else min(scores)
    if best <= 0:
        return None
    return best * NEAR if direction == "maximize" else best / NEAR


def areas(arms: Sequence[ArmResult], direction: Directions) -> tuple[Area, ...]:
    """The areas, widest first, one for each choice of the non-numeric keys; empty without two numeric keys."""
    if not isinstance(direction, str):
        return ()  # with several objectives there is no single best
    threshold, ended = near_best_threshold(arms, direction), [a for a in arms if a.state in ENDED]
    plane = [k for k in varying(arms) if _is_number(k, arms)]
    if threshold is None or len(plane) != 2:
        return ()
    first, second = plane
    found: list[Area] = []
    for of, group in itertools.groupby(sorted(ended, key=lambda a: _others(a, plane)), lambda a: _others(a, plane)):
        held = list(group)
        near = [
            a for a in held
            if a.finite is not None and (a.finite >= threshold if direction == "maximize" else a.finite <= threshold)
        ]  # fmt: skip
        points = [(float(a.choices[first]), float(a.choices[second])) for a in near]
        spans = None
        if points:
            xs, ys = zip(*points, strict=True)
            spans = (min(xs), max(xs)), (min(ys), max(ys))
        found.append(Area(of=of, keys=(first, second), near=len(near), ended=len(held), spans=spans))
    return tuple(sorted(found, key=lambda a: -a.share))


def lines(arms: Sequence[ArmResult], direction: Directions) -> list[str]:
    """Report lines; empty where there is no such area."""
    found = areas(arms, direction)
    if not found or not isinstance(direction, str):
        return []
    threshold = near_best_threshold(arms, direction)
    assert threshold is not None
    side = "or more" if direction == "maximize" else "or less"
    return [
        f"robustness: within 10 % of the best ({format_number(threshold)} {side})",
        *(f"  {a.line()}" for a in found),
    ]


def _is_number(key: str, arms: Sequence[ArmResult]) -> bool:
    values = {a.choices[key] for a in arms if key in a.choices}
    try:
        return len({float(v) for v in values}) >= _MIN_VALUES and all(key in a.choices for a in arms)
    except ValueError:
        return False


def _others(arm: ArmResult, plane: Sequence[str]) -> str:
    return " ".join(f"{k}={v}" for k, v in arm.choices.items() if k not in plane)
