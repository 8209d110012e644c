"""Files of an inspection: the figure, and the page with its verdict; and the figure of a sweep."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from initlab.report.charts.figure import css
from initlab.report.charts.scale import to_text
from initlab.report.inspection import inspection_figure, sweep_figure
from initlab.report.page import environment
from initlab.spec import Outlook, Prediction

if TYPE_CHECKING:
    from initlab.probes import Snapshot

_SEVERITY = {"trainable": "ok", "marginal": "warning", "untrainable": "failure"}


def write_inspection(
    prediction: Prediction, seen: Snapshot, folder: Path, *, name: str, outlook: Outlook, advice: Sequence[str] = (),
    todo: Sequence[tuple[str, str]] = (), again: str = "",
) -> tuple[tuple[Path, str], ...]:  # fmt: skip
    """Write `predicted_and_measured.svg` and `report.html` below `folder`.

    Args:
        prediction, seen: theory and measurement by layer.
        folder: that exists.
        name: of the inspected network.
        outlook: the verdict.
        advice: sentences on its activation's fixed points.
        todo: (command, reason) of what to do next.
        again: the command that repeats the inspection.

    Returns:
        (file, artifact folder) pairs.
    """
    figure = inspection_figure(prediction, seen)
    written: list[tuple[Path, str]] = []
    if figure is not None:
        path = folder / "predicted_and_measured.svg"
        path.write_text(figure.standalone(name), encoding="utf-8")
        written.append((path, "figures"))
    said = {r.site: r for r in prediction.layers}
    rows = [
        (
            r.site.removesuffix(".weight"),
            *(to_text(float(f"{v:.3g}")) if math.isfinite(v) else "–" for v in _pairs(said.get(r.site), r)),
        )
        for r in seen.layers
    ]
    text = environment().get_template("inspection.html.j2").render(
        chart_css=css(),
        name=name,
        severity=_SEVERITY[outlook.verdict],
        headline=f"{outlook.verdict.capitalize()}: {outlook.figure}",
        reasons=outlook.reasons,
        facts=_facts(prediction, seen, outlook),
        advice=advice,
        todo=todo,
        main=[figure] if figure is not None else [],
        rows=rows,
        unknown=prediction.out_of_scope,
        again=again,
    )  # fmt: skip
    page = folder / "report.html"
    page.write_text(text, encoding="utf-8")
    written.append((page, ""))
    return tuple(written)


def write_sweep(cells: Sequence[Mapping[str, Any]], axes: Sequence[str], folder: Path) -> tuple[Path, ...]:
    """`sweep.svg`: the score of every combination, first axis in rows, second in columns, a panel for each rest."""
    path = folder / "sweep.svg"
    path.write_text(sweep_figure(cells, axes).standalone(), encoding="utf-8")
    return (path,)


# ------------------------------------------------------------------ pieces
def _facts(prediction: Prediction, seen: Snapshot, outlook: Outlook) -> list[tuple[str, str, str]]:
    name, _, value = outlook.figure.partition(" ")
    label = "probability that it trains" if name == "probability" else "score (1 is best)"
    facts = [(label, value, ""), ("loss before training", f"{seen.loss:.4g}", "")]
    if not math.isnan(prediction.trainable_depth):
        depth = "no limit" if math.isinf(prediction.trainable_depth) else f"{prediction.trainable_depth:.0f} layers"
        facts.append(("trainable depth (6 ξ)", depth, f"this network has {prediction.depth}"))
    else:
        facts.append(("hidden layers", str(len(seen.layers)), ""))
    return facts


def _pairs(said: Any, seen: Any) -> list[float]:
    found: list[float] = []
    for key in ("q", "log10_gradient", "c", "saturated"):
        found += [float(getattr(said, key, math.nan)), float(getattr(seen, key))]
    return found
