"""Rows of a table as text, HTML and pandas: what objects that programs get back are printed with."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from initlab.core.text import format_number

if TYPE_CHECKING:
    import pandas as pd

Rows = Sequence[Mapping[str, Any]]


def as_text(rows: Rows) -> str:
    """A line for each row below a line of headings, in columns."""
    if not rows:
        return ""
    texts = [list(rows[0]), *([_cell(v) for v in r.values()] for r in rows)]
    widths = [max(len(t[i]) for t in texts) for i in range(len(texts[0]))]
    return "\n".join("  ".join(t.ljust(w) for t, w in zip(line, widths, strict=True)).rstrip() for line in texts)


def as_html(rows: Rows) -> str:
    """A table for notebooks."""
    head = "".join(f"<th>{html.escape(k)}</th>" for k in (rows[0] if rows else {}))
    lines = ("".join(f"<td>{html.escape(_cell(v))}</td>" for v in r.values()) for r in rows)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def as_frame(rows: Rows) -> pd.DataFrame:
    """The rows as a pandas table."""
    import pandas as pd

    return pd.DataFrame([dict(r) for r in rows])


def _cell(value: Any) -> str:
    return format_number(value) if isinstance(value, float) else "" if value is None else str(value)
