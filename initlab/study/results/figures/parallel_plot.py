"""Parallel coordinates: one line an arm, one axis a key."""

from __future__ import annotations

import math
from collections.abc import Sequence

from initlab.report.charts import Figure, Scale, parallel_panel
from initlab.report.charts.parallel import BELOW
from initlab.report.charts.scale import to_text
from initlab.study.results.figures.choices import as_numbers, objective_of, options_of
from initlab.study.results.figures.labels import metric_label, short
from initlab.study.results.figures.scales import better, colour_scale
from initlab.study.search.arms import ArmResult
from initlab.study.space.objectives import Direction

#: places of the arms on an axis from 0 to 1, and its ticks
Axis = tuple[list[float], list[tuple[float, str]]]


def parallel(
    arms: Sequence[ArmResult], keys: Sequence[str], *, metric: str, direction: Direction = "maximize"
) -> Figure | None:
    """One line an arm across one axis a key, to its objective on the last axis; the best arm is the strongest line.

    Numbers that span more than two decades lie on a logarithmic axis. An arm without a key passes below the axis
    of that key. None where no key varies or fewer than two arms are complete.
    """
    done, scale, axes = coordinates(arms, keys, direction)
    if not keys or len(done) < 2:
        return None
    panel = parallel_panel(
        [*(short(k, 18) for k in keys), "objective"],
        [*(ticks for _, ticks in axes), [(scale.place(v), to_text(v)) for v in scale.ticks(5)]],
        [[*(at[n] for at, _ in axes), height] for n, height in enumerate(_heights(done, scale))],
        label=f"{metric_label(metric)}, {better(direction)} is better",
        better="more" if direction == "maximize" else "less",
    )
    words = f"One line an arm ({len(done)} complete), from its choices to its score; the best is the strongest line."
    return Figure("Parallel coordinates", (panel,), words)


def coordinates(
    arms: Sequence[ArmResult], keys: Sequence[str], direction: Direction
) -> tuple[list[ArmResult], Scale, list[Axis]]:
    """The complete arms, the best last; the scale of the objective; and the axis of each key."""
    sign = 1 if direction == "maximize" else -1
    done = sorted(
        (a for a in arms if objective_of(a) is not None), key=lambda a: (sign * (objective_of(a) or 0.0), -a.trial)
    )
    if not done:
        return [], Scale(0.0, 1.0), []
    scale = colour_scale([v for a in done if (v := objective_of(a)) is not None], direction)
    heights = _heights(done, scale)
    axes: list[Axis] = []
    for key in keys:
        options = options_of(a.choices[key] for a in sorted(done, key=lambda a: a.trial) if key in a.choices)
        axes.append(_axis(options, [a.choices.get(key) for a in done], heights))
    return done, scale, axes


def _heights(done: Sequence[ArmResult], scale: Scale) -> list[float]:
    return [min(1.0, max(0.0, scale.place(objective_of(a) or 0.0))) for a in done]


def _axis(options: Sequence[str], values: Sequence[str | None], heights: Sequence[float]) -> Axis:
    """Places from 0 to 1 at which the arms cross a key's axis, and its ticks; below the axis without the key."""
    numbers = as_numbers(options)
    missing = [(BELOW, "unset")] if None in values else []
    if numbers is not None and len(numbers) > 6:
        low, high = min(numbers), max(numbers)
        scale = Scale(low, high, low > 0 and high / low > 100)
        at = [BELOW if v is None else scale.place(float(v)) for v in values]
        return at, [*missing, *((scale.place(t), to_text(t)) for t in scale.ticks(5))]
    # numbers grow upwards; the first of names is the uppermost, as in the heat map
    upwards = options if numbers is not None else options[::-1]
    spot = {v: i / (len(upwards) - 1) if len(upwards) > 1 else 0.5 for i, v in enumerate(upwards)}
    # arms with the same choice are spread a little, by their objective, so that they can be distinguished
    apart = min(0.07, 0.25 / len(upwards)) if upwards else 0.0
    at = [BELOW if v is None else spot[v] + apart * (h - 0.5) for v, h in zip(values, heights, strict=True)]
    every = max(1, math.ceil(len(upwards) / 24))
    return at, [*missing, *((spot[v], short(v, 16)) for v in upwards[::every])]
