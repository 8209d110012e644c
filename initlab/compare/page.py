"""HTML page of a comparison: result, table, figures; self-contained, without scripts or network access."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from initlab.compare.ending import Ending
from initlab.compare.result import Comparison, Report
from initlab.compare.table import answer_lines, caption_of, columns, number, probability
from initlab.report.charts import Figure
from initlab.report.charts.figure import css
from initlab.report.page import environment

#: maximum number of rows of a table; the files have all
_ROWS = 300
#: figures that are not folded
_MAIN = ("intervals", "heat_map", "learning_curves", "critical_difference")


def page(report: Report, figures: Mapping[str, Figure]) -> str:
    """The page as text; values from the configuration are escaped.

    Args:
        report: the comparison.
        figures: by stem, as `make_figures` names them.
    """
    main = [s for s in figures if s in _MAIN]
    return environment().get_template("compare.html.j2").render(
        chart_css=css(),
        name=f"{report.title}: comparison",
        counted=format_counts(report),
        warnings=[*report.warnings, *(w for t in report.tasks for w in label_lines(t, t.warnings))],
        tasks=[_task(t) for t in report.tasks],
        ranking=over_tasks(report),
        facts=_facts(report),
        main=[figures[s] for s in main],
        rest=[f for s, f in figures.items() if s not in main],
    )  # fmt: skip


def _facts(report: Report) -> list[tuple[str, str, str]]:
    """Of the first task: the best mean, the size of the best set, and the seeds that are needed."""
    task = report.tasks[0]
    ranked = [r for r in task.rows if r.rank is not None]
    if not ranked:
        return []
    best = ranked[0]
    known = math.isfinite(best.low)
    facts = [
        (f"best {task.by.metric}", number(best.mean), f"{number(best.low)} to {number(best.high)}" if known else ""),
        ("arms in the best set", str(len(task.winners)) if task.winners else "not known", f"of {len(ranked)}"),
    ]
    if math.isfinite(task.needed):
        facts.append(("seeds to tell the first two apart", f"{task.needed:,.0f}", f"there are {len(task.seeds)}"))
    return facts


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
