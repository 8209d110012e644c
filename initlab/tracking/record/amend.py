"""Adds tags, and lines of the note, to a run that has ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from initlab.tracking.store.client import connect
from initlab.tracking.store.faults import StoreFaultError

_NOTE = "mlflow.note.content"
#: length of a tag value that every store accepts
_LONGEST = 5000


def annotate_run(uri: str, run_id: str, tags: Mapping[str, str], lines: Sequence[str], *, workdir: Path) -> str:
    """Set `tags` of the run, and append `lines` to its note, once; returns the reason of a failure, else ""."""
    try:
        store = connect(uri, workdir=workdir)
        note = store.run_tags(run_id)[2].get(_NOTE, "")
        added = "\n".join(f"- {_escape_markdown(line)}" for line in lines)
        text = note if added in note else f"{note}\n\n{added}".strip()
        store.log(run_id, tags={**{k: v[:_LONGEST] for k, v in tags.items()}, _NOTE: text})
    except StoreFaultError as fault:
        return fault.reason
    return ""


def _escape_markdown(line: str) -> str:
    """Escape `line` so that Markdown shows it literally, whatever names and values it contains."""
    return "".join(f"\\{c}" if c in r"\`*_{}[]<>#|!" else c for c in " ".join(line.split()))
