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
from initlab.report.stream import SWEEP, stream_figure, stream_sweep_figure
from initlab.spec import Outlook, Prediction

if TYPE_CHECKING:
    from initlab.probes import Snapshot, StreamComparison

_SEVERITY = {"trainable": "ok", "marginal": "warning", "untrainable": "failure"}


def write_inspection(
    prediction: Prediction, seen: Snapshot, folder: Path, *, name: str, outlook: Outlook, advice: Sequence[str] = (),
    todo: Sequence[tuple[str, str]] = (), again: str = "", stream: StreamComparison | None = None,
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
        stream: of a transformer, whose figure is `token_stream.svg`.

    Returns:
        (file, artifact folder) pairs.
    """
    figure = inspection_figure(prediction, seen)
    written: list[tuple[Path, str]] = []
    if figure is not None:
        path = folder / "predicted_and_measured.svg"
        path.write_text(figure.standalone(name), encoding="utf-8", errors="backslashreplace")
        written.append((path, "figures"))
    by_block = stream_figure(stream.rows()) if stream is not None else None
    if by_block is not None:
        path = folder / "token_stream.svg"
        path.write_text(by_block.standalone(name), encoding="utf-8", errors="backslashreplace")
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
        stream=[by_block] if by_block is not None else [],
        blocks=_block_rows(stream),
        stream_unknown=stream.unknown if stream is not None else (),
        stream_sentences=stream.sentences if stream is not None else (),
        again=again,
    )  # fmt: skip
    page = folder / "report.html"
    page.write_text(text, encoding="utf-8", errors="backslashreplace")
    written.append((page, ""))
    return tuple(written)


def write_sweep(
    cells: Sequence[Mapping[str, Any]], axes: Sequence[str], folder: Path, *, name: str = "sweep",
    sentences: Sequence[str] = (), again: str = "",
) -> tuple[tuple[Path, str], ...]:  # fmt: skip
    """Figures and page of a sweep below `folder`, as (file, artifact folder) pairs.

    `sweep.svg` is the score of every combination, first axis in rows, second in columns, a panel for each rest. Of
    transformers `collapse.svg` too: predicted cosine and entropy with the border of collapse.

    Args:
        name: of the page. sentences: that it begins with. again: the command that repeats the inspection.
    """
    drawn = {"sweep": sweep_figure(cells, axes), "collapse": stream_sweep_figure(cells, axes)}
    figures = {stem: figure for stem, figure in drawn.items() if figure is not None}
    written: list[tuple[Path, str]] = []
    for stem, figure in figures.items():
        path = folder / f"{stem}.svg"
        path.write_text(figure.standalone(), encoding="utf-8", errors="backslashreplace")
        written.append((path, "figures"))
    heads = [*axes, "verdict", "score", *(k for k in SWEEP if any(k in c for c in cells)), "reason"]
    text = environment().get_template("sweep.html.j2").render(
        chart_css=css(), name=name, figures=list(reversed(figures.values())), heads=heads, sentences=sentences,
        severity="warning" if any(c["verdict"] != "trainable" for c in cells) else "ok", again=again,
        rows=[[_cell(c.get(k, "–")) for k in heads] for c in cells],
    )  # fmt: skip
    page = folder / "report.html"
    page.write_text(text, encoding="utf-8", errors="backslashreplace")
    return (*written, (page, ""))


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return to_text(float(f"{value:.3g}")) if math.isfinite(value) else "–"
    return str(value)


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


def _block_rows(stream: StreamComparison | None) -> list[tuple[str, ...]]:
    """Name, and root mean square, cosine, entropy, logits and gradient of each block: theory, then measurement."""
    found: list[tuple[str, ...]] = []
    for row in stream.rows() if stream is not None else []:
        cells: list[str] = []
        for key in ("mean_square", "cosine", "entropy_ratio", "logit_std", "gradient"):
            for source in ("predicted", "measured"):
                value = float(row[f"{source}_{key}"])
                value = math.sqrt(value) if key == "mean_square" and value >= 0 else value
                cells.append(to_text(float(f"{value:.3g}")) if math.isfinite(value) else "–")
        found.append((str(row["block"]), *cells))
    return found


def _pairs(said: Any, seen: Any) -> list[float]:
    found: list[float] = []
    for key in ("q", "log10_gradient", "c", "saturated"):
        found += [float(getattr(said, key, math.nan)), float(getattr(seen, key))]
    return found
