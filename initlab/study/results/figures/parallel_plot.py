"""Parallel coordinates plot: one line an arm, one axis a key."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from initlab.report.drawing import axes_grid
from initlab.study.results.figures.choices import as_numbers, objective_of, options_of
from initlab.study.results.figures.labels import metric_label, short
from initlab.study.results.figures.scales import colour_scale, palette_of, round_values
from initlab.study.search.arms import ArmResult
from initlab.study.space.objectives import Direction

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: position at which an arm passes the axis of a key that it does not have, in axes from 0 to 1
_BELOW = -0.12


def parallel(
    arms: Sequence[ArmResult],
    keys: Sequence[str],
    *,
    metric: str,
    direction: Direction = "maximize",
    name: str = "study",
) -> Figure | None:
    """One line an arm across one axis a key, to its objective on the last axis; the best arm in black.

    Numbers that span more than two decades lie on a logarithmic axis. An arm without a key passes below the axis
    of that key. None where no key varies or fewer than two arms are complete.
    """
    import matplotlib as mpl
    import numpy as np
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LogNorm

    done = [a for a in arms if objective_of(a) is not None]
    if not keys or len(done) < 2:
        return None
    values = [v for a in done if (v := objective_of(a)) is not None]
    sign = 1 if direction == "maximize" else -1
    # the best is drawn last, over the others
    order = sorted(range(len(done)), key=lambda i: (sign * values[i], -done[i].trial))
    done, values = [done[i] for i in order], [values[i] for i in order]
    scale, extend = colour_scale(values, direction)
    clipped = np.clip(values, scale.vmin, scale.vmax)
    heights = [float(scale(v)) for v in clipped]
    figure, (axis,) = axes_grid(1, 1, width=min(18.0, max(5.6, 3.0 + 1.5 * len(keys))), height=4.4)
    axis.set_facecolor("#c8c8c8")  # the brightest lines, which are the best, must be seen
    places: list[list[float]] = []
    for i, key in enumerate(keys):
        options = options_of(a.choices[key] for a in sorted(done, key=lambda a: a.trial) if key in a.choices)
        at, ticks = _axis(options, [a.choices.get(key) for a in done], heights)
        places.append(at)
        axis.axvline(i, color="black", linewidth=0.8, zorder=1)
        for y, text in ticks:
            axis.annotate(
                short(text, 16), (i, y), xytext=(-4, -7 if y == _BELOW else 0), textcoords="offset points",
                ha="right", va="center", fontsize=7, zorder=4,
                bbox={"boxstyle": "round,pad=0.12", "fc": "white", "ec": "none", "alpha": 0.75},
            )  # fmt: skip
    axis.axvline(len(keys), color="black", linewidth=0.8, zorder=1)
    palette = palette_of(direction)
    colours = mpl.colormaps[palette]
    x = np.linspace(0, len(keys), 24 * len(keys) + 1)
    for n, height in enumerate(heights):
        points = [*(p[n] for p in places), height]
        best = n == len(done) - 1
        axis.plot(
            x, _curve(x, points), color="black" if best else colours(height), linewidth=2.2 if best else 1.1,
            alpha=1.0 if best else 0.75, zorder=3 if best else 2,
        )  # fmt: skip
    for value in round_values(scale.vmin, scale.vmax, logarithmic=isinstance(scale, LogNorm)):
        axis.annotate(
            f"{value:.3g}", (len(keys), float(scale(value))), xytext=(4, 0), textcoords="offset points",
            ha="left", va="center", fontsize=7,
        )  # fmt: skip
    axis.set_xlim(-0.75, len(keys) + 0.3)
    axis.set_ylim(-0.2, 1.05)
    axis.set_yticks([])
    axis.set_xticks(range(len(keys) + 1), [*(short(k, 20) for k in keys), "objective"], fontsize=8)
    axis.tick_params(length=0)
    for side in axis.spines.values():
        side.set_visible(False)
    axis.set_xlabel("swept key", fontsize=8)
    mesh = ScalarMappable(norm=scale, cmap=palette)
    figure.colorbar(mesh, ax=axis, label=metric_label(metric), pad=0.01, extend=extend)
    figure.suptitle(f"{short(name)}: {len(done)} complete arms, the best in black", fontsize=10)
    return figure


# ------------------------------------------------------------------ pieces
def _axis(
    options: Sequence[str], values: Sequence[str | None], heights: Sequence[float]
) -> tuple[list[float], list[tuple[float, str]]]:
    """Positions from 0 to 1 at which the arms cross a key's axis, and its ticks; below the axis without the key."""
    numbers = as_numbers(options)
    missing = [(_BELOW, "unset")] if None in values else []
    if numbers is not None and len(numbers) > 6:
        low, high = min(numbers), max(numbers)
        logarithmic = low > 0 and high / low > 100

        def place(number: float) -> float:
            a, b, x = (math.log(v) if logarithmic else v for v in (low, high, number))
            return (x - a) / (b - a)

        at = [_BELOW if v is None else place(float(v)) for v in values]
        return at, [*missing, *((place(t), f"{t:.3g}") for t in round_values(low, high, logarithmic=logarithmic))]
    # numbers grow upwards; the first of names is the uppermost, as in the heat map
    upwards = options if numbers is not None else options[::-1]
    spot = {v: i / (len(upwards) - 1) if len(upwards) > 1 else 0.5 for i, v in enumerate(upwards)}
    # arms with the same choice are spread a little, by their objective, so that they can be distinguished
    apart = min(0.07, 0.25 / len(upwards)) if upwards else 0.0
    at = [_BELOW if v is None else spot[v] + apart * (h - 0.5) for v, h in zip(values, heights, strict=True)]
    every = -(-len(upwards) // 30)
    return at, [*missing, *((spot[v], v) for v in upwards[:: max(every, 1)])]


def _curve(x: Any, points: Sequence[float]) -> Any:
    """A curve through the points at 0, 1, 2, ..., horizontal at each, so that a line stays visible across an axis."""
    import numpy as np

    y = np.asarray(points)
    left = np.minimum(x.astype(int), len(points) - 2)
    t = x - left
    ease = t * t * (3 - 2 * t)
    return y[left] * (1 - ease) + y[left + 1] * ease
