"""Figures of one run, with perceptually uniform, colour-blind-safe palettes; axes carry name and unit."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from initlab.report.drawing import COLOURS, GREY, axes_grid
from initlab.report.note import SCORES
from initlab.spec import Baseline, Histogram, Profile, Site

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: layers that a figure with a panel for each shows
PANELS = 12


def figures(
    profile: Profile, sites: Sequence[Site], *, name: str, baseline: Baseline | None = None
) -> dict[str, Figure]:
    """File stem → figure for the statistics that the profile holds; figures without data are left out."""
    made: dict[str, Callable[[], Figure | None]] = {
        "loss_curves": lambda: loss_curves(profile, name=name, baseline=baseline),
        "gradient_norm": lambda: over_time(profile, sites, "grad_norm", "‖∂loss/∂W‖ (Frobenius norm)", name=name),
        "activation_std": lambda: over_time(profile, sites, "act_std", "standard deviation of φ(h)", name=name),
        "update_ratio": lambda: over_time(
            profile, sites, "update_ratio", "‖ΔW‖ / ‖W‖", name=name, healthy=(1e-4, 1e-2)
        ),
        "saturated": lambda: over_time(
            profile, sites, "saturated", "share of saturated values", name=name, healthy=(1e-4, 0.5)
        ),
        "dead": lambda: over_time(profile, sites, "dead", "share of dead units", name=name, healthy=(1e-4, 0.4)),
        "weight_histograms": lambda: histograms(profile, "weight", "weight W", name=name),
        "activation_histograms": lambda: histograms(profile, "activation", "activation φ(h)", name=name),
        "activation_mixture": lambda: activation_readings(
            profile, ("blend_", "homotopy"), "share in the mixture", name=name
        ),
        "activation_parameters": lambda: activation_readings(profile, ("act_", "beta"), "learnt parameter", name=name),
    }
    return {stem: figure for stem, make in made.items() if (figure := make()) is not None}


def loss_curves(profile: Profile, *, name: str, baseline: Baseline | None) -> Figure | None:
    """Loss and the most informative score over updates; a dotted line is the loss of an uninformed network."""
    curves = profile.curves
    if not curves:
        return None
    score = next((k for k in SCORES if k != "loss" and f"val/{k}" in curves), None)
    panels = [("loss", "loss"), *([(score, SCORES[score])] if score else [])]
    figure, axes = axes_grid(1, len(panels), width=4.5 * len(panels), height=3.4)
    left = axes[0]
    for axis, (what, label) in zip(axes, panels, strict=True):
        for part, colour in (("train", COLOURS[0]), ("val", COLOURS[1])):
            points = curves.get(f"{part}/{what}", ())
            if points:
                mark = "o" if part == "val" else ""
                axis.plot(
                    *zip(*points, strict=True), color=colour, label=part, linewidth=1.4, marker=mark, markersize=3.5
                )
        axis.set_xlabel("update")
        axis.set_ylabel(label)
        axis.grid(alpha=0.25)
    values = [v for key in ("train/loss", "val/loss") for _, v in curves.get(key, ()) if math.isfinite(v)]
    if baseline is not None:
        left.axhline(baseline.untrained, color=GREY, linestyle=":", linewidth=1.2, label=baseline.words)
    if values and min(values) > 0 and max(values) / min(values) > 50:
        left.set_yscale("log")
    if values:
        left.legend(frameon=False, fontsize=8)
    figure.suptitle(name, fontsize=10)
    return figure


def over_time(
    profile: Profile,
    sites: Sequence[Site],
    statistic: str,
    label: str,
    *,
    name: str,
    healthy: tuple[float, float] | None = None,
) -> Figure | None:
    """Layer × step heat map of log10 of a statistic, and its profile over the layers at the first and last probe step.

    Values of 0 and values that are not finite are grey. `healthy` is a range marked in the right panel: a decade
    around the customary 1e-3 for updates, and for shares the range below the warning in `diagnosis.rules.bounds`.
    """
    import numpy as np

    rows = [r for r in profile.rows if r.statistic == statistic and r.site and r.position < 0]
    if not any(math.isfinite(r.value) and r.value > 0 for r in rows):
        return None
    steps = sorted({r.step for r in rows})
    order = {s.name: s.order for s in sites}
    layers = sorted({r.site for r in rows}, key=lambda s: order.get(s, 0))
    grid = np.full((len(layers), len(steps)), np.nan)
    row_of, column_of = {s: i for i, s in enumerate(layers)}, {s: i for i, s in enumerate(steps)}
    for r in rows:
        if math.isfinite(r.value) and r.value > 0:
            grid[row_of[r.site], column_of[r.step]] = math.log10(r.value)
    height = min(9.0, max(3.2, 1.6 + 0.2 * len(layers)))
    figure, (left, right) = axes_grid(1, 2, width=9.5, height=height, ratios=(3, 1.3))
    mesh = left.pcolormesh(
        np.arange(len(steps) + 1), np.arange(len(layers) + 1), np.ma.masked_invalid(grid), cmap="viridis"
    )
    left.set_facecolor("#d9d9d9")  # values that are zero or not finite
    ticks = np.unique(np.linspace(0, len(steps) - 1, min(6, len(steps))).astype(int))
    left.set_xticks(ticks + 0.5, [str(steps[i]) for i in ticks])
    shown = np.unique(np.linspace(0, len(layers) - 1, min(20, len(layers))).astype(int))
    left.set_yticks(shown + 0.5, [layers[i] for i in shown], fontsize=7)
    left.invert_yaxis()
    left.set_xlabel("update (one column per probe step)")
    figure.colorbar(mesh, ax=left, label=f"log10 {label}", pad=0.02)
    for column, text, colour in (
        (0, f"update {steps[0]}", COLOURS[0]),
        (len(steps) - 1, f"update {steps[-1]}", COLOURS[1]),
    ):
        right.plot(grid[:, column], np.arange(len(layers)) + 0.5, color=colour, marker="o", markersize=3, label=text)
    if healthy is not None:
        right.axvspan(math.log10(healthy[0]), math.log10(healthy[1]), color=COLOURS[2], alpha=0.12, label="healthy")
    right.set_ylim(len(layers), 0)
    right.set_yticks([])
    right.set_xlabel(f"log10 {label}", fontsize=8)
    right.grid(alpha=0.25)
    right.legend(frameon=False, fontsize=7)
    figure.suptitle(f"{name}: {label} by layer over time", fontsize=10)
    return figure


def histograms(profile: Profile, quantity: str, label: str, *, name: str) -> Figure | None:
    """One panel a layer: distribution at initialisation and at the end."""
    chosen = [h for h in profile.histograms if h.quantity == quantity]
    if not chosen:
        return None
    layers = sorted({(h.order, h.site) for h in chosen})
    columns = min(4, len(layers))
    lines = -(-len(layers) // columns)
    figure, axes = axes_grid(lines, columns, width=2.4 * columns + 0.6, height=1.7 * lines + 0.8)
    for axis, (_, site) in zip(axes, layers, strict=False):
        for moment, colour in (("init", COLOURS[0]), ("end", COLOURS[1])):
            for h in chosen:
                if h.site == site and h.moment == moment:
                    _stairs(axis, h, colour, moment)
        axis.set_title(site, fontsize=7)
        axis.tick_params(labelsize=6)
        # half of a ReLU layer is exactly zero: on a linear scale nothing else would be visible
        if quantity == "activation":
            axis.set_yscale("log")
        axis.set_yticks([], minor=False)
        axis.set_yticks([], minor=True)
    for axis in axes[len(layers) :]:
        axis.set_visible(False)
    axes[0].legend(frameon=False, fontsize=7)
    figure.supxlabel(label, fontsize=8)
    figure.suptitle(f"{name}: distribution by layer", fontsize=10)
    return figure


def activation_readings(
    profile: Profile,
    prefixes: tuple[str, ...],
    label: str,
    *,
    name: str,
) -> Figure | None:
    """Parameters of learnable and mixed activations over the updates: a line each, a panel a layer (at most 12)."""
    chosen = [r for r in profile.rows if r.site and _is_reading(r.statistic, prefixes)]
    if not chosen:
        return None
    layers = sorted({(r.order, r.site) for r in chosen})
    if len(layers) > PANELS:
        # the first, the last, and an even spread between them
        layers = [layers[round(i * (len(layers) - 1) / (PANELS - 1))] for i in range(PANELS)]
    shown = [r for r in chosen if (r.order, r.site) in layers]
    statistics = list(dict.fromkeys(r.statistic for r in shown))
    finite = [r.value for r in shown if math.isfinite(r.value)] or [0.0]
    low, high = min(finite), max(finite)
    margin = 0.05 * (high - low) or 0.05
    columns = min(4, len(layers))
    lines = -(-len(layers) // columns)
    figure, axes = axes_grid(lines, columns, width=2.5 * columns + 1.2, height=1.9 * lines + 0.9)
    for axis, (_, site) in zip(axes, layers, strict=False):
        for i, statistic in enumerate(statistics):
            points = [(r.step, r.value) for r in shown if r.site == site and r.statistic == statistic]
            if points:
                dash = ("-", "--", ":")[i // len(COLOURS) % 3]
                text = statistic.removeprefix("blend_").removeprefix("act_")
                axis.plot(*zip(*points, strict=True), dash, color=COLOURS[i % len(COLOURS)], label=text, linewidth=1.3)
        axis.set_title(site, fontsize=7)
        axis.tick_params(labelsize=6)
        axis.grid(alpha=0.25)
        axis.set_ylim(low - margin, high + margin)  # one range for all panels, so that layers can be compared
    for axis in axes[len(layers) :]:
        axis.set_visible(False)
    handles = {text: handle for axis in axes for handle, text in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(list(handles.values()), list(handles), loc="outside right upper", frameon=False, fontsize=7)
    figure.supxlabel("update", fontsize=8)
    figure.supylabel(label, fontsize=8)
    figure.suptitle(f"{name}: {label} by layer over time", fontsize=10)
    return figure


def _is_reading(statistic: str, prefixes: tuple[str, ...]) -> bool:
    # act_mean, act_std and act_grad_norm are of the signal, not of the activation's parameters
    return statistic.startswith(prefixes) and statistic not in ("act_mean", "act_std", "act_grad_norm")


def _stairs(axis: Any, h: Histogram, colour: str, label: str) -> None:
    import numpy as np

    total = sum(h.counts)
    if len(h.counts) == 1:
        axis.axvline(h.low, color=colour, linewidth=1.4, label=f"{label} (all equal)")
        return
    edges = np.linspace(h.low, h.high, len(h.counts) + 1)
    density = np.array(h.counts) / (total * (edges[1] - edges[0]))
    axis.stairs(density, edges, color=colour, fill=True, alpha=0.25)
    axis.stairs(density, edges, color=colour, linewidth=1.2, label=label)
