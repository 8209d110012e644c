"""Reads runs, params, metrics and curves from the tracking store.

A store in a SQLite file is read with plain SQL, one query a table, read-only and without importing MLflow, which takes
seconds and reads run by run. Every other store is read through MLflow's client, page by page. Both give the same.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Collection, Generator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from initlab.errors import ConfigError
from initlab.spec import TrackingSettings
from initlab.tracking.read.filters import Clause, filter_error, matches, parse_filter
from initlab.tracking.read.records import KIND, STUDY, Curve, Found, RunRecord, finite_metrics, status_of
from initlab.tracking.spool.metric_keys import stored_spellings
from initlab.tracking.store.client import Store, connect
from initlab.tracking.store.faults import StoreFaultError
from initlab.tracking.store.location import describe_location, is_server, readable_uri, sqlite_file

#: runs a page of MLflow's search, the most that it gives
_PAGE = 1000
#: runs a request of a metric's history, the most that a server takes, and the points that it gives at most
_HISTORIES, _POINTS = 100, 25_000
#: tags that are long and say nothing that is compared
_LONG = ("mlflow.note.content", "mlflow.log-model.history")


def read_runs(
    settings: TrackingSettings,
    *,
    workdir: Path,
    studies: Sequence[str] = (),
    experiments: Sequence[str] = (),
    words: str = "",
) -> Found:
    """The runs of `studies` (of all, where none is named) that `words`, a filter of MLflow's, lets pass.

    Runs that were trained to find a learning rate, and those that were trained twice by mistake, are left out.

    Raises:
        ConfigError: for a store that does not exist or does not answer, an unknown experiment, a filter that cannot be
            read.
    """
    uri = readable_uri(settings, workdir)
    asked = parse_filter(words) if words else ()
    try:
        file = sqlite_file(uri)
        if file is None:
            # a store cannot be asked for a metric that it has under several keys
            here = asked if any(c.kind == "metric" and len(stored_spellings(c.key)) > 1 for c in asked) else ()
            return _from_client(connect(uri, workdir=workdir), studies, experiments, "" if here else words, here)
        return _from_file(file, uri, studies, experiments, asked)
    except StoreFaultError as fault:
        if fault.kind == "refused" and words:
            raise filter_error(words, fault.reason) from fault
        raise _unreadable(uri, fault.reason) from fault


def read_curves(found: Found, runs: Sequence[RunRecord], key: str, *, workdir: Path) -> tuple[Mapping[str, Curve], str]:
    """Run id → all values of the metric `key`, and why there are none, "" where there are.

    Where a run has several values at one step, as after it was resumed, the latest stays.
    """
    file, ids = sqlite_file(found.uri), [r.run_id for r in runs]
    try:
        if file is None:
            store = connect(found.uri, workdir=workdir)
            rows = [r for k in stored_spellings(key) for r in _histories(store, found.uri, ids, k)]
        else:
            with _opened(file, found.uri) as database:
                rows = [r for k in stored_spellings(key) for r in _metric_rows(database, ids, k)]
    except StoreFaultError as fault:
        return {}, fault.reason
    points: dict[str, dict[int, tuple[int, float]]] = {}
    for run_id, step, time_ms, value in rows:
        at = points.setdefault(run_id, {})
        if step not in at or at[step][0] <= time_ms:
            at[step] = (time_ms, value)
    return {i: tuple((s, at[s][1]) for s in sorted(at)) for i, at in points.items()}, ""


def read_artifact(found: Found, run: RunRecord, name: str, *, workdir: Path) -> str:
    """The text of an artifact at the top of a run's, "" where it cannot be had."""
    file = sqlite_file(found.uri)
    if file is not None:
        # where the directory was moved, MLflow still names the old place
        moved = file.parent / "mlruns" / run.artifacts.rpartition("/mlruns/")[2]
        for place in (Path(run.artifacts), moved):
            with contextlib.suppress(OSError, UnicodeDecodeError):
                return (place / name).read_text(encoding="utf-8")
        return ""
    import tempfile

    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(StoreFaultError, OSError):
        if connect(found.uri, workdir=workdir).download(run.run_id, name, Path(folder)):
            return (Path(folder) / name).read_text(encoding="utf-8")
    return ""


def keep_files(found: Found, run_id: str, files: Iterable[Path], folder: str, *, workdir: Path) -> str:
    """Keep `files` as artifacts of a run that has ended; why that failed, "" where it did not."""
    try:
        store = connect(found.uri, workdir=workdir)
        for file in files:
            store.upload(run_id, file, folder)
    except StoreFaultError as fault:
        return fault.reason
    return ""


