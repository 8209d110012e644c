"""Writes the files of a run's report, to be stored as artifacts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from initlab.report.data import FILE, data_of
from initlab.report.interpretation import interpretation_figures, interpretation_json
from initlab.report.page import all_figures, order_figures, page
from initlab.spec import Experiment, RunResult, Site, Splits


def write(
    experiment: Experiment, sites: Sequence[Site], splits: Splits, result: RunResult, folder: Path, *, full: bool = True
) -> list[tuple[Path, str]]:
    """Write the data of the report, the task's own texts and the interpretation below `folder`.

    With `full` also the figures and `report.html`; without it they are drawn when somebody asks (`initlab report`).

    Returns:
        (file, artifact folder) pairs.
    """
    data = data_of(experiment, tuple(sites), splits, result)
    files = {FILE: data.to_json(), **result.texts}
    if result.interpretation is not None:
        files["interpretation.json"] = interpretation_json(result.interpretation)
    written: list[tuple[Path, str]] = []
    if full or result.interpretation is not None:
        made = all_figures(data)
        if result.interpretation is not None:
            made |= interpretation_figures(result.interpretation, splits.class_names)
            made = order_figures(made)
        for stem, figure in made.items():
            path = folder / f"{stem}.svg"
            path.write_text(figure.standalone(experiment.name), encoding="utf-8", errors="backslashreplace")
            written.append((path, "figures"))
        files["report.html"] = page(data, made)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8", errors="backslashreplace")
        written.append((folder / name, ""))
    return written
