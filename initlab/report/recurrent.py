"""Figures of recurrent layers over time: states, gradient by lag, spectral radius, gates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from initlab.report.charts import Band, Figure, Line, Panel, Scale, lines_panel
from initlab.report.charts.heat import evenly
from initlab.spec import Profile, ProfileRow

#: number of layers that are drawn, evenly spread over the network
_LAYERS = 4
#: statistic of states on flat parts -> its name on an axis
_FLAT = {
    "hidden_saturated": "share where the slope is < 5 %",
    "candidate_saturated": "share of candidates where the slope is < 5 %",
    "hidden_off": "share of units that are off",
    "candidate_off": "share of candidates that are off",
}
#: value that stands for zero on a logarithmic axis
_FLOOR = 1e-30


def recurrent_figures(profile: Profile) -> dict[str, Figure]:
    """`gradient_by_lag`, `hidden_states`, `recurrence`; empty for a network without recurrent layers."""
    rows = [r for r in profile.rows if r.statistic in ("hidden_rms", "lag_gradient", "spectral_radius") and r.site]
    sites = list(dict.fromkeys(r.site for r in rows))
    if not sites:
        return {}
    sites = [sites[i] for i in evenly(len(sites), _LAYERS)]
    made = {
        "gradient_by_lag": gradient_by_lag(profile.rows, sites),
        "hidden_states": hidden_states(profile.rows, sites),
        "recurrence": recurrence(profile.rows, sites),
    }
    return {stem: figure for stem, figure in made.items() if figure.panels}


def gradient_by_lag(rows: Sequence[ProfileRow], sites: Sequence[str]) -> Figure:
    """G(k)/G(0): share of the last state's gradient that arrives k steps back, before and after training."""
    lines = _first_and_last_step(rows, sites, "lag_gradient", floor=_FLOOR)
    reach = Band(label="e⁻³ = 0.05", low=math.exp(-3), high=math.exp(-3))
    panels = (
        lines_panel(
            lines, x_label="lag k (steps back in time)", y_label="gradient norm G(k) / G(0)", bands=[reach],
            y=Scale.of([*(v for line in lines for _, v in line.points), reach.low], log=True), height=230,
        ),
    ) if lines else ()  # fmt: skip
    reading = (
        "How much of the last state's gradient reaches k steps back. Steps where the line lies below the dotted one "
        "hardly take part in learning: the layer's memory ends there."
    )
    return Figure("Gradient by time lag", panels, reading)


def hidden_states(rows: Sequence[ProfileRow], sites: Sequence[str]) -> Figure:
    """Size and saturated share of the hidden state over the steps of a sequence."""
    flat = next((s for s in _FLAT if any(r.statistic == s for r in rows)), "hidden_off")
    panels: list[Panel] = []
    for statistic, label in (("hidden_rms", "root mean square of h"), (flat, _FLAT[flat])):
        lines = _first_and_last_step(rows, sites, statistic)
        values = [v for line in lines for _, v in line.points if 0 < v < math.inf]
        if not lines:
            continue
        log = statistic == "hidden_rms" and bool(values) and max(values) / min(values) > 50
        y = Scale.of(values, log=log, zero=True) if statistic == "hidden_rms" else Scale(0.0, 1.0)
        panels.append(lines_panel(lines, x_label="step of the sequence", y_label=label, y=y, height=210))
    reading = (
        "A state that dies out forgets its beginning;"
        " one that grows without end, or lies on flat parts, passes no gradient."
    )
    return Figure("Hidden states over the steps of a sequence", tuple(panels), reading)


def recurrence(rows: Sequence[ProfileRow], sites: Sequence[str]) -> Figure:
    """Spectral radius, reach of the gradient and, in gated layers, mean gates, over training."""
    panels: list[Panel] = []
    for statistic, label, bands in (
        ("spectral_radius", "spectral radius of W_hh", [Band(label="1", low=1.0, high=1.0)]),
        ("reach", "reach of the gradient (steps)", []),
    ):
        lines = [
            Line(label=site, points=points, colour=i, mark="dot")
            for i, site in enumerate(sites)
            if (points := _of(rows, site, statistic))
        ]
        if lines:
            y = Scale.of([v for line in lines for _, v in line.points] + [b.low for b in bands], zero=True)
            panels.append(lines_panel(lines, x_label="update", y_label=label, bands=bands, y=y))
    gates = list(dict.fromkeys(r.statistic for r in rows if r.statistic.startswith("gate_")))
    dashes: tuple[Literal["", "dash", "dots"], ...] = ("", "dash", "dots")
    open_ = [
        Line(label=f"{gate.removeprefix('gate_')} of {site}", points=points, colour=i, dash=dashes[j % 3])
        for i, site in enumerate(sites)
        for j, gate in enumerate(gates)
        if (points := _of(rows, site, gate))
    ]
    if open_:
        panels.append(lines_panel(open_, x_label="update", y_label="mean gate (0 closed, 1 open)", y=Scale(0.0, 1.0)))
    reading = (
        "A spectral radius below 1 forgets, one far above 1 explodes."
        " The reach is the lag to which e⁻³ of the gradient arrives."
    )
    return Figure("Spectral radius, gradient reach and gates over training", tuple(panels), reading)


def _of(rows: Sequence[ProfileRow], site: str, statistic: str) -> list[tuple[float, float]]:
    return [(float(r.step), r.value) for r in rows if r.site == site and r.statistic == statistic]


def _first_and_last_step(
    rows: Sequence[ProfileRow], sites: Sequence[str], statistic: str, floor: float = -math.inf
) -> list[Line]:
    """A line for each layer at the first probe step (dashed) and at the last one."""
    chosen = [r for r in rows if r.statistic == statistic]
    steps = sorted({r.step for r in chosen})
    found: list[Line] = []
    for i, site in enumerate(sites):
        for step, dash in zip(dict.fromkeys((steps[:1] or [0]) + steps[-1:]), ("dash", ""), strict=False):
            points = [(float(r.position), max(r.value, floor)) for r in chosen if r.site == site and r.step == step]
            if points:
                found.append(Line(label=f"{site}, update {step:,}", points=points, colour=i % 8, dash=dash))
    return found
