"""Slopes of activations' movement against a network's size, with intervals over seeds, and what they mean."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from initlab.scaling.activations import Kind
from initlab.scaling.movement import Movements
from initlab.statistics.student import Interval, interval

Verdict = Literal["pass", "undecided", "fail", "not judged"]
#: size of a slope up to which an activation moves alike at every size, and from which it does not
PASS, FAIL = 0.15, 0.3
#: embeddings move by the optimiser's step alone, whatever the width
PASS_EMBEDDING = 0.05
#: (lowest, highest) slope of attention's logits. Divided by d they fall as 1/√d while queries and keys are not aligned
#: yet, a slope of -0.5 with the tolerance of the others, and come to 0 in longer training
PASS_ATTENTION = (-0.5 - PASS, 0.1)
#: depths: a branch multiplier of 1/L leaves less movement in a few steps, which flattens with the depth
PASS_DEPTH = (-0.3, 0.15)


@dataclass(frozen=True, kw_only=True)
class ModuleSlope:
    """An activation's movement by size.

    Attributes:
        name, kind: of the activation.
        moved: mean over the seeds of mean|x(t) - x(0)|, by size.
        start: likewise of mean|x(0)|.
        slope: of log2 of the movement against log2 of the size, mean over the seeds, with its 95 % interval.
        start_slope: of the size at initialisation; NaN where it is zero.
        verdict: see `judge`.
        why: in words, where it is no plain pass.
    """

    name: str
    kind: Kind
    moved: tuple[float, ...]
    start: tuple[float, ...]
    slope: Interval
    start_slope: float
    verdict: Verdict
    why: str = ""


def slopes_of(movements: Movements, axis: Literal["width", "depth"]) -> tuple[ModuleSlope, ...]:
    """The slope of every activation, and its verdict; over the depth, of those at the same place of every network."""
    found: list[ModuleSlope] = []
    for name, kind in movements.kinds.items():
        if not _comparable(name, kind, axis):
            continue
        moved, start = movements.moved[name], movements.start[name]
        by_seed = [_slope(movements.sizes, [row[k] for row in moved]) for k in range(len(movements.seeds))]
        starts = [_slope(movements.sizes, [row[k] for row in start]) for k in range(len(movements.seeds))]
        known = [s for s in starts if math.isfinite(s)]
        start_slope = sum(known) / len(known) if known else math.nan
        means = tuple(sum(row) / len(row) for row in moved)
        slope = interval(by_seed) if all(map(math.isfinite, by_seed)) else _unknown(len(by_seed))
        verdict, why = judge(kind, slope, means, start_slope, axis)
        found.append(
            ModuleSlope(
                name=name, kind=kind, moved=means, start=tuple(sum(row) / len(row) for row in start), slope=slope,
                start_slope=start_slope, verdict=verdict, why=why,
            )
        )  # fmt: skip
    return tuple(found)


def judge(
    kind: Kind, slope: Interval, moved: Sequence[float], start_slope: float, axis: Literal["width", "depth"]
) -> tuple[Verdict, str]:
    """Verdict and reason.

    Pass: the slope lies within the bounds of its kind, and its interval does not reach a slope that fails. Fail: it is
    0.3 or more (or falls below the bounds by 0.15 or more), and its interval excludes the bounds. Between the two it is
    undecided. The output fails too where it grows with the size before training.
    """
    if any(math.isinf(m) or math.isnan(m) for m in moved):
        return "fail", "is not finite after training; a smaller optimizer.lr may still show a slope"
    if any(m == 0 for m in moved):
        return "not judged", "does not move in so few steps"
    if kind == "logits" and math.isfinite(start_slope) and start_slope >= FAIL:
        return "fail", f"grows with the {axis} before training (slope {start_slope:+.2f})"
    low, high = _bounds(kind, axis)
    fails_low = low - PASS if kind != "embedding" else -FAIL
    a, b = (slope.low, slope.high) if math.isfinite(slope.low) else (slope.mean, slope.mean)
    if low <= slope.mean <= high:
        if fails_low < a and b < FAIL:
            return "pass", ""
        return "undecided", f"the interval of its slope, {a:+.2f} to {b:+.2f}, is wide: take more seeds"
    if slope.mean >= FAIL and a > high:
        return "fail", f"moves more and more with the {axis}"
    if slope.mean <= fails_low and b < low:
        return "fail", f"moves less and less with the {axis}"
    return "undecided", f"moves {'more' if slope.mean > high else 'less'} with the {axis}, by little or not surely"


def _comparable(name: str, kind: Kind, axis: Literal["width", "depth"]) -> bool:
    """Over the depth a block counts by its share of the stack: the first is at another place in a deeper network."""
    place = name.rpartition("[")[2]
    if axis == "width":
        return place != "half]"
    return kind in ("embedding", "logits") or place in ("half]", "-1]")


def _bounds(kind: Kind, axis: Literal["width", "depth"]) -> tuple[float, float]:
    """Slopes that pass."""
    if axis == "depth":
        return PASS_DEPTH
    if kind == "attention logits":
        return PASS_ATTENTION
    return (-PASS_EMBEDDING, PASS_EMBEDDING) if kind == "embedding" else (-PASS, PASS)


def _slope(sizes: Sequence[int], values: Sequence[float]) -> float:
    """Slope by least squares of log2 of `values` against log2 of `sizes`; NaN where a value is not above 0."""
    if any(not math.isfinite(v) or v <= 0 for v in values):
        return math.nan
    x, y = [math.log2(s) for s in sizes], [math.log2(v) for v in values]
    mx, my = sum(x) / len(x), sum(y) / len(y)
    return sum((a - mx) * (b - my) for a, b in zip(x, y, strict=True)) / sum((a - mx) ** 2 for a in x)


def _unknown(draws: int) -> Interval:
    return Interval(mean=math.nan, low=math.nan, high=math.nan, draws=draws)
