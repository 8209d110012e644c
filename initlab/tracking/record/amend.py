"""Adding to a run that has ended: tags, and lines to its note."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from initlab.tracking.store.client import connect
from initlab.tracking.store.faults import StoreFaultError

_NOTE = "mlflow.note.content"
#: characters of a tag's value that every store takes
_LONGEST = 5000


def mark_run(uri: str, run_id: str, tags: Mapping[str, str], lines: Sequence[str], *, workdir: Path) -> str:
    """Set `tags` of the run, and put `lines` at the end of its note, once; why that failed, "" where it did not."""
    try:
        store = connect(uri, workdir=workdir)
        note = store.run_tags(run_id)[2].get(_NOTE, "")
        added = "\n".join(f"- {_plain(line)}" for line in lines)
        text = note if added in note else f"{note}\n\n{added}".strip()
        store.log(run_id, tags={**{k: v[:_LONGEST] for k, v in tags.items()}, _NOTE: text})
    except StoreFaultError as fault:
        return fault.reason
    return ""


def _plain(line: str) -> str:
    """`line` as Markdown that shows what it says, whatever names and values it repeats."""
    return "".join(f"\\{c}" if c in r"\`*_{}[]<>#|!" else c for c in " ".join(line.split()))
