"""Figures of recurrent layers over time: states, gradient by lag, spectral radius, gates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from initlab.report.drawing import COLOURS, GREY, axes_grid
from initlab.spec import Profile, ProfileRow

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: number of layers that are drawn, evenly spread over the network
_LAYERS = 4
#: statistic of states on flat parts -> its name on an axis
_FLAT = {
    "hidden_saturated": "share where the slope is < 5 %",
    "candidate_saturated": "share of candidates where the slope is < 5 %",
    "hidden_off": "share of units that are off",
    "candidate_off": "share of candidates that are off",
}
#: value that stands for zero on a logarithmic axis: below every number of single precision
_FLOOR = 1e-45


def recurrent_figures(profile: Profile, *, name: str) -> dict[str, Figure]:
    """`hidden_states`, `gradient_by_lag`, `recurrence`; empty for a network without recurrent layers."""
    rows = [r for r in profile.rows if r.statistic in ("hidden_rms", "lag_gradient", "spectral_radius") and r.site]
    sites = list(dict.fromkeys(r.site for r in rows))
    if not sites:
        return {}
    if len(sites) > _LAYERS:
        sites = [sites[round(i * (len(sites) - 1) / (_LAYERS - 1))] for i in range(_LAYERS)]
    return {
        "gradient_by_lag": gradient_by_lag(profile.rows, sites, name=name),
        "hidden_states": hidden_states(profile.rows, sites, name=name),
        "recurrence": recurrence(profile.rows, sites, name=name),
    }


def gradient_by_lag(rows: Sequence[ProfileRow], sites: Sequence[str], *, name: str) -> Figure:
    """G(k)/G(0): share of the last state's gradient that arrives k steps back, before and after training."""
    figure, (axis,) = axes_grid(1, 1, width=6.4, height=3.8)
    lowest = 1.0
    for site, text, style, colour, points in _first_and_last_step(rows, sites, "lag_gradient"):
        lags, values = zip(*points, strict=True)
        shown = [max(v, _FLOOR) if math.isfinite(v) else math.nan for v in values]
        lowest = min([lowest, *(v for v in shown if v > _FLOOR)])
        axis.plot(lags, shown, style, color=colour, label=f"{site}, {text}", linewidth=1.6)
    axis.axhline(math.exp(-3), color=GREY, linestyle=":", linewidth=1.2, label="e^-3")
    axis.set_yscale("log")
    axis.set_ylim(bottom=max(lowest / 3, 1e-30))
    axis.set_xlabel("lag k (steps back in time)")
    axis.set_ylabel("gradient norm G(k) / G(0)")
    axis.grid(alpha=0.25)
    axis.legend(frameon=False, fontsize=7)
    figure.suptitle(f"{name}: gradient of the last state by time lag", fontsize=10)
    return figure


def hidden_states(rows: Sequence[ProfileRow], sites: Sequence[str], *, name: str) -> Figure:
    """Size and saturated share of the hidden state over the steps of a sequence."""
    figure, axes = axes_grid(1, 2, width=9.5, height=3.6)
    saturated = next((s for s in _FLAT if any(r.statistic == s for r in rows)), "hidden_off")
    words = _FLAT[saturated]
    for axis, statistic, label in ((axes[0], "hidden_rms", "root mean square of h"), (axes[1], saturated, words)):
        for site, text, style, colour, points in _first_and_last_step(rows, sites, statistic):
            axis.plot(*zip(*points, strict=True), style, color=colour, label=f"{site}, {text}", linewidth=1.4)
        axis.set_xlabel("step of time")
        axis.set_ylabel(label)
        axis.grid(alpha=0.25)
    sizes = [r.value for r in rows if r.statistic == "hidden_rms" and 0 < r.value < math.inf]
    if sizes and max(sizes) / min(sizes) > 50:
        axes[0].set_yscale("log")
    axes[1].set_ylim(-0.02, 1.02)
    axes[0].legend(frameon=False, fontsize=7)
    figure.suptitle(f"{name}: hidden states over time", fontsize=10)
    return figure


def recurrence(rows: Sequence[ProfileRow], sites: Sequence[str], *, name: str) -> Figure:
    """Spectral radius, reach of the gradient and, in gated layers, mean gates, over training."""
    gates = list(dict.fromkeys(r.statistic for r in rows if r.statistic.startswith("gate_")))
    figure, axes = axes_grid(1, 3 if gates else 2, width=12.0 if gates else 8.6, height=3.4)
    for i, site in enumerate(sites):
        for axis, statistic in ((axes[0], "spectral_radius"), (axes[1], "reach")):
            points = [(r.step, r.value) for r in rows if r.site == site and r.statistic == statistic]
            if points:
                axis.plot(*zip(*points, strict=True), "o-", color=COLOURS[i], label=site, markersize=3, linewidth=1.4)
        for j, gate in enumerate(gates):
            points = [(r.step, r.value) for r in rows if r.site == site and r.statistic == gate]
            if points:
                style = ("-", "--", ":")[j % 3]
                text = f"{gate.removeprefix('gate_')} of {site}"
                axes[2].plot(*zip(*points, strict=True), style, color=COLOURS[i], label=text, linewidth=1.4)
    axes[0].axhline(1.0, color=GREY, linestyle=":", linewidth=1.2)
    axes[0].set_ylabel("spectral radius of W_hh")
    axes[1].set_ylabel("reach of the gradient (steps)")
    axes[1].set_ylim(bottom=0)
    if gates:
        axes[2].set_ylabel("mean gate (0 closed, 1 open)")
        axes[2].set_ylim(0, 1)
        axes[2].legend(frameon=False, fontsize=6)
    for axis in axes:
        axis.set_xlabel("update")
        axis.grid(alpha=0.25)
    axes[0].legend(frameon=False, fontsize=7)
    figure.suptitle(f"{name}: spectral radius, gradient reach and gates over training", fontsize=10)
    return figure


def _first_and_last_step(
    rows: Sequence[ProfileRow], sites: Sequence[str], statistic: str
) -> list[tuple[str, str, str, str, Any]]:
    """(site, update in words, line style, colour, points) at the first and at the last probe step."""
    chosen = [r for r in rows if r.statistic == statistic]
    steps = sorted({r.step for r in chosen})
    found: list[tuple[str, str, str, str, Any]] = []
    for i, site in enumerate(sites):
        for step, style in zip(dict.fromkeys((steps[:1] or [0]) + steps[-1:]), ("--", "-"), strict=False):
            points = [(r.position, r.value) for r in chosen if r.site == site and r.step == step]
            if points:
                found.append((site, f"update {step}", style, COLOURS[i % len(COLOURS)], points))
    return found
