"""Imports exported runs into a store: skips runs that are there, continues interrupted ones, duplicates none."""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from initlab.errors import ConfigError
from initlab.spec import TrackingSettings
from initlab.tracking.deliver.deliver import PARENT
from initlab.tracking.deliver.sender import METRICS_PER_BATCH
from initlab.tracking.spool.values import PARAM_LENGTH, TAG_LENGTH, batches, clean_key, truncate
from initlab.tracking.store.access import check_access
from initlab.tracking.store.client import Store, connect
from initlab.tracking.store.faults import StoreFaultError
from initlab.tracking.store.location import describe_location, readable_uri
from initlab.tracking.transfer.export import STUDY
from initlab.tracking.transfer.format import (
    ARTIFACTS,
    IMPORTED,
    METRICS,
    ORIGIN,
    RUN,
    Json,
    Point,
    artifact_files,
    fingerprint,
    read_json,
    read_manifest,
    read_points,
)

_ENDED = ("FINISHED", "FAILED", "KILLED")


@dataclass(frozen=True, kw_only=True)
class ImportResult:
    """Result of an import.

    Attributes:
        uri: of the store.
        added: runs that were missing or incomplete.
        known: runs that were there already.
        points: metric points that were sent.
    """

    uri: str
    study: str
    added: int
    known: int
    points: int


def import_runs(
    folder: Path,
    settings: TrackingSettings,
    *,
    workdir: Path,
    name: str | None = None,
    say: Callable[[str], None] = lambda _line: None,
) -> ImportResult:
    """Import the runs of an exported study into the store of `settings`, as study `name` where that is given.

    They get ids of the store's own; the tag ``initlab.origin`` holds the former one. A repeated import adds nothing.

    Raises:
        ConfigError: the folder is no export, or the store does not take it, or has another study of that name.
    """
    manifest = read_manifest(folder)
    study = name or str(manifest["study"])
    uri = readable_uri(settings, workdir)
    check_access(settings, workdir=workdir)
    # everything is read before anything is written
    runs = {str(i): _read_run(folder / "runs" / str(i), str(i)) for i in manifest["runs"]}
    parents = {i: str(run["tags"].get(PARENT, "")) for i, run in runs.items()}
    order = sorted(runs, key=lambda i: (parents[i] in runs, runs[i]["start_ms"], i))
    added = known = points = 0
    try:
        with _folder_lock(folder):
            store = connect(uri, workdir=workdir)
            here = _find_imported(store, study, runs)
            for count, run_id in enumerate(order, 1):
                parent = here.get(parents[run_id], ("", ""))[0]
                sent = _import(store, folder / "runs" / run_id, runs[run_id], study=study, parent=parent, here=here)
                added, known = (added, known + 1) if sent is None else (added + 1, known)
                points += sent or 0
                say(f"{count}/{len(order)} {runs[run_id]['name']}: {'already there' if sent is None else 'sent'}")
            if added:
                _settle(store, folder, runs, study=study)
    except Timeout:
        raise ConfigError("from", folder, "another process is importing it") from None
    except StoreFaultError as fault:
        raise ConfigError(
            "tracking.uri", describe_location(uri), f"the import stopped: {fault.reason}; the same command continues it"
        ) from fault
    return ImportResult(uri=uri, study=study, added=added, known=known, points=points)


@contextlib.contextmanager
def _folder_lock(folder: Path) -> Generator[None]:
    """While open, no other process imports `folder`, where it can be written to. Raises filelock's Timeout."""
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise
    except OSError:
        pass  # a folder that others share for reading
    try:
        yield
    finally:
        lock.release()


def _read_run(folder: Path, run_id: str) -> Json:
    """Read `run.json` and check the types of its parts."""
    run = read_json(folder / RUN)
    tables = [run.get("params"), run.get("tags")]
    numbers = [run.get("start_ms"), run.get("end_ms")]
    if (
        run.get("run_id") != run_id
        or not all(isinstance(t, dict) for t in tables)
        or not all(isinstance(n, int) for n in numbers)
        or not all(isinstance(run.get(k), str) for k in ("name", "experiment", "status"))
        or not isinstance(run.get("datasets"), list)
    ):
        raise ConfigError("from", folder / RUN, "is damaged: a part is missing or of another type")
    artifact_files(folder / ARTIFACTS)
    for _ in read_points(folder / METRICS):
        pass
    return run


def _find_imported(store: Store, study: str, runs: Mapping[str, Json]) -> dict[str, tuple[str, str]]:
    """Former id → (id here, fingerprint of what was imported), for the runs of the study in the store.

    Raises ConfigError where the store has a different study of that name.
    """
    found: dict[str, tuple[str, str]] = {}
    for run in store.pages(store.experiments(), _words(study), size=1000):
        tags, run_id = run.data.tags, str(run.info.run_id)
        origin = str(tags.get(ORIGIN, run_id))
        # the store that it was exported from has all of it
        found[origin] = (run_id, str(tags.get(IMPORTED, "")) if ORIGIN in tags else "own")
    if found and not set(found) & set(runs):
        raise ConfigError("as", study, "the store has another study of that name; give this one a new name: as=NAME")
    return found


