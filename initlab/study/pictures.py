"""Figures of a study. Palettes that any eye can read; every axis says what it is."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from initlab.report.drawing import COLOURS, GREY, axes_grid
from initlab.report.note import SCORES
from initlab.study.board import ArmResult, plain, varying
from initlab.study.importance import importances, searched
from initlab.study.objectives import Direction, Directions, Metrics, each, fronts

if TYPE_CHECKING:
    import optuna
    from matplotlib.figure import Figure

#: numeric values that a key may take and still be read as a choice, in a heat map
_CHOICES = 12

#: lines and columns of a heat map that still carry their numbers
_ANNOTATED = 16

#: arms of a front that carry their number
_NUMBERED = 25

_NOTHING = "#d9d9d9"

#: where an arm passes an axis that has no meaning for it, in axes from 0 to 1
_BELOW = -0.12


def pictures(
    arms: Sequence[ArmResult],
    study: optuna.Study | None,
    *,
    metric: Metrics,
    direction: Directions,
    name: str = "study",
) -> dict[str, Figure]:
    """File stem → figure, for what the study holds; a figure without data is left out.

    With several objectives the front is drawn as well, and what is of one objective once for each: those after the
    first are numbered, ``heat_map_2``.

    Args:
        arms: of the study, in any state.
        study: Optuna's record of it, for the importance; None where there is none.
        metric: key of the objective, or of each.
        direction: of the objective, or of each.
        name: of the study, for the titles.
    """
    keys, metrics, ways = varying(arms), each(metric), _ways(direction)
    made: dict[str, Figure | None] = {}
    if len(metrics) > 1:
        made["pareto"] = pareto(arms, metrics=metrics, directions=ways, name=name)
    drawn: dict[str, Callable[[Sequence[ArmResult], str, Direction], Figure | None]] = {
        "heat_map": lambda a, m, d: heat_map(a, metric=m, direction=d, name=name),
        "history": lambda a, m, d: history(a, metric=m, direction=d, name=name),
        "parallel": lambda a, m, d: parallel(a, keys, metric=m, direction=d, name=name),
    }
    for k, (key, way) in enumerate(zip(metrics, ways, strict=True)):
        alone = [a.judged_by(k) for a in arms]
        for stem, make in drawn.items():
            made[stem if k == 0 else f"{stem}_{k + 1}"] = make(alone, key, way)
    made["importance"] = importance(searched(arms, study, direction), name=name)
    return {stem: figure for stem, figure in sorted(made.items()) if figure is not None}


def _ways(direction: Directions) -> tuple[Direction, ...]:
    return direction if isinstance(direction, tuple) else (direction,)


def pareto(
    arms: Sequence[ArmResult], *, metrics: Sequence[str], directions: Sequence[Direction], name: str = "study"
) -> Figure | None:
    """The first objective against each other one, an arm a mark; those on the front filled and numbered by trial.

    With two objectives a staircase bounds what the front dominates. None where no arm has come to all objectives.
    """
    done = sorted((a for a in arms if _objective(a) is not None and a.values), key=lambda a: a.trial)
    if not done or len(metrics) < 2:
        return None
    rank = fronts([a.values for a in done], directions)
    best = [a for a, r in zip(done, rank, strict=True) if r == 1]
    rest = [a for a, r in zip(done, rank, strict=True) if r > 1]
    others = range(1, len(metrics))
    figure, axes = axes_grid(1, len(others), width=min(18.0, 1.6 + 4.6 * len(others)), height=4.6)
    for axis, k in zip(axes, others, strict=True):
        if rest:
            axis.plot(
                [a.values[k] for a in rest], [a.values[0] for a in rest], "o", color=GREY, markersize=5,
                markerfacecolor="none", label="another is as good in all, or better",
            )  # fmt: skip
        stairs = sorted((a.values[k], a.values[0]) for a in best)
        if len(metrics) == 2 and len(best) > 1:
            # an arm is at least as good up to the next one's cost: the step lies where the cost is the worse
            where = "post" if directions[1] == "minimize" else "pre"
            axis.step(*zip(*stairs, strict=True), where=where, color=COLOURS[0], linewidth=1.0, alpha=0.6)
        axis.plot(
            [a.values[k] for a in best], [a.values[0] for a in best], "o", color=COLOURS[0], markersize=7,
            label="on the front, with trial number",
        )  # fmt: skip
        for arm in best[:_NUMBERED]:
            axis.annotate(
                str(arm.trial), (arm.values[k], arm.values[0]), xytext=(5, 5), textcoords="offset points", fontsize=8
            )
        for which, scale in ((k, axis.set_xscale), (0, axis.set_yscale)):
            values = [a.values[which] for a in done]
            if _logarithmic(min(values), max(values), directions[which]):
                scale("log")
        axis.margins(0.08)
        axis.set_xlabel(f"{metric_label(metrics[k])}, {_better(directions[k])} is better")
        axis.set_ylabel(f"{metric_label(metrics[0])}, {_better(directions[0])} is better")
        axis.grid(alpha=0.25)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    figure.suptitle(f"{_short(name)}: {len(best)} of {len(done)} arms on the front", fontsize=10)
    return figure


def _better(direction: Direction) -> str:
    return "more" if direction == "maximize" else "less"


def heat_map(
    arms: Sequence[ArmResult],
    rows_key: str | None = None,
    columns_key: str | None = None,
    *,
    metric: str,
    direction: Direction = "maximize",
    name: str = "study",
) -> Figure | None:
    """Mean objective of the complete arms by two keys, one down and one across; grey where there is none.

    Without keys these are init and activation where both are swept, else the two keys with the most options. None where
    fewer than two keys are swept, or no arm has an objective.
    """
    import numpy as np

    keys = heat_map_keys(arms) if rows_key is None or columns_key is None else (rows_key, columns_key)
    if keys is None:
        return None
    down, across = keys
    placed = sorted((a for a in arms if down in a.choices and across in a.choices), key=lambda a: a.trial)
    cells: dict[tuple[str, str], list[ArmResult]] = {}
    for arm in placed:
        cells.setdefault((arm.choices[down], arm.choices[across]), []).append(arm)
    lines, columns = (_options(a.choices[k] for a in placed) for k in keys)
    grid = np.full((len(lines), len(columns)), np.nan)
    counted = np.zeros(grid.shape, dtype=int)
    for (line, column), held in cells.items():
        values = [v for a in held if (v := _objective(a)) is not None]
        if values:
            at = lines.index(line), columns.index(column)
            grid[at], counted[at] = fmean(values), len(values)
    known = grid[np.isfinite(grid)]
    if not known.size:
        return None
    scale, extend = _colour_scale([float(v) for v in known], direction)
    figure, (axis,) = axes_grid(
        1, 1, width=min(16.0, 3.2 + 0.85 * len(columns)), height=min(12.0, max(3.6, 1.7 + 0.42 * len(lines)))
    )
    axis.set_facecolor(_NOTHING)
    mesh = axis.pcolormesh(
        np.arange(len(columns) + 1), np.arange(len(lines) + 1), np.ma.masked_invalid(grid), cmap=_palette(direction),
        norm=scale, edgecolors="white", linewidth=0.8,
    )  # fmt: skip
    if max(len(lines), len(columns)) <= _ANNOTATED:
        for i, line in enumerate(lines):
            for j, column in enumerate(columns):
                dark = math.isfinite(grid[i, j]) and _luminance(mesh.cmap(mesh.norm(grid[i, j]))) < 0.4
                text = _inscription(float(grid[i, j]), int(counted[i, j]), cells.get((line, column), ()))
                colour = "white" if dark else "black"
                axis.text(j + 0.5, i + 0.5, text, ha="center", va="center", fontsize=7.5, color=colour)
    _labels(axis.xaxis, columns)
    _labels(axis.yaxis, lines)
    if sum(len(c) for c in columns) > 9 * len(columns) or max(len(c) for c in columns) > 12:
        axis.tick_params(axis="x", labelrotation=40)
        for label in axis.get_xticklabels():
            label.set_horizontalalignment("right")
            label.set_rotation_mode("anchor")
    axis.tick_params(length=0)
    axis.invert_yaxis()
    axis.set_xlabel(_short(across))
    axis.set_ylabel(_short(down))
    figure.colorbar(mesh, ax=axis, label=f"mean {metric_label(metric)}", pad=0.02, extend=extend)
    figure.suptitle(_short(name), fontsize=10)
    return figure


def heat_map_keys(arms: Sequence[ArmResult]) -> tuple[str, str] | None:
    """The two keys of the heat map where none are named; None where fewer than two are choices among a few values."""
    options = {key: _options(a.choices[key] for a in arms if key in a.choices) for key in varying(arms)}
    few = [k for k, values in options.items() if len(values) <= _CHOICES or _numbers(values) is None]
    if "init" in few and "activation" in few:
        return "init", "activation"
    # the sort keeps the order of the keys among equals
    first = sorted(few, key=lambda k: -len(options[k]))[:2]
    return (first[0], first[1]) if len(first) == 2 else None


def history(arms: Sequence[ArmResult], *, metric: str, direction: Direction, name: str = "study") -> Figure | None:
    """Objective of each arm by trial number with the best so far; arms that were pruned or failed at the lower edge.

    A bar through a dot reaches from the worst to the best seed. None where no arm has ended.
    """
    done = sorted((a for a in arms if _objective(a) is not None), key=lambda a: a.trial)
    lost = {s: sorted(a.trial for a in arms if a.state == s) for s in ("pruned", "failed")}
    if not done and not any(lost.values()):
        return None
    figure, (axis,) = axes_grid(1, 1, width=7.5, height=3.8)
    trials, values = [a.trial for a in done], [v for a in done if (v := _objective(a)) is not None]
    if done:
        best = [values[0]]
        for value in values[1:]:
            best.append(max(best[-1], value) if direction == "maximize" else min(best[-1], value))
        last = max(a.trial for a in arms)
        axis.step(
            [*trials, last], [*best, best[-1]], where="post", color=COLOURS[1], linewidth=1.6, label="best so far"
        )
        spread = [(a.trial, a.by_seed().values()) for a in done if len(a.by_seed()) > 1]
        if spread:
            axis.vlines(
                [t for t, _ in spread], [min(v) for _, v in spread], [max(v) for _, v in spread],
                color=COLOURS[0], linewidth=1.0, alpha=0.45, label="range over seeds",
            )  # fmt: skip
        axis.plot(trials, values, "o", color=COLOURS[0], markersize=4, label="complete")
        low, high = _limits(values)
        if _logarithmic(low, high, direction):
            axis.set_yscale("log")
        axis.margins(y=0.1)  # room for the marks at the lower edge
        far = [(t, v) for t, v in zip(trials, values, strict=True) if not low <= v <= high]
        if far:
            _frame(axis, low, high)
            for mark, y, where in (
                ("^", 0.975, [t for t, v in far if v > high]),
                ("v", 0.09, [t for t, v in far if v < low]),
            ):
                if where:
                    axis.plot(
                        where, [y] * len(where), mark, color=COLOURS[0], markersize=6, markerfacecolor="none",
                        transform=axis.get_xaxis_transform(), label="far above" if mark == "^" else "far below",
                    )  # fmt: skip
    else:
        axis.set_yticks([])
    edge = axis.get_xaxis_transform()  # x in trials, y from 0 to 1 over the height
    for (state, where), mark, colour in zip(lost.items(), ("x", "v"), (COLOURS[4], COLOURS[7]), strict=True):
        if where:
            axis.plot(where, [0.025] * len(where), mark, color=colour, markersize=5, transform=edge, label=state)
    axis.set_xlabel("trial number")
    axis.set_ylabel(metric_label(metric))
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.grid(alpha=0.25)
    figure.legend(*axis.get_legend_handles_labels(), loc="outside right upper", frameon=False, fontsize=8)
    figure.suptitle(f"{_short(name)}: optimisation history", fontsize=10)
    return figure


def importance(study: optuna.Study, *, name: str = "study") -> Figure | None:
    """Share of each parameter in reaching the top quantile of the trials, by PED-ANOVA.

    None where it cannot be computed: fewer than four complete trials, fewer than two parameters, or none that tells
    the top from the rest. Source: Watanabe, Bansal & Hutter, IJCAI 2023.
    """
    found = importances(study)
    if found is None:
        return None
    shares, quantile, count = found
    names = list(shares)[::-1]
    figure, (axis,) = axes_grid(1, 1, width=6.5, height=min(12.0, 1.5 + 0.36 * len(names)))
    axis.barh(range(len(names)), [shares[n] for n in names], color=COLOURS[0], height=0.65)
    for i, key in enumerate(names):
        axis.text(shares[key] + 0.01, i, f"{shares[key]:.0%}", va="center", fontsize=8)
    axis.set_yticks(range(len(names)), [_short(n) for n in names], fontsize=8)
    axis.set_xlim(0, min(1.12, max(shares.values()) * 1.15 + 0.03))
    axis.set_xlabel("share of the importance (PED-ANOVA; all sum to 1)")
    axis.set_ylabel("parameter")
    axis.grid(axis="x", alpha=0.25)
    axis.set_axisbelow(True)
    figure.suptitle(f"{_short(name)}: what it took to be in the top {quantile:.0%} of {count} trials", fontsize=10)
    return figure


def parallel(
    arms: Sequence[ArmResult],
    keys: Sequence[str],
    *,
    metric: str,
    direction: Direction = "maximize",
    name: str = "study",
) -> Figure | None:
    """A line an arm through an axis a key, to its objective on the last axis; the best arm in black.

    Numbers that span more than two decades lie on a logarithmic axis. An arm for which a key has no meaning passes
    below that key's axis. None where no key varies or fewer than two arms are complete.
    """
    import matplotlib as mpl
    import numpy as np
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LogNorm

    done = [a for a in arms if _objective(a) is not None]
    if not keys or len(done) < 2:
        return None
    values = [v for a in done if (v := _objective(a)) is not None]
    sign = 1 if direction == "maximize" else -1
    # the best is drawn last, over the others
    order = sorted(range(len(done)), key=lambda i: (sign * values[i], -done[i].trial))
    done, values = [done[i] for i in order], [values[i] for i in order]
    scale, extend = _colour_scale(values, direction)
    clipped = np.clip(values, scale.vmin, scale.vmax)
    heights = [float(scale(v)) for v in clipped]
    figure, (axis,) = axes_grid(1, 1, width=min(18.0, max(5.6, 3.0 + 1.5 * len(keys))), height=4.4)
    places: list[list[float]] = []
    for i, key in enumerate(keys):
        options = _options(a.choices[key] for a in sorted(done, key=lambda a: a.trial) if key in a.choices)
        at, ticks = _axis(options, [a.choices.get(key) for a in done], heights)
        places.append(at)
        axis.axvline(i, color="black", linewidth=0.8, zorder=1)
        for y, text in ticks:
            axis.annotate(
                _short(text, 16), (i, y), xytext=(-4, -7 if y == _BELOW else 0), textcoords="offset points",
                ha="right", va="center", fontsize=7, zorder=4,
                bbox={"boxstyle": "round,pad=0.12", "fc": "white", "ec": "none", "alpha": 0.75},
            )  # fmt: skip
    axis.axvline(len(keys), color="black", linewidth=0.8, zorder=1)
    palette = _palette(direction)
    colours = mpl.colormaps[palette]
    x = np.linspace(0, len(keys), 24 * len(keys) + 1)
    for n, height in enumerate(heights):
        points = [*(p[n] for p in places), height]
        best = n == len(done) - 1
        axis.plot(
            x, _curve(x, points), color="black" if best else colours(height), linewidth=2.2 if best else 1.1,
            alpha=1.0 if best else 0.75, zorder=3 if best else 2,
        )  # fmt: skip
    for value in _ticks(scale.vmin, scale.vmax, logarithmic=isinstance(scale, LogNorm)):
        axis.annotate(
            f"{value:.3g}", (len(keys), float(scale(value))), xytext=(4, 0), textcoords="offset points",
            ha="left", va="center", fontsize=7,
        )  # fmt: skip
    axis.set_xlim(-0.75, len(keys) + 0.3)
    axis.set_ylim(-0.2, 1.05)
    axis.set_yticks([])
    axis.set_xticks(range(len(keys) + 1), [*(_short(k, 20) for k in keys), "objective"], fontsize=8)
    axis.tick_params(length=0)
    for side in axis.spines.values():
        side.set_visible(False)
    axis.set_xlabel("swept key", fontsize=8)
    mesh = ScalarMappable(norm=scale, cmap=palette)
    figure.colorbar(mesh, ax=axis, label=metric_label(metric), pad=0.01, extend=extend)
    figure.suptitle(f"{_short(name)}: {len(done)} complete arms, the best in black", fontsize=10)
    return figure


def metric_label(metric: str) -> str:
    """A metric's key in words, with its unit: ``val/accuracy`` is the validation accuracy, a share."""
    part, _, score = metric.partition("/")
    words = {"train": "training", "val": "validation", "test": "test"}.get(part)
    if words is None or score not in SCORES:
        return _short(metric, 24)
    # the unit of a loss is the task's: nats for classes and tokens, else the target's, squared
    return f"{words} {SCORES[score]}{' (share of 1)' if score == 'accuracy' else ''}"


