"""Learning curves of arms: area under the curve, steps to a target, mean curve with standard error."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from initlab.compare.arms import Arm
    from initlab.compare.metric import Metric
    from initlab.tracking import Curve

    Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Learning:
    """Summary of the learning curves of an arm.

    Attributes:
        area: mean over seeds of the mean of the curve over updates (trapezoids), to the last step that all arms have.
        steps_to_target: median over seeds of the first step at or beyond the target, interpolated linearly
            between readings; infinite where half of the seeds never reach it.
        reached: number of seeds that reach it.
        of: number of seeds with a curve.
    """

    area: float
    steps_to_target: float
    reached: int
    of: int


@dataclass(frozen=True, kw_only=True)
class Band:
    """The curve of an arm: steps, mean over seeds, and one standard error to either side."""

    steps: Floats
    mean: Floats
    error: Floats


def last_step(arms: Sequence[Arm], curves: Mapping[str, Curve]) -> tuple[int, int]:
    """Last step of the shortest and of the longest finished run; (0, 0) without curves."""
    ends = [c[-1][0] for a in arms for s in a.values if s not in a.imputed and (c := curves.get(a.runs[s].run_id))]
    return (min(ends), max(ends)) if ends else (0, 0)


def learning(arm: Arm, by: Metric, curves: Mapping[str, Curve], *, target: float, until: int) -> Learning | None:
    """Summarise the curves of an arm; None without any. A diverged run never reaches the target."""
    own = [(s, c) for s in arm.values if (c := curves.get(arm.runs[s].run_id)) and len(c) > 1]
    if not own:
        return None
    areas = [_area(c, until) for s, c in own if s not in arm.imputed]
    times = [math.inf if s in arm.imputed else first_step_at(c, by.sign, target) for s, c in own]
    return Learning(
        area=float(np.mean(areas)) if areas and all(map(math.isfinite, areas)) else math.nan,
        steps_to_target=float(np.median(times)),
        reached=sum(map(math.isfinite, times)),
        of=len(own),
    )


def first_step_at(curve: Curve, sign: float, target: float) -> float:
    """First step at which the curve reaches the target, linear between readings; infinite for never."""
    before: tuple[int, float] | None = None
    for step, value in curve:
        if sign * value >= sign * target:
            if before is None or value == before[1]:
                return float(step)
            return before[0] + (step - before[0]) * (target - before[1]) / (value - before[1])
        before = (step, value)
    return math.inf


def _area(curve: Curve, until: int) -> float:
    steps = np.array([s for s, _ in curve], float)
    values = np.array([v for _, v in curve], float)
    if until <= steps[0] or steps[-1] < until:
        return math.nan
    inside = steps < until
    x = np.append(steps[inside], until)
    y = np.append(values[inside], np.interp(until, steps, values))
    return float(np.trapezoid(y, x) / (until - steps[0]))


def band(arm: Arm, curves: Mapping[str, Curve]) -> Band | None:
    """Mean curve over seeds, at the steps at which all seeds have a value; None without curves."""
    own = [dict(c) for s in arm.values if s not in arm.imputed and (c := curves.get(arm.runs[s].run_id))]
    if not own:
        return None
    steps = sorted(set[int].intersection(*(set(c) for c in own)))
    if len(steps) < 2:
        return None
    table = np.array([[c[s] for s in steps] for c in own])
    error = table.std(axis=0, ddof=1) / math.sqrt(len(own)) if len(own) > 1 else np.zeros(len(steps))
    return Band(steps=np.array(steps, float), mean=table.mean(axis=0), error=error)