# ------------------------------------------------------------------ a SQLite file
def _from_file(
    file: Path, uri: str, studies: Sequence[str], experiments: Sequence[str], asked: Sequence[Clause]
) -> Found:
    with _opened(file, uri) as database:
        names = _names(database.execute("SELECT experiment_id, name FROM experiments WHERE lifecycle_stage = 'active'"))
        within = _within(names, experiments)
        marks = ",".join("?" * len(within))
        of_experiments = f"lifecycle_stage = 'active' AND experiment_id IN ({marks})"
        known: list[str] = [
            row[0]
            for row in database.execute(
                "SELECT DISTINCT t.value FROM tags t JOIN runs r USING (run_uuid) JOIN tags k USING (run_uuid)"
                f" WHERE t.key = ? AND k.key = ? AND k.value IN ('train', 'study') AND {of_experiments}",
                (STUDY, KIND, *within),
            )
        ]
        ids, values = f"SELECT run_uuid FROM runs WHERE {of_experiments}", list[Any](within)
        if studies:
            chosen = ",".join("?" * len(studies))
            ids += f" AND run_uuid IN (SELECT run_uuid FROM tags WHERE key = ? AND value IN ({chosen}))"
            values += [STUDY, *studies]
        ids += " AND run_uuid IN (SELECT run_uuid FROM tags WHERE key = ? AND value IN ('train', 'study'))"
        values.append(KIND)
        records = _records(database, ids, values, names)
    return _sorted_out(uri, records, studies, known, experiments=names.values(), asked=asked)


def _records(database: sqlite3.Connection, ids: str, values: list[Any], names: Mapping[str, str]) -> list[RunRecord]:
    """One query a table, joined here."""
    runs: list[tuple[Any, ...]] = database.execute(
        "SELECT run_uuid, name, status, start_time, end_time, experiment_id, artifact_uri FROM runs"
        f" WHERE run_uuid IN ({ids})",
        values,
    ).fetchall()
    params, tags = ({str(r[0]): dict[str, str]() for r in runs} for _ in range(2))
    metrics = {str(r[0]): dict[str, float]() for r in runs}
    for run_id, key, text in database.execute(
        f"SELECT run_uuid, key, value FROM params WHERE run_uuid IN ({ids})", values
    ):
        params.get(run_id, {})[key] = text  # a run that began after the first query is left out, here and below
    for run_id, key, text in database.execute(
        f"SELECT run_uuid, key, value FROM tags WHERE key NOT IN (?, ?) AND run_uuid IN ({ids})", [*_LONG, *values]
    ):
        tags.get(run_id, {})[key] = text
    for run_id, key, number in database.execute(
        f"SELECT run_uuid, key, value FROM latest_metrics WHERE NOT is_nan AND run_uuid IN ({ids})", values
    ):
        metrics.get(run_id, {})[key] = number
    data: dict[str, tuple[str, str]] = {
        run_id: (name, digest)
        for run_id, name, digest in database.execute(
            "SELECT i.destination_id, d.name, d.digest FROM inputs i JOIN datasets d ON d.dataset_uuid = i.source_id"
            f" WHERE i.source_type = 'DATASET' AND i.destination_type = 'RUN' AND i.destination_id IN ({ids})",
            values,
        )
    }
    return [
        RunRecord(
            run_id=run_id, name=name or "", experiment=names.get(str(experiment), ""),
            status=status_of(status, tags[run_id]), start_ms=start or 0, end_ms=end or 0, params=params[run_id],
            tags=tags[run_id], metrics=finite_metrics(metrics[run_id]), ended_as=status,
            dataset=data.get(run_id, ("", "")),
            artifacts=artifacts or "",
        )
        for run_id, name, status, start, end, experiment, artifacts in runs
    ]  # fmt: skip


def _metric_rows(database: sqlite3.Connection, ids: Sequence[str], key: str) -> list[tuple[str, int, int, float]]:
    """One query; the ids go in as one JSON text, since SQLite limits the number of variables."""
    return database.execute(
        "SELECT run_uuid, step, timestamp, value FROM metrics"
        " WHERE run_uuid IN (SELECT value FROM json_each(?)) AND key = ? AND NOT is_nan ORDER BY timestamp",
        (json.dumps(list(ids)), key),
    ).fetchall()