def _import(
    store: Store, folder: Path, run: Json, *, study: str, parent: str, here: dict[str, tuple[str, str]]
) -> int | None:
    """Send one run; returns its number of points, None where the store has all of it."""
    mark = fingerprint(folder)
    run_id, imported = here.get(run["run_id"], ("", ""))
    if imported in ("own", mark):
        return None
    tags = {clean_key(k): truncate(str(v), TAG_LENGTH) for k, v in run["tags"].items() if k != PARENT}
    tags |= {STUDY: study, ORIGIN: run["run_id"]} | ({PARENT: parent} if parent else {})
    if not run_id:
        first = {key: tags[key] for key in (ORIGIN, STUDY)}
        run_id = store.create_run(
            store.experiment(run["experiment"]), name=run["name"], start_ms=run["start_ms"], tags=first
        )
        # until all of it is there: an import that fails leaves no run that seems to be running
        store.end(run_id, status="KILLED", time_ms=run["start_ms"])
        run_id = _agree(store, study, run["run_id"])
    here[run["run_id"]] = (run_id, "")
    for last in (False, False, True):
        try:
            return _send(store, folder, run, run_id, tags, mark=mark)
        except StoreFaultError as fault:
            # another process imports the same: it has kept its own run, or wrote the same row at the same moment
            kept = _agree(store, study, run["run_id"])
            if last or (kept == run_id and fault.kind != "refused"):
                raise
            here[run["run_id"]] = (run_id := kept, "")
            time.sleep(0.2)
    raise AssertionError("the last attempt returns or raises")


def _agree(store: Store, study: str, origin: str) -> str:
    """Id of the one run of `origin` that all processes keep which import it at the same time."""
    found = list(store.pages(store.experiments(), f"{_words(study)} and tags.`{ORIGIN}` = '{origin}'", size=100))
    if not found:
        raise StoreFaultError("gone", f"the run of {origin} is no longer there")
    return str(_keep(store, found).info.run_id)


def _keep(store: Store, found: list[Any]) -> Any:
    """The run of the lowest id; the others are deleted.

    Whoever sees another one deletes it, so that all agree in whatever order they look; what was sent to a run that is
    deleted is sent again to the one that is kept.
    """
    kept, *others = sorted(found, key=lambda run: str(run.info.run_id))
    for other in others:
        with contextlib.suppress(StoreFaultError), store.client() as client:  # deleted by another one already
            client.delete_run(str(other.info.run_id))
    return kept


def _words(study: str) -> str:
    return f"tags.`{STUDY}` = '{study.replace(chr(39), '')}'"


def _send(store: Store, folder: Path, run: Json, run_id: str, tags: Mapping[str, str], *, mark: str) -> int:
    """Send all of a run; what is there already stays. Returns its number of points."""
    for part in batches(tags):
        store.log(run_id, tags=part)
    for part in batches({clean_key(k): truncate(str(v), PARAM_LENGTH) for k, v in run["params"].items()}):
        store.log(run_id, params=part)
    points = 0
    for rows in _split_points(read_points(folder / METRICS)):
        store.log(run_id, metrics=rows)
        points += len(rows)
    _log_datasets(store, run_id, run["datasets"])
    for file, parent_folder in artifact_files(folder / ARTIFACTS):
        store.upload(run_id, file, parent_folder)
    # one that was running when it was exported does not run here
    ended = run["status"] in _ENDED
    store.end(run_id, status=run["status"] if ended else "KILLED", time_ms=max(run["end_ms"], run["start_ms"]))
    # written last: a run with this tag is complete
    store.log(run_id, tags={IMPORTED: mark})
    return points


def _settle(store: Store, folder: Path, runs: Mapping[str, Json], *, study: str) -> None:
    """Complete what another process, which imported the same meanwhile, has taken over, and name each run's parent."""
    there: dict[str, list[Any]] = defaultdict(list)
    for run in store.pages(store.experiments(), _words(study), size=1000):
        there[str(run.data.tags.get(ORIGIN, ""))].append(run)
    kept = {origin: _keep(store, there[origin]) for origin in runs if origin in there}
    here = {origin: (str(run.info.run_id), str(run.data.tags.get(IMPORTED, ""))) for origin, run in kept.items()}
    for origin, run in kept.items():
        parent = here.get(str(runs[origin]["tags"].get(PARENT, "")), ("", ""))[0]
        if parent and run.data.tags.get(PARENT) != parent:
            store.log(here[origin][0], tags={PARENT: parent})
        _import(store, folder / "runs" / origin, runs[origin], study=study, parent=parent, here=here)


def _split_points(points: Iterable[Point]) -> Iterable[list[Point]]:
    rows: list[Point] = []
    for point in points:
        rows.append(point)
        if len(rows) == METRICS_PER_BATCH:
            yield rows
            rows = []
    if rows:
        yield rows


def _log_datasets(store: Store, run_id: str, datasets: list[Any]) -> None:
    with store.client() as client:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        inputs = client.get_run(run_id).inputs
        known = {(i.dataset.name, i.dataset.digest) for i in (inputs.dataset_inputs if inputs is not None else [])}
        new = [d for d in datasets if (d.get("name"), d.get("digest")) not in known]
        made = [
            DatasetInput(
                Dataset(
                    **{k: str(d.get(k) or "") for k in ("name", "digest", "source_type", "source")},
                    schema=d.get("schema"),
                    profile=d.get("profile"),
                ),
                [InputTag(str(k), str(v)) for k, v in dict(d.get("tags") or {}).items()],
            )
            for d in new
        ]
        if made:
            try:
                client.log_inputs(run_id, made)
            except Exception:
                # two processes may add the same new data set at once: at the second attempt it exists
                client.log_inputs(run_id, made)
