"""Writes the files of a run's report, to be stored as artifacts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from initlab.report.confusion import confusion_matrix
from initlab.report.drawing import to_png
from initlab.report.figures import figures
from initlab.report.inspection import figure_from_profile
from initlab.report.interpretation import interpretation_figures, interpretation_json
from initlab.report.page import page
from initlab.report.recurrent import recurrent_figures
from initlab.spec import Experiment, RunResult, Site, Splits


def write(
    experiment: Experiment, sites: Sequence[Site], splits: Splits, result: RunResult, folder: Path, *, full: bool = True
) -> list[tuple[Path, str]]:
    """Write the task's own texts, the interpretation and, where `full`, figures and `report.html` below `folder`.

    Returns:
        (file, artifact folder) pairs.
    """
    written: list[tuple[Path, str]] = []
    for file_name, text in result.texts.items():
        (folder / file_name).write_text(text, encoding="utf-8")
        written.append((folder / file_name, ""))
    if result.interpretation is not None:
        (folder / "interpretation.json").write_text(interpretation_json(result.interpretation), encoding="utf-8")
        written.append((folder / "interpretation.json", ""))
    if not full:
        return written
    made = figures(result.profile, sites, name=experiment.name, baseline=splits.baseline)
    made.update(recurrent_figures(result.profile, name=experiment.name))
    if result.confusion:
        # results come before their explanation
        curves = {k: made.pop(k) for k in ("loss_curves",) if k in made}
        made = {
            **curves,
            "confusion": confusion_matrix(result.confusion, splits.class_names, name=experiment.name),
            **made,
        }
    if result.interpretation is not None:
        made.update(interpretation_figures(result.interpretation, splits.class_names, name=experiment.name))
    before = figure_from_profile(result.profile, name=experiment.name)
    if before is not None:
        made["predicted_and_measured"] = before
    images = {stem: to_png(figure) for stem, figure in made.items()}
    for stem, data in images.items():
        path = folder / f"{stem}.png"
        path.write_bytes(data)
        written.append((path, "figures"))
    report = folder / "report.html"
    report.write_text(page(experiment, splits, result, images), encoding="utf-8")
    written.append((report, ""))
    return written
