"""HTML page of a comparison: result, table, figures; self-contained, without scripts or network access."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from typing import Any

from initlab.compare.ending import Ending
from initlab.compare.result import Comparison, Report
from initlab.compare.table import answer_lines, caption_of, columns, number, probability

#: maximum number of rows of a table; the files have all
_ROWS = 300
_TITLES = {
    "intervals": ("Means and intervals", "Bars are 95 % intervals of the mean, strokes single seeds."),
    "heat_map": ("Both factors", "Mean with half the width of its 95 % interval; the more yellow, the better."),
    "learning_curves": ("Learning curves of the best arms", "Mean over seeds; bands are one standard error."),
    "critical_difference": ("Ranks over tasks", "Arms joined by a bar are not distinguishable by Nemenyi's test."),
    "performance_profile": ("Performance profile", "Share of runs at or above each level; the higher curve is better."),
}


def page(report: Report, images: Mapping[str, bytes]) -> str:
    """The page as text; values from the configuration are escaped.

    Args:
        report: the comparison.
        images: PNG files by stem, as `make_figures` names them.
    """
    from jinja2 import ChoiceLoader, Environment, PackageLoader

    loader = ChoiceLoader([PackageLoader("initlab", "compare"), PackageLoader("initlab", "report")])
    environment = Environment(autoescape=True, trim_blocks=True, loader=loader)
    return environment.get_template("compare.html.j2").render(
        name=f"{report.title}: comparison",
        counted=format_counts(report),
        warnings=[*report.warnings, *(w for t in report.tasks for w in label_lines(t, t.warnings))],
        tasks=[_task(t) for t in report.tasks],
        ranking=over_tasks(report),
        images=[(*_title(stem, report), base64.b64encode(data).decode()) for stem, data in images.items()],
    )


def format_counts(report: Report) -> str:
    """Numbers of arms and runs, and how the runs ended."""
    told: list[str] = []
    for task in report.tasks:
        words: dict[Ending, str] = {
            "finished": "finished",
            "diverged": "diverged",
            "failed": "failed",
            "early": "ended early",
            "running": "still running",
        }
        ends = [f"{n} {w}" for e, w in words.items() if (n := task.count(e))]
        label = f"{task.label}: " if task.label else ""
        plural = "" if len(task.rows) == 1 else "s"
        told.append(f"{label}{len(task.rows)} arm{plural}, {task.runs} runs ({', '.join(ends)}), {task.by.metric}")
    return "; ".join(told)


def label_lines(task: Comparison, lines: tuple[str, ...]) -> list[str]:
    """The sentences, labelled with their task where there are several."""
    return [f"{task.label}: {line}" if task.label else line for line in lines]


def over_tasks(report: Report) -> list[str]:
    """Sentences about the ranks over tasks."""
    found = report.ranking
    if found is None:
        return []
    listed = ", ".join(f"{a} {number(r)}" for a, r in zip(found.arms[:10], found.ranks[:10], strict=True))
    lines = [f"average ranks over {len(found.tasks)} tasks: {listed}"]
    if not math.isnan(found.p):
        lines.append(f"Friedman's test that all arms are equal: p {probability(found.p)}")
    near = [a for a, r in zip(found.arms[1:], found.ranks[1:], strict=True) if r - found.ranks[0] <= found.critical]
    told = f"; not distinguishable from the first: {', '.join(near[:10])}" if near else ""
    lines.append(f"critical difference of ranks {found.critical:.2f} (Nemenyi, 5 %){told}")
    return lines


def _task(task: Comparison) -> dict[str, Any]:
    shown = columns(task, task.rows[:_ROWS])
    more = f" The first {_ROWS} of {len(task.rows)} arms." if len(task.rows) > _ROWS else ""
    return {
        "label": task.label,
        "verdict": answer_lines(task),
        "caption": " ".join(caption_of(task)) + more,
        "columns": shown,
        # an interval must not wrap in a browser
        "rows": list(zip(*([v.replace(" ", "\N{NO-BREAK SPACE}") for v in c.cells] for c in shown), strict=True)),
        "notes": task.notes,
    }


def _title(stem: str, report: Report) -> tuple[str, str]:
    base, _, index = stem.rpartition("_")
    which = int(index) - 1 if base and index.isdigit() else 0
    title, said = _TITLES.get(base if which else stem, (stem, ""))
    label = report.tasks[which].label if len(report.tasks) > 1 and (which or stem in _OF_A_TASK) else ""
    return (f"{label}: {title}" if label else title), said


_OF_A_TASK = ("intervals", "heat_map", "learning_curves")
