"""`python -m initlab list`: the runs and studies of the store, the newest first."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from initlab import config as configuration
from initlab import tracking
from initlab.cli.json_output import is_asked, print_json
from initlab.core.error_line import escape_control_characters
from initlab.errors import ConfigError, UnknownNameError, one_of
from initlab.report.note import SCORES
from initlab.report.table import align_columns
from initlab.tracking.store.links import served_at
from initlab.tracking.store.location import mask_password, sqlite_file

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from initlab.cli.arguments import Arguments
    from initlab.tracking import Found, RunRecord

#: fewest characters of an id that are shown; as many more as make it the only one
_SHORTEST = 8
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
#: characters of a name and of a verdict that are shown
_NAME, _VERDICT = 36, 24


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A line of the list.

    Attributes:
        kind: ``run`` or ``study``.
        id: of the run; of a study the one of its own run, empty where it has none yet.
        name: of the run or the study.
        study: that a run belongs to.
        status: ``finished``, ``diverged``, ``running``, ...
        verdict: of the diagnosis.
        score: in words, as the best of the parts that were scored.
        metric: of the score, and its `value`.
        runs: of a study; 1 for a run.
        started_ms: Unix time; 0 where it is not known.
    """

    kind: str
    id: str
    name: str
    study: str = ""
    status: str
    verdict: str = ""
    score: str = ""
    metric: str = ""
    value: float | None = None
    runs: int = 1
    started_ms: int = 0


def list_command(config: DictConfig, arguments: Arguments) -> int:
    """Print the latest runs and studies. 0 also where there is nothing yet.

    Raises:
        InitlabError: with exit code 2, for a study that does not exist, or a store that cannot be read.
    """
    as_json = is_asked(arguments)
    rows = _count(arguments.given.get("rows", "20"))
    settings = configuration.tracking_settings(config)
    if not settings.enabled:
        raise ConfigError("tracking", "none", "there is nothing to list without a store; leave out tracking=none")
    uri = tracking.resolve_uri(settings, Path.cwd())
    file = sqlite_file(uri)
    entries: list[Entry] = []
    study = ""
    if file is None or file.exists():
        found = tracking.read_runs(settings, workdir=Path.cwd())
        study = _study(arguments.given.get("study", ""), found, settings)
        entries = entries_of(found, study)
    elif arguments.given.get("study"):
        raise ConfigError("study", arguments.given["study"], "no such study; there is no store here yet")
    if as_json:
        print_json(
            "list", {"study": study or None, "total": len(entries), "entries": [asdict(e) for e in entries[:rows]]}
        )
        return 0
    place = tracking.describe_location(uri)
    if not entries:
        print(f"no runs in {place} yet")
        print("Next: python -m initlab task=image init=he   (trains one)")
        return 0
    for line in _table(entries, rows):
        print(escape_control_characters(line))
    if len(entries) > rows:
        print(f"… {len(entries) - rows} more (rows={len(entries)} lists all)")
    if base := served_at(uri, Path.cwd()):
        print(f"In MLflow: {mask_password(base)}   (a run: python -m initlab ui run=ID)")
    print(f"Next: {_next(entries, study)}")
    return 0


def entries_of(found: Found, study: str) -> list[Entry]:
    """The studies and the runs of no study, or the runs of `study`; the newest first."""
    if study:
        own = [_of_run(r) for r in found.runs if r.tags.get("initlab.study") == study]
        return sorted(own, key=lambda e: -e.started_ms)
    entries = [_of_run(r) for r in found.runs if not r.tags.get("initlab.study")]
    entries += [_of_study(name, found) for name in found.studies]
    return sorted(entries, key=lambda e: -e.started_ms)


def _of_run(run: RunRecord) -> Entry:
    metric, value = _score(run)
    part, _, key = metric.partition("/")
    return Entry(
        kind="run",
        id=run.run_id,
        name=run.name,
        study=run.tags.get("initlab.study", ""),
        status=run.status,
        verdict=run.tags.get("initlab.verdict", ""),
        score=f"{part} {SCORES[key]} {value:.4f}" if value is not None else "",
        metric=metric,
        value=value,
        started_ms=run.start_ms,
    )


def _of_study(name: str, found: Found) -> Entry:
    runs = [r for r in found.runs if r.tags.get("initlab.study") == name]
    parent = found.parents.get(name)
    begun = parent.start_ms if parent is not None else min((r.start_ms for r in runs), default=0)
    metric, value = _best(parent)
    return Entry(
        kind="study",
        id="" if parent is None else parent.run_id,
        name=name,
        status="running" if parent is None else parent.status,
        verdict="" if parent is None else parent.tags.get("initlab.verdict", ""),
        score="" if value is None else f"best {metric.replace('/', ' ')} {value:.4f}",
        metric=metric,
        value=value,
        runs=len(runs),
        started_ms=begun,
    )


def _score(run: RunRecord) -> tuple[str, float | None]:
    for part in ("test", "val"):
        for key in SCORES:
            if f"{part}/{key}" in run.metrics:
                return f"{part}/{key}", run.metrics[f"{part}/{key}"]
    return "", None


def _best(parent: RunRecord | None) -> tuple[str, float | None]:
    """Metric of a study and the value of its best arm."""
    if parent is None:
        return "", None
    value = parent.metrics.get("study/best")
    return (parent.params.get("metric", ""), value) if value is not None else ("", None)


def _study(asked: str, found: Found, settings: object) -> str:
    if not asked:
        return ""
    del settings
    newest = sorted(found.studies, key=lambda n: -found.parents[n].start_ms if n in found.parents else 0)
    name = tracking.resolve(asked, dict.fromkeys(newest, ""), key="study")
    if name not in found.studies:
        there = (
            one_of(found.studies, name) if found.studies else "there is none yet: python -m initlab -m init=he,xavier"
        )
        raise UnknownNameError(f"study={asked}: no such study; {there}")
    return name


def _count(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text[:9]) <= 10**6:
        raise ConfigError("rows", text, "must be a whole number from 1 to 1000000, such as rows=50")
    return int(text)


# ------------------------------------------------------------------ text
def _table(entries: Sequence[Entry], rows: int) -> list[str]:
    width = _id_width([e.id for e in entries if e.id])
    head = ["id", "kind", "name", "status", "verdict", "score", "age"]
    now = time.time()
    cells = [
        [
            e.id[:width],
            e.kind,
            _cut(f"{e.name} ({e.runs} runs)" if e.kind == "study" else e.name, _NAME),
            e.status,
            _cut(e.verdict, _VERDICT),
            e.score,
            format_age(now - e.started_ms / 1000) if e.started_ms else "",
        ]
        for e in entries[:rows]
    ]
    return list(align_columns(head, cells, left=(0, 1, 2, 3, 4, 5)))


def _id_width(ids: Sequence[str]) -> int:
    width = _SHORTEST
    while len({i[:width] for i in ids}) < len(set(ids)):
        width += 1
    return width


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def format_age(seconds: float) -> str:
    """A time span in its largest unit.

    Example:
        >>> format_age(5), format_age(600), format_age(7200), format_age(200000)
        ('5 s', '10 min', '2 h', '2 d')
    """
    for unit, size in (("d", _DAY), ("h", _HOUR), ("min", _MINUTE)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{max(0, int(seconds))} s"


def _next(entries: Sequence[Entry], study: str) -> str:
    if study:
        return f"python -m initlab compare study={study}"
    first = entries[0]
    if first.kind == "study":
        return f"python -m initlab compare study={first.name}   (or: initlab list study={first.name})"
    return f"python -m initlab explain run={first.id[: _id_width([e.id for e in entries if e.id])]}"
