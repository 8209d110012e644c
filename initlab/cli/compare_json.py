"""The fields of a comparison as JSON (`compare --json`); the schema is in docs/commands.md."""

from __future__ import annotations

from typing import Any

from initlab.compare.page import label_lines
from initlab.compare.page import over_tasks as in_words
from initlab.compare.result import Comparison, Report, Row
from initlab.compare.table import answer_lines


def as_fields(report: Report) -> dict[str, Any]:
    """A comparison: its tasks, each with its arms, best first; the answers in words; warnings."""
    return {
        "title": report.title,
        "tasks": [_task(t) for t in report.tasks],
        "over_tasks": list(in_words(report)),
        "warnings": [*report.warnings, *(w for t in report.tasks for w in label_lines(t, t.warnings))],
    }


def _task(task: Comparison) -> dict[str, Any]:
    return {
        "label": task.label,
        "metric": task.by.metric,
        "direction": task.by.direction,
        "keys": list(task.keys),
        "alpha": task.alpha,
        "paired": task.paired,
        "seeds": list(task.seeds),
        "seeds_needed": task.needed,
        "answers": list(answer_lines(task)),
        "arms": [_row(r) for r in task.rows],
    }


def _row(row: Row) -> dict[str, Any]:
    return {
        "arm": row.arm.name,
        "rank": row.rank,
        "n": row.n,
        "failed": row.failed,
        "mean": row.mean,
        "sd": row.sd,
        "low": row.low,
        "high": row.high,
        "best_set": row.winner,
        "p": row.p,
        "probability_best": row.best,
        "runs": {seed: run.run_id for seed, run in row.arm.runs.items()},
    }