# ------------------------------------------------------------------ pieces
def _objective(arm: ArmResult) -> float | None:
    return arm.finite if arm.state == "complete" else None


def _numbers(values: Sequence[str]) -> list[float] | None:
    """The values as finite numbers; None where one of them is not."""
    try:
        found = [float(v) for v in values]
    except ValueError:
        return None
    return found if all(map(math.isfinite, found)) else None


def _options(values: Any) -> list[str]:
    """Each value once: numbers by size, names as they first appear."""
    options = list(dict.fromkeys(values))
    found = _numbers(options)
    return [v for _, v in sorted(zip(found, options, strict=True))] if found else options


def _limits(values: Sequence[float]) -> tuple[float, float]:
    """The range without what lies far beyond the bulk, so that one wild arm does not make all others look alike."""
    import numpy as np

    first, third = (float(q) for q in np.quantile(values, (0.25, 0.75)))
    reach = 6 * (third - first)
    if len(values) < 5 or reach == 0:
        return min(values), max(values)
    kept = [v for v in values if first - reach <= v <= third + reach]
    return min(kept), max(kept)


def _logarithmic(low: float, high: float, direction: Direction) -> bool:
    # what is minimised (a loss, a perplexity) may span decades; an accuracy is read on its own scale
    return direction == "minimize" and low > 0 and high / low > 50


