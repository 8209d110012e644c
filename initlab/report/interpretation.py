"""Figures of the interpretation of a trained network (`probes=interpret`)."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from initlab.report.drawing import COLOURS, GREY, axes_grid
from initlab.spec import Interpretation, LinearProbe

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FILTERS = 64


def interpretation_figures(seen: Interpretation, class_names: Sequence[str], *, name: str) -> dict[str, Figure]:
    """File stem → figure, for the parts of the interpretation that exist."""
    made: dict[str, Figure] = {}
    if seen.linear:
        made["linear_probes"] = linear_probes(seen.linear, class_names, name=name)
    if seen.path:
        made["path"] = loss_path(seen.path, name=name)
    if seen.travelled:
        made["travelled"] = weight_distances(seen, name=name)
    if seen.filters is not None:
        made["first_filters"] = first_filters(seen.filters, name=name)
    return made


def interpretation_json(seen: Interpretation) -> str:
    """All numbers except the filters, which are in the checkpoint's weights."""
    plain = {k: v for k, v in asdict(seen).items() if k != "filters"}
    return json.dumps(_finite(plain), indent=1)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    return [_finite(v) for v in value] if isinstance(value, (list, tuple)) else value


def linear_probes(found: Sequence[LinearProbe], class_names: Sequence[str], *, name: str) -> Figure:
    """Accuracy by depth at the start and at the end; beside it the recall of every class at the end."""
    import numpy as np

    figure, (left, right) = axes_grid(1, 2, width=9.5, height=3.8, ratios=(1.0, 1.0))
    for moment, colour, mark in (("init", COLOURS[1], "s--"), ("end", COLOURS[0], "o-")):
        rows = sorted((p for p in found if p.moment == moment), key=lambda p: p.order)
        words = "before training" if moment == "init" else "after training"
        left.plot(range(len(rows)), [p.accuracy for p in rows], mark, color=colour, label=words, markersize=4)
    rows = sorted((p for p in found if p.moment == "end"), key=lambda p: p.order)
    names = [p.site.removesuffix(".weight") or "input" for p in rows]
    for axis in (left, right):
        shown = sorted(
            {round(i * (len(names) - 1) / max(1, min(len(names), 12) - 1)) for i in range(min(len(names), 12))}
        )
        axis.set_xticks(shown, [names[i] for i in shown], rotation=60, ha="right", fontsize=7)
    left.set_ylim(0, 1.02)
    left.set_ylabel("validation accuracy of a linear probe")
    left.grid(alpha=0.25)
    left.legend(frameon=False, fontsize=8)
    grid = np.array([p.by_class for p in rows], dtype=float).T
    mesh = right.imshow(grid, vmin=0, vmax=1, cmap="viridis", aspect="auto", interpolation="nearest")
    few = np.unique(np.linspace(0, len(class_names) - 1, min(len(class_names), 20)).astype(int))
    right.set_yticks(few, [class_names[i] for i in few], fontsize=7)
    right.set_ylabel("class")
    figure.colorbar(mesh, ax=right, label="recall after training")
    figure.suptitle(f"{name}: accuracy of linear probes by layer", fontsize=10)
    return figure


def loss_path(points: Sequence[tuple[float, float, float]], *, name: str) -> Figure:
    """Loss and accuracy on the straight line from the initial to the final weights."""
    figure, (axis,) = axes_grid(1, 1, width=6.0, height=3.6)
    alphas = [a for a, _, _ in points]
    losses = [value if math.isfinite(value) else math.nan for _, value, _ in points]
    axis.plot(alphas, losses, color=COLOURS[0], label="loss")
    finite = [v for v in losses if not math.isnan(v)]
    if finite and min(finite) > 0 and max(finite) > 30 * min(finite):
        axis.set_yscale("log")
    axis.set_xlabel("α in W₀ + α (W - W₀): 0 before training, 1 after it")
    axis.set_ylabel("validation loss")
    for at in (0.0, 1.0):
        axis.axvline(at, color=GREY, linewidth=0.8, linestyle=":")
    other = axis.twinx()
    other.plot(alphas, [a for _, _, a in points], color=COLOURS[1], linestyle="--", label="accuracy")
    other.set_ylim(0, 1.02)
    other.set_ylabel("validation accuracy")
    lines = [*axis.get_lines()[:1], *other.get_lines()]
    axis.legend(lines, [str(line.get_label()) for line in lines], frameon=False, fontsize=8)
    figure.suptitle(f"{name}: loss on the line from the initial to the final weights", fontsize=10)
    return figure


def weight_distances(seen: Interpretation, *, name: str) -> Figure:
    """Distance of each layer's weights from their initial values, relative to the initial norm."""
    names = list(seen.travelled)
    figure, (axis,) = axes_grid(1, 1, width=6.5, height=min(12.0, 1.5 + 0.28 * len(names)))
    distances = [d if math.isfinite(d) else math.nan for d, _ in seen.travelled.values()]
    axis.barh(range(len(names)), distances, color=COLOURS[0], height=0.65)
    axis.set_yticks(range(len(names)), [n.removesuffix(".weight") for n in names], fontsize=7)
    axis.invert_yaxis()
    axis.set_xlabel("‖W - W₀‖ / ‖W₀‖")
    axis.grid(axis="x", alpha=0.25)
    axis.set_axisbelow(True)
    figure.suptitle(f"{name}: distance from the initial weights by layer", fontsize=10)
    return figure


def first_filters(filters: Any, *, name: str) -> Figure:
    """The first layer's weights as images; grey is 0, each on its own scale."""
    import numpy as np

    shown = filters[:_FILTERS].numpy()
    columns = min(16, max(1, math.ceil(math.sqrt(len(shown) * 2))))
    lines = math.ceil(len(shown) / columns)
    figure, axes = axes_grid(lines, columns, width=0.55 * columns + 0.4, height=0.55 * lines + 0.6)
    for axis, image in zip(axes, shown, strict=False):
        size = float(np.abs(image).max()) or 1.0
        picture = np.moveaxis(image / size / 2 + 0.5, 0, -1)
        axis.imshow(picture[..., 0] if picture.shape[-1] == 1 else picture, cmap="gray", vmin=0, vmax=1)
    for axis in axes:
        axis.set_axis_off()
    figure.suptitle(f"{name}: {len(shown)} of {len(filters)} filters of the first layer", fontsize=10)
    return figure
