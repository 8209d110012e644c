"""Formats numbers and names for one line of text."""

from __future__ import annotations

import math


def format_number(value: float) -> str:
    """Four decimals, or scientific notation where these lose the value; no decimals for large counts; "" for NaN."""
    if math.isnan(value):
        return ""
    if 100 <= abs(value) < 1e9 and value == int(value):
        return str(int(value))
    return f"{value:.4f}" if value == 0 or 1e-2 <= abs(value) < 1e5 else f"{value:.3e}"


def interval_text(low: float, high: float) -> str:
    """Both ends of an interval, "" where there is none.

    Example:
        >>> interval_text(0.91, 0.93)
        '0.9100 … 0.9300'
    """
    return f"{format_number(low)} … {format_number(high)}" if math.isfinite(low) and math.isfinite(high) else ""


def to_one_line(text: str) -> str:
    """The text on one line, without control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def listed(names: list[str], most: int = 6) -> str:
    """The names with commas between them; the first `most` and how many more where there are many."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
