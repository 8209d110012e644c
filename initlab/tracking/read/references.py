"""Names of runs and studies as people type them: ``last``, an id or name, or the beginning of one."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path

from initlab.errors import UnknownNameError
from initlab.spec import TrackingSettings
from initlab.tracking.read.records import KIND, STUDY
from initlab.tracking.store.client import connect
from initlab.tracking.store.faults import StoreFaultError
from initlab.tracking.store.location import readable_uri, sqlite_file

#: the latest run, or study
LAST = "last"
#: candidates that an error names
_LISTED = 8
#: fewest characters of the beginning of an id; a study's name may be any
SHORTEST_ID = 4


def resolve(asked: str, known: Mapping[str, str], *, key: str, shortest: int = 1) -> str:
    """The one of `known` that is meant by `asked`; `asked` itself where none is.

    Args:
        asked: ``last``, an id or a name, or the beginning of one.
        known: id or name → what an error says about it; the newest first.
        key: of the command line, for errors.
        shortest: fewest characters of a beginning.

    Raises:
        UnknownNameError: `asked` is the beginning of several; names them.
    """
    if asked in known:
        return asked
    if asked == LAST and known:
        return next(iter(known))
    begun = [name for name in known if name.startswith(asked)] if len(asked) >= shortest else []
    if len(begun) > 1:
        shown = ", ".join(f"{n} ({known[n]})" if known[n] else n for n in begun[:_LISTED])
        more = f", and {len(begun) - _LISTED} more" if len(begun) > _LISTED else ""
        raise UnknownNameError(f"{key}={asked}: is the beginning of {len(begun)}: {shown}{more}; type more of it")
    return begun[0] if begun else asked


def find_studies(asked: Sequence[str], settings: TrackingSettings, *, workdir: Path) -> tuple[str, ...]:
    """The names of the studies that are meant; those that the store does not have stay as they are.

    Raises:
        UnknownNameError: the beginning of several names.
    """
    if not asked:
        return ()
    known = dict.fromkeys(study_names(settings, workdir=workdir), "")
    return tuple(resolve(name, known, key="study") for name in asked)


def study_names(settings: TrackingSettings, *, workdir: Path) -> list[str]:
    """The studies of the store, the newest first; none where there is no store, or it cannot be read."""
    uri = readable_uri(settings, workdir)
    file = sqlite_file(uri)
    if file is None:
        try:
            store = connect(uri, workdir=workdir)
            runs = store.pages(list(store.experiment_names()), f"tags.`{KIND}` = 'study'", size=1000)
            begun = {str(r.data.tags.get(STUDY, "")): int(r.info.start_time or 0) for r in runs}
        except StoreFaultError:
            return []  # told by whoever reads the runs
        return sorted((name for name in begun if name), key=lambda name: -begun[name])
    if not file.exists():
        return []
    query = (
        "SELECT t.value FROM tags t JOIN runs r USING (run_uuid) JOIN tags k USING (run_uuid)"
        " WHERE t.key = ? AND k.key = ? AND k.value IN ('study', 'train') AND r.lifecycle_stage = 'active'"
        " GROUP BY t.value ORDER BY max(r.start_time) DESC"
    )
    with (
        contextlib.suppress(sqlite3.Error),
        contextlib.closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=30)) as database,
    ):
        return [str(row[0]) for row in database.execute(query, (STUDY, KIND)) if row[0]]
    return []
