"""Formats numbers and names for one line of text."""

from __future__ import annotations

import math
import re


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


def safe_cell(value: object) -> object:
    """A cell of a CSV file: text that a spreadsheet would compute as a formula gets an apostrophe before it.

    Example:
        >>> safe_cell("=1+1"), safe_cell("-0.5"), safe_cell("he"), safe_cell(-0.5)
        ("'=1+1", '-0.5', 'he', -0.5)
    """
    if not isinstance(value, str) or value[:1] not in ("=", "+", "-", "@", "\t", "\r"):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value


_UNSTORABLE = re.compile("[\ud800-\udfff\0]")


def storable(text: str) -> str:
    r"""The text with what no database and no UTF-8 file takes escaped: NUL, and halves of surrogate pairs.

    Python reads a byte of a file name or of a command line that is no UTF-8 as half of a pair; that byte is shown.

    Example:
        >>> storable("caf\udce9"), storable("a\0b"), storable("half \ud83d"), storable("é 😀")
        ('caf\\xe9', 'a\\x00b', 'half \\ud83d', 'é 😀')
    """

    def escaped(found: re.Match[str]) -> str:
        code = ord(found.group())
        if code < 0x80:
            return f"\\x{code:02x}"
        return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"

    return _UNSTORABLE.sub(escaped, text)


def to_one_line(text: str) -> str:
    """The text on one line, without control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def listed(names: list[str], most: int = 6) -> str:
    """The names with commas between them; the first `most` and how many more where there are many."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
