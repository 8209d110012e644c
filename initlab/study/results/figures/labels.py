"""Labels of keys, metrics and names in figures."""

from __future__ import annotations

from initlab.core.text import to_one_line
from initlab.report.charts.figure import shorten
from initlab.report.note import SCORES


def metric_label(metric: str) -> str:
    """A metric's key as a label, with its unit: ``val/accuracy`` is the validation accuracy, a share."""
    part, _, score = metric.partition("/")
    words = {"train": "training", "val": "validation", "test": "test"}.get(part)
    if words is None or score not in SCORES:
        return short(metric, 24)
    # the unit of a loss is the task's: nats for classes and tokens, else the target's, squared
    return f"{words} {SCORES[score]}{' (share of 1)' if score == 'accuracy' else ''}"


def short(text: str, characters: int = 28) -> str:
    """One line of at most that many characters."""
    return shorten(to_one_line(text), characters)
