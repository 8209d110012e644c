"""Figures of the interpretation of a trained network (`probes=interpret`)."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from io import BytesIO
from typing import Any

from initlab.report.charts import Band, Figure, Line, Panel, Scale, bars_panel, grid_panel, lines_panel
from initlab.report.charts.lines import Dash
from initlab.report.figures import layer_name
from initlab.spec import Interpretation, LinearProbe

_FILTERS = 64


def interpretation_figures(seen: Interpretation, class_names: Sequence[str]) -> dict[str, Figure]:
    """File stem → figure, for the parts of the interpretation that exist."""
    made: dict[str, Figure] = {}
    if seen.linear:
        made["linear_probes"] = linear_probes(seen.linear, class_names)
    if seen.path:
        made["path"] = loss_path(seen.path)
    if seen.travelled:
        made["travelled"] = weight_distances(seen)
    if seen.filters is not None:
        made["first_filters"] = first_filters(seen.filters)
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


def linear_probes(found: Sequence[LinearProbe], class_names: Sequence[str]) -> Figure:
    """Accuracy by depth at the start and at the end; beside it the recall of every class at the end."""
    moments: tuple[tuple[str, str, int, Dash], ...] = (
        ("init", "before training", 1, "dash"), ("end", "after training", 0, ""),
    )  # fmt: skip
    lines = [
        Line(
            label=words, colour=colour, dash=dash, mark="dot",
            points=[(float(k), p.accuracy) for k, p in enumerate(_by_order(found, moment))],
        )
        for moment, words, colour, dash in moments
    ]  # fmt: skip
    rows = _by_order(found, "end")
    accuracy = lines_panel(
        lines, x_label="layer (0 is the input)", y_label="validation accuracy of a linear probe", y=Scale(0.0, 1.0)
    )
    names = [layer_name(p.site) for p in rows]
    classes = grid_panel(
        names, list(class_names), [list(p.by_class) for p in rows], scale=Scale(0.0, 1.0), x_label="class",
        label="recall after training", absent="no example",
    )  # fmt: skip
    reading = (
        "How well a linear classifier on a layer's output answers."
        " Rising with depth: each layer adds something; flat: it does not."
    )
    return Figure("Accuracy of linear probes by layer", (accuracy, classes), reading)


def _by_order(found: Sequence[LinearProbe], moment: str) -> list[LinearProbe]:
    return sorted((p for p in found if p.moment == moment), key=lambda p: p.order)


def loss_path(points: Sequence[tuple[float, float, float]]) -> Figure:
    """Loss and accuracy on the straight line from the initial to the final weights."""
    losses = [(a, value if math.isfinite(value) else math.nan) for a, value, _ in points]
    known = [v for _, v in losses if not math.isnan(v)]
    log = bool(known) and min(known) > 0 and max(known) > 30 * min(known)
    ends = [Band(label="", low=at, high=at, across="x") for at in (0.0, 1.0)]
    label = "α in W₀ + α (W − W₀)"
    panels = (
        lines_panel([Line(label="", points=losses)], x_label=label, y_label="validation loss", bands=ends,
                    y=Scale.of(known, log=log)),
        lines_panel([Line(label="", points=[(a, s) for a, _, s in points], colour=1)], x_label=label, bands=ends,
                    y_label="validation accuracy", y=Scale(0.0, 1.0)),
    )  # fmt: skip
    reading = (
        "α = 0 is before training, α = 1 after it (dotted)."
        " A smooth descent is usual; a hill between them is a barrier."
    )
    return Figure("Loss on the line from the initial to the final weights", panels, reading)


def weight_distances(seen: Interpretation) -> Figure:
    """Distance of each layer's weights from their initial values, relative to the initial norm."""
    names = [layer_name(n) for n in seen.travelled]
    panel = bars_panel(names, [d for d, _ in seen.travelled.values()], x_label="‖W − W₀‖ / ‖W₀‖")
    return Figure(
        "Distance from the initial weights by layer", (panel,), "Layers near 0 are still what they were drawn as."
    )


def first_filters(filters: Any) -> Figure:
    """The first layer's weights as images; grey is 0, each on its own scale."""
    import numpy as np
    from PIL import Image

    shown = filters[:_FILTERS].numpy()
    columns = min(16, max(1, math.ceil(math.sqrt(len(shown) * 2))))
    lines = math.ceil(len(shown) / columns)
    high, wide = shown.shape[-2:]
    sheet = np.full((lines * (high + 1), columns * (wide + 1), shown.shape[1]), 255, dtype=np.uint8)
    for k, image in enumerate(shown):
        size = float(np.abs(image).max()) or 1.0
        y, x = k // columns * (high + 1), k % columns * (wide + 1)
        sheet[y : y + high, x : x + wide] = np.moveaxis((image / size / 2 + 0.5) * 255, 0, -1).round()
    buffer = BytesIO()
    Image.fromarray(sheet[..., 0] if sheet.shape[-1] == 1 else sheet).save(buffer, format="png")
    data = base64.b64encode(buffer.getvalue()).decode()
    width = 350.0
    height = width * sheet.shape[0] / sheet.shape[1]
    body = (
        f'<image width="{width:g}" height="{height:.1f}" style="image-rendering:pixelated"'
        f' href="data:image/png;base64,{data}"/>'
    )
    words = f"{len(shown)} of {len(filters)} filters"
    return Figure(
        "Filters of the first layer",
        (Panel(width, height, body, f"{words} of the first layer as images"),),
        f"{words}. Grey is 0; each filter is on its own scale. Filters that look like noise have hardly been learnt.",
    )