def _colour_scale(values: Sequence[float], direction: Direction) -> tuple[Any, str]:
    """Matplotlib's norm for the values, and at which end of the colour bar there is more."""
    from matplotlib.colors import LogNorm, Normalize

    low, high = _limits(values)
    below, above = min(values) < low, max(values) > high
    extend = "both" if below and above else "min" if below else "max" if above else "neither"
    if _logarithmic(low, high, direction):
        return LogNorm(low, high), extend
    if low == high:
        # one value: a range around it, or every colour would be that of the worst
        low, high = low - (abs(low) or 1.0) * 0.01, high + (abs(high) or 1.0) * 0.01
    return Normalize(low, high), extend


def _frame(axis: Any, low: float, high: float) -> None:
    """Let the axis reach from `low` to `high` and a tenth beyond."""
    if axis.get_yscale() == "log":
        margin = (high / low) ** 0.1
        axis.set_ylim(low / margin, high * margin)
    else:
        margin = 0.1 * (high - low)
        axis.set_ylim(low - margin, high + margin)


def _palette(direction: Direction) -> str:
    """Dark is good in either direction: thin lines of the best must be seen on white."""
    return "viridis_r" if direction == "maximize" else "viridis"


def _luminance(colour: Sequence[float]) -> float:
    r, g, b = colour[:3]
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def _inscription(value: float, counted: int, held: Sequence[ArmResult]) -> str:
    """What a cell says: its mean and of how many arms, or what became of the arms that were there."""
    if not math.isfinite(value):
        return "\n".join(dict.fromkeys("no number" if a.state == "complete" else a.state for a in held))
    text = f"{value:.3f}" if 1e-2 <= abs(value) < 1e3 or value == 0 else f"{value:.1e}"
    return f"{text}\n(n={counted})" if len(held) > 1 else text


