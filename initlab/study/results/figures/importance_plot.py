"""Importance of each parameter by PED-ANOVA, as a bar chart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from initlab.report.drawing import COLOURS, GREY, axes_grid
from initlab.study.results.figures.labels import short
from initlab.study.search.importance import importances

if TYPE_CHECKING:
    import optuna
    from matplotlib.figure import Figure


def importance(study: optuna.Study, *, noise: frozenset[str] = frozenset(), name: str = "study") -> Figure | None:
    """Share of each parameter in reaching the top quantile of the trials, by PED-ANOVA; grey for those in `noise`.

    None where it cannot be computed: fewer than four complete trials, fewer than two parameters, or none that separates
    the top from the rest. Source: Watanabe, Bansal & Hutter, IJCAI 2023.
    """
    found = importances(study)
    if found is None:
        return None
    shares, quantile, count = found
    names = list(shares)[::-1]
    figure, (axis,) = axes_grid(1, 1, width=6.5, height=min(12.0, 1.5 + 0.36 * len(names)))
    colours = [GREY if n in noise else COLOURS[0] for n in names]
    axis.barh(range(len(names)), [shares[n] for n in names], color=colours, height=0.65)
    for i, key in enumerate(names):
        text = f"{shares[key]:.0%}{', within noise' if key in noise else ''}"
        axis.text(shares[key] + 0.01, i, text, va="center", fontsize=8)
    axis.set_yticks(range(len(names)), [short(n) for n in names], fontsize=8)
    axis.set_xlim(0, min(1.3, max(shares.values()) * 1.15 + (0.2 if noise else 0.03)))
    axis.set_xlabel("share of the importance (PED-ANOVA; all sum to 1)")
    axis.set_ylabel("parameter")
    axis.grid(axis="x", alpha=0.25)
    axis.set_axisbelow(True)
    figure.suptitle(f"{short(name)}: importance for the top {quantile:.0%} of {count} trials", fontsize=10)
    return figure
