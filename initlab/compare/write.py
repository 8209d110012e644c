"""Writes the files of a comparison: CSV, Parquet, Markdown, LaTeX, figures and page."""

from __future__ import annotations

from pathlib import Path

from initlab.compare.figures import make_figures
from initlab.compare.page import format_counts, label_lines, over_tasks, page
from initlab.compare.result import Report
from initlab.compare.table import answer_lines, caption_of, columns, frame, latex, markdown
from initlab.core.text import safe_cell


def write(report: Report, folder: Path) -> list[Path]:
    """Write table (CSV, Parquet, Markdown, LaTeX), figures (SVG) and page to `folder`, which is created.

    Raises:
        OSError: it cannot be written.
    """
    import pandas as pd

    folder.mkdir(parents=True, exist_ok=True)
    table = pd.concat([frame(t) for t in report.tasks], ignore_index=True)
    cells = table.map(safe_cell).rename(columns={c: str(safe_cell(c)) for c in table.columns})
    cells.to_csv(folder / "comparison.csv", index=False)
    table.to_parquet(folder / "comparison.parquet", index=False)
    (folder / "comparison.md").write_text(as_markdown(report), encoding="utf-8", errors="backslashreplace")
    tables = "\n".join(latex(columns(t), t) for t in report.tasks)
    (folder / "comparison.tex").write_text(
        f"% needs \\usepackage{{booktabs}}\n{tables}", encoding="utf-8", errors="backslashreplace"
    )
    figures = make_figures(report)
    for stem, figure in figures.items():
        (folder / f"{stem}.svg").write_text(
            figure.standalone(report.title), encoding="utf-8", errors="backslashreplace"
        )
    (folder / "comparison.html").write_text(page(report, figures), encoding="utf-8", errors="backslashreplace")
    names = ["comparison.csv", "comparison.parquet", "comparison.md", "comparison.tex", "comparison.html"]
    return [folder / n for n in (*names, *(f"{s}.svg" for s in figures))]


def as_markdown(report: Report) -> str:
    """Result, table and warnings, task by task."""
    lines = [f"# {report.title}: comparison", "", f"{format_counts(report)}.", ""]
    doubtful = [*report.warnings, *(w for t in report.tasks for w in label_lines(t, t.warnings))]
    lines += [f"- **warning**: {warning}" for warning in doubtful]
    for task in report.tasks:
        lines += ["", f"## {task.label or 'Arms'}", "", *(f"- {v}" for v in answer_lines(task)), ""]
        lines += [markdown(columns(task)), "", " ".join(caption_of(task)), "", *(f"- {n}" for n in task.notes)]
    if told := over_tasks(report):
        lines += ["", "## Over tasks", "", *(f"- {line}" for line in told)]
    return "\n".join(lines) + "\n"
