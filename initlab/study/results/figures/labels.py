"""Keys, metrics and names as the figures write them."""

from __future__ import annotations

from initlab.core.text import to_one_line
from initlab.report.note import SCORES


def metric_label(metric: str) -> str:
    """A metric's key in words, with its unit: ``val/accuracy`` is the validation accuracy, a share."""
    part, _, score = metric.partition("/")
    words = {"train": "training", "val": "validation", "test": "test"}.get(part)
    if words is None or score not in SCORES:
        return short(metric, 24)
    # the unit of a loss is the task's: nats for classes and tokens, else the target's, squared
    return f"{words} {SCORES[score]}{' (share of 1)' if score == 'accuracy' else ''}"


def short(text: str, cells: int = 28) -> str:
    """At most so many characters, and none that matplotlib would read as mathematics."""
    text = to_one_line(text)
    if len(text) > cells:
        text = f"{text[: cells // 2]}…{text[len(text) - (cells - 1) // 2 :]}"
    return text.replace("$", r"\$")