def _labels(axis: Any, names: Sequence[str]) -> None:
    # of very many, every so-manieth: labels that overlap say nothing
    every = -(-len(names) // 40)
    where = range(0, len(names), every)
    axis.set_ticks([i + 0.5 for i in where], [_short(names[i]) for i in where], fontsize=8)


def _axis(
    options: Sequence[str], values: Sequence[str | None], heights: Sequence[float]
) -> tuple[list[float], list[tuple[float, str]]]:
    """Where each arm crosses a key's axis, from 0 to 1, and the axis's ticks. Below it where the key has no meaning."""
    numbers = _numbers(options)
    missing = [(_BELOW, "unset")] if None in values else []
    if numbers is not None and len(numbers) > 6:
        low, high = min(numbers), max(numbers)
        logarithmic = low > 0 and high / low > 100

        def place(number: float) -> float:
            a, b, x = (math.log(v) if logarithmic else v for v in (low, high, number))
            return (x - a) / (b - a)

        at = [_BELOW if v is None else place(float(v)) for v in values]
        return at, [*missing, *((place(t), f"{t:.3g}") for t in _ticks(low, high, logarithmic=logarithmic))]
    # numbers grow upwards; the first of names is the uppermost, as in the heat map
    upwards = options if numbers is not None else options[::-1]
    spot = {v: i / (len(upwards) - 1) if len(upwards) > 1 else 0.5 for i, v in enumerate(upwards)}
    # arms with one choice in common are spread a little, by their objective, so that they can be told apart
    apart = min(0.07, 0.25 / len(upwards)) if upwards else 0.0
    at = [_BELOW if v is None else spot[v] + apart * (h - 0.5) for v, h in zip(values, heights, strict=True)]
    every = -(-len(upwards) // 30)
    return at, [*missing, *((spot[v], v) for v in upwards[:: max(every, 1)])]


def _ticks(low: float, high: float, *, logarithmic: bool) -> list[float]:
    """Round numbers from `low` to `high`: powers of ten on a logarithmic axis."""
    from matplotlib.ticker import MaxNLocator

    if logarithmic and high / low >= 100:
        return [10.0**n for n in range(math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9) + 1)]
    return [float(t) for t in MaxNLocator(5).tick_values(low, high) if low <= t <= high]


def _curve(x: Any, points: Sequence[float]) -> Any:
    """Through the points at 0, 1, 2, ..., level at each of them, so that a line can be followed through an axis."""
    import numpy as np

    y = np.asarray(points)
    left = np.minimum(x.astype(int), len(points) - 2)
    t = x - left
    ease = t * t * (3 - 2 * t)
    return y[left] * (1 - ease) + y[left + 1] * ease


def _short(text: str, cells: int = 28) -> str:
    """At most so many characters, and none that matplotlib would read as mathematics."""
    text = plain(text)
    if len(text) > cells:
        text = f"{text[: cells // 2]}…{text[len(text) - (cells - 1) // 2 :]}"
    return text.replace("$", r"\$")
