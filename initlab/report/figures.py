"""Figures of one run from its profile: loss, gradient, updates, dead and saturated units, distributions by layer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from initlab.report.charts import Band, Figure, Line, Panel, Scale, grid_panel, histogram_panel, lines_panel
from initlab.report.charts.figure import shorten
from initlab.report.charts.heat import evenly
from initlab.report.charts.lines import Dash, Mark
from initlab.report.note import SCORES
from initlab.spec import Baseline, Profile, ProfileRow

#: layers that a figure with a panel for each shows
PANELS = 12
#: layers whose names fit beside the profile over the layers
_NAMES = 24
_DASHES: tuple[Dash, ...] = ("", "dash", "dots")


@dataclass(frozen=True, kw_only=True)
class _Statistic:
    """How a statistic by layer over time is drawn: its words, its axis, and the range where healthy runs lie."""

    title: str
    label: str
    reading: str
    share: bool = False
    healthy: tuple[float, float] | None = None


_ABSENT = "0 (below 1e-38), or not measured"
#: file stem → statistic of the profile, and how it is drawn
_OVER_TIME: dict[str, tuple[str, _Statistic]] = {
    "gradient_norm": ("grad_norm", _Statistic(
        title="Gradient norm by layer over time",
        label="‖∂loss/∂W‖ (Frobenius norm)",
        reading="A column is a moment of training, a row a layer, the first one at the top. Colours that change little "
        "from top to bottom are healthy; much darker rows at the top mean that the gradient vanishes on its way down.",
    )),
    "update_ratio": ("update_ratio", _Statistic(
        title="Size of the updates by layer over time",
        label="‖ΔW‖ / ‖W‖ of one update",
        reading="About 10⁻³ is usual (green band: a decade to each side). Far below, a layer hardly learns; far above, "
        "each update overwrites what was learnt.",
        healthy=(1e-4, 1e-2),
    )),
    "saturated": ("saturated", _Statistic(
        title="Saturated units by layer over time",
        label="share of values on a flat part of the activation",
        reading="Where a unit is saturated its slope is below 5 % of the maximum, and hardly any gradient passes. "
        "Below one half (green band) is healthy.",
        share=True, healthy=(0.0, 0.5),
    )),
    "dead": ("dead", _Statistic(
        title="Dead units by layer over time",
        label="share of units that are 0 for every example",
        reading="A dead unit passes neither signal nor gradient. Up to 40 % (green band) is ordinary for ReLU.",
        share=True, healthy=(0.0, 0.4),
    )),
    "activation_std": ("act_std", _Statistic(
        title="Size of the activations by layer over time",
        label="standard deviation of φ(h)",
        reading="A signal that shrinks or grows by a constant factor a layer vanishes or explodes with depth.",
    )),
}  # fmt: skip


def figures(profile: Profile, sites: Sequence[str], *, baseline: Baseline | None = None) -> dict[str, Figure]:
    """File stem → figure for the statistics that the profile holds; figures without data are left out.

    Args:
        profile: of the run.
        sites: names of the parameters, in the order of the forward pass.
        baseline: loss of a network that knows nothing.
    """
    made: dict[str, Callable[[], Figure | None]] = {"loss_curves": lambda: loss_curves(profile, baseline=baseline)}
    for stem, (key, words) in _OVER_TIME.items():
        made[stem] = partial(over_time, profile, sites, key, words)
    made |= {
        "weight_histograms": lambda: histograms(profile, "weight", "weight"),
        "activation_histograms": lambda: histograms(profile, "activation", "activation φ(h)"),
        "activation_mixture": lambda: activation_readings(profile, ("blend_", "homotopy"), "share in the mixture"),
        "activation_parameters": lambda: activation_readings(profile, ("act_", "beta"), "learnt parameter"),
    }
    return {stem: figure for stem, make in made.items() if (figure := make()) is not None}


def loss_curves(profile: Profile, *, baseline: Baseline | None) -> Figure | None:
    """Loss and the most informative score over updates; a dotted line is the loss of an uninformed network."""
    curves = profile.curves
    if not curves:
        return None
    score = next((k for k in SCORES if k != "loss" and f"val/{k}" in curves), None)
    panels: list[Panel] = []
    parts: tuple[tuple[str, str, int, Mark], ...] = (("train", "training", 0, ""), ("val", "validation", 1, "dot"))
    for what, label in [("loss", "loss"), *([(score, SCORES[score])] if score else [])]:
        lines = [
            Line(label=words, points=points, colour=colour, mark=mark)
            for part, words, colour, mark in parts
            if (points := curves.get(f"{part}/{what}", ()))
        ]
        if not lines:
            continue
        values = [v for line in lines for _, v in line.points if math.isfinite(v)]
        bands = [Band(label=baseline.words, low=baseline.untrained, high=baseline.untrained)] if (
            what == "loss" and baseline is not None and math.isfinite(baseline.untrained)
        ) else []  # fmt: skip
        log = bool(values) and min(values) > 0 and max(values) / min(values) > 50
        y = Scale.of([*values, *(b.low for b in bands)], log=log)
        if what == "accuracy":
            y = Scale(0.0, 1.0)
        panels.append(lines_panel(lines, x_label="update", y_label=label, y=y, bands=bands))
    if not panels:
        return None
    reading = "The dotted line is the loss of guessing without the input. A curve that stays there shows no learning. "
    return Figure(
        "Loss and score",
        tuple(panels),
        (reading if baseline is not None else "")
        + "A validation loss that rises while the training loss falls is overfitting.",
    )


def over_time(profile: Profile, sites: Sequence[str], statistic: str, words: _Statistic) -> Figure | None:
    """Heat map of a statistic, layers by updates, and its profile over the layers at the first and last probe step."""
    rows = [r for r in profile.rows if r.statistic == statistic and r.site and r.position < 0]
    if not any(math.isfinite(r.value) and (r.value > 0 or words.share) for r in rows):
        return None
    if words.share and not any(r.value > 0 for r in rows):
        return None  # all zero: there is nothing to see
    steps = sorted({r.step for r in rows})
    order = {name: k for k, name in enumerate(sites)}
    layers = sorted({r.site for r in rows}, key=lambda s: order.get(s, 0))
    value = {(r.site, r.step): r.value for r in rows}
    grid = [[value.get((layer, step), math.nan) for step in steps] for layer in layers]
    names = short_names([layer_name(layer) for layer in layers])
    scale = Scale(0.0, 1.0) if words.share else Scale.of([v for line in grid for v in line], log=True, margin=0.0)
    heat = grid_panel(
        names, [f"{s:,}" for s in steps], grid, scale=scale, x_label="update", label=words.label,
        absent="not measured" if words.share else _ABSENT,
    )  # fmt: skip
    return Figure(words.title, (heat, _by_layer(names, steps, grid, words)), words.reading)


def _by_layer(names: Sequence[str], steps: Sequence[int], grid: Sequence[Sequence[float]], words: _Statistic) -> Panel:
    last = len(names) - 1
    shown: tuple[tuple[int, int, Mark], ...] = ((0, 0, "ring"), (len(steps) - 1, 1, "dot"))
    lines = [
        Line(
            label=f"update {steps[column]:,}", colour=colour, mark=mark,
            points=[(grid[i][column], last - i) for i in range(len(names))],
        )
        for column, colour, mark in shown
    ]  # fmt: skip
    lines = lines[:1] if len(steps) == 1 else lines
    values = [x for line in lines for x, _ in line.points]
    healthy = words.healthy
    x = Scale(-0.02, 1.02) if words.share else Scale.of([*values, *(healthy or ())], log=True)
    every = -(-len(names) // _NAMES)
    shown_names = [shorten(n, 18) if i % every == 0 else "" for i, n in enumerate(names)]
    return lines_panel(
        lines, x_label=words.label, y_label="", x=x, names=shown_names,
        bands=[Band(label="healthy", low=healthy[0], high=healthy[1], across="x")] if healthy else [],
        height=58 + max(110.0, min(300.0, 16.0 * len(names))),
    )  # fmt: skip


def histograms(profile: Profile, quantity: str, label: str) -> Figure | None:
    """One panel a layer: distribution at initialisation and at the end."""
    chosen = [h for h in profile.histograms if h.quantity == quantity]
    if not chosen:
        return None
    layers = sorted({(h.order, h.site) for h in chosen})
    shown = [layers[i] for i in evenly(len(layers), PANELS)]
    panels: list[Panel] = []
    for k, (_, site) in enumerate(shown):
        distributions = [
            (words, colour, h.low, h.high, h.counts)
            for moment, words, colour in (("init", "at initialisation", 0), ("end", "at the end", 1))
            for h in chosen
            if h.site == site and h.moment == moment
        ]
        panels.append(
            histogram_panel(
                layer_name(site), distributions, x_label=label, log=quantity == "activation", keys=k == 0
            )
        )  # fmt: skip
    more = f" {len(shown)} of {len(layers)} layers, evenly spread." if len(shown) < len(layers) else ""
    shares = (
        "Shares are on a logarithmic axis, since half of a ReLU layer is exactly 0. "
        if quantity == "activation"
        else ""
    )
    title = f"{'Weights' if quantity == 'weight' else 'Activations'} at initialisation and at the end"
    reading = (
        f"Share of the values in each of the equal bins, by layer. {shares}"
        "Where the distribution does not change, the layer has not learnt."
    )
    return Figure(title, tuple(panels), reading + more)


def activation_readings(profile: Profile, prefixes: tuple[str, ...], label: str) -> Figure | None:
    """Parameters of learnable and mixed activations over the updates: a line each, a panel a layer (at most 12)."""
    chosen = [r for r in profile.rows if r.site and _is_reading(r.statistic, prefixes)]
    if not chosen:
        return None
    layers = sorted({(r.order, r.site) for r in chosen})
    # the first, the last, and an even spread between them
    layers = [layers[i] for i in evenly(len(layers), PANELS)]
    shown = [r for r in chosen if (r.order, r.site) in layers]
    statistics = list(dict.fromkeys(r.statistic for r in shown))
    y = Scale.of([r.value for r in shown])  # one range for all panels, so that layers can be compared
    panels = [
        lines_panel(
            _reading_lines(shown, site, statistics, keys=k == 0),
            x_label=f"update, {layer_name(site)}",
            y_label=label,
            y=y,
        )
        for k, (_, site) in enumerate(layers)
    ]
    reading = "One panel a layer, on the same scale. Lines that stay level were not learnt."
    return Figure(f"Activations by layer over time: {label}", tuple(panels), reading)


def _reading_lines(rows: Sequence[ProfileRow], site: str, statistics: Sequence[str], *, keys: bool) -> list[Line]:
    found: list[Line] = []
    for i, statistic in enumerate(statistics):
        points = [(float(r.step), r.value) for r in rows if r.site == site and r.statistic == statistic]
        if points:
            words = statistic.removeprefix("blend_").removeprefix("act_")
            dash = _DASHES[i // 8 % 3]
            found.append(Line(label=words if keys else "", points=points, colour=i % 8, dash=dash))
    return found


def layer_name(site: str) -> str:
    """A layer's name in a figure: that of its weight, without the word weight."""
    return site.removesuffix(".weight") or "input"


def short_names(names: Sequence[str]) -> list[str]:
    """Dotted names without the parts that all of them begin with."""
    parts = [n.split(".") for n in names]
    least = min((len(p) for p in parts), default=1)
    same = next((k for k in range(least - 1) if len({p[k] for p in parts}) > 1), least - 1) if len(parts) > 1 else 0
    return [".".join(p[same:]) for p in parts]


def _is_reading(statistic: str, prefixes: tuple[str, ...]) -> bool:
    # act_mean, act_std and act_grad_norm are of the signal, not of the activation's parameters
    return statistic.startswith(prefixes) and statistic not in ("act_mean", "act_std", "act_grad_norm")