@contextlib.contextmanager
def _opened(file: Path, uri: str) -> Generator[sqlite3.Connection]:
    """A connection that cannot write, and makes no file where there is none."""
    if not file.exists():
        raise ConfigError("tracking.uri", uri, "there is no store here yet; train a run first: python -m initlab")
    try:
        with contextlib.closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=30)) as database:
            yield database
    except sqlite3.Error as error:
        raise ConfigError(
            "tracking.uri", uri, f"{describe_location(uri)} cannot be read as a store ({error})"
        ) from error


def _names(rows: Iterable[tuple[Any, Any]]) -> dict[str, str]:
    return {str(number): str(name) for number, name in rows}


# ------------------------------------------------------------------ MLflow's client
def _from_client(
    store: Store, studies: Sequence[str], experiments: Sequence[str], words: str, asked: Sequence[Clause]
) -> Found:
    names = store.experiment_names()
    within = _within(names, experiments)
    records: list[RunRecord] = []
    for kind in ("train", "study"):
        filters = [of_kind := f"tags.`{KIND}` = '{kind}'"]
        if studies and kind == "train":
            filters = [f"{of_kind} and tags.`{STUDY}` = '{_plain(name)}'" for name in studies]
        if kind == "train" and words:
            filters = [f"{text} and {words}" for text in filters]
        for text in filters:
            records += [_record(run, names) for run in store.pages(within, text, size=_PAGE)]
    known = {r.tags[STUDY] for r in records if STUDY in r.tags}
    return _sorted_out(store.uri, records, studies, known, experiments=names.values(), asked=asked)


def _record(run: Any, names: Mapping[str, str]) -> RunRecord:
    info, data = run.info, run.data
    tags = {str(k): str(v) for k, v in data.tags.items() if k not in _LONG}
    inputs = run.inputs.dataset_inputs if run.inputs is not None else []
    dataset = (str(inputs[-1].dataset.name), str(inputs[-1].dataset.digest)) if inputs else ("", "")
    return RunRecord(
        run_id=str(info.run_id), name=str(info.run_name or ""), experiment=names.get(str(info.experiment_id), ""),
        status=status_of(str(info.status), tags), start_ms=int(info.start_time or 0), end_ms=int(info.end_time or 0),
        params=dict(data.params), tags=tags, metrics=finite_metrics(data.metrics), ended_as=str(info.status),
        dataset=dataset,
        artifacts=str(info.artifact_uri or ""),
    )  # fmt: skip


def _histories(store: Store, uri: str, ids: Sequence[str], key: str) -> list[tuple[str, int, int, float]]:
    rows: list[tuple[str, int, int, float]] = []
    size, start = _HISTORIES, 0
    while start < len(ids):
        part = ids[start : start + size]
        found = store.histories(part, key, limit=_POINTS)
        if len(found) >= _POINTS and len(part) > 1 and is_server(uri):
            size = max(1, len(part) // 2)  # the server cut it off
            continue
        rows += found
        start += len(part)
    return rows


# ------------------------------------------------------------------ pieces of both
def _sorted_out(
    uri: str,
    records: Sequence[RunRecord],
    studies: Sequence[str],
    known: Iterable[str],
    *,
    experiments: Iterable[str],
    asked: Sequence[Clause] = (),
) -> Found:
    trained = [
        r for r in records
        if r.tags.get(KIND) == "train" and r.tags.get("initlab.tuning") != "true" and "initlab.stray" not in r.tags
        and all(matches(clause, r) for clause in asked)
    ]  # fmt: skip
    parents: dict[str, RunRecord] = {}
    for run in sorted(records, key=lambda r: r.start_ms):
        if run.tags.get(KIND) == "study" and (not studies or run.tags.get(STUDY) in studies):
            parents[run.tags.get(STUDY, "")] = run  # the latest, where the first was deleted or lost
    return Found(
        uri=uri, runs=sorted(trained, key=lambda r: (r.start_ms, r.run_id)), parents=parents,
        studies=tuple(sorted({*known, *parents})), experiments=tuple(sorted(experiments)),
    )  # fmt: skip


def _within(names: Mapping[str, str], experiments: Collection[str]) -> list[str]:
    missing = [e for e in experiments if e not in names.values()]
    if missing:
        known = ", ".join(sorted(names.values())) or "none"
        raise ConfigError("experiment", missing[0], f"no such experiment in the store; there are: {known}")
    return [number for number, name in names.items() if not experiments or name in experiments]


def _plain(name: str) -> str:
    if "'" in name:
        raise ConfigError("study", name, "the name of a study holds no quotes")
    return name


def _unreadable(uri: str, reason: str) -> ConfigError:
    return ConfigError("tracking.uri", describe_location(uri), f"the runs cannot be read: {reason}")
