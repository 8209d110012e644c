"""Exports the runs of a study from a store into a folder that another store can import."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from initlab.core import durable
from initlab.errors import ConfigError, one_of
from initlab.spec import TrackingSettings
from initlab.tracking.spool.spool import write_atomic
from initlab.tracking.store.client import Store, connect
from initlab.tracking.store.faults import StoreFaultError
from initlab.tracking.store.location import describe_location, mask_password, readable_uri, sqlite_file
from initlab.tracking.transfer.format import ARTIFACTS, FORMAT, MANIFEST, METRICS, RUN, Json, is_safe, read_manifest

STUDY = "initlab.study"
_PAGE = 500


def export_study(
    study: str,
    settings: TrackingSettings,
    *,
    workdir: Path,
    to: Path,
    say: Callable[[str], None] = lambda _line: None,
) -> tuple[int, int]:
    """Write all runs of `study`, its parent run included, into the folder `to`; numbers of runs and of metric points.

    A folder that has an earlier export of the same study is updated; each run in it is complete or absent.

    Raises:
        ConfigError: there is no such store or study, or `to` holds something else.
    """
    uri = readable_uri(settings, workdir)
    file = sqlite_file(uri)
    if file is not None and not file.exists():
        raise ConfigError("tracking.uri", uri, "there is no store here yet; train a run first: python -m initlab")
    _check_target(to, study)
    try:
        store = connect(uri, workdir=workdir)
        names = store.experiment_names()
        runs = list(store.pages(list(names), f"tags.`{STUDY}` = '{_check_study_name(study)}'", size=_PAGE))
        if not runs:
            raise ConfigError(
                "study", study, f"no such study in {describe_location(uri)}; {_list_studies(store, list(names))}"
            )
        to.mkdir(parents=True, exist_ok=True)
        points = 0
        for count, run in enumerate(runs, 1):
            points += _export(store, run, to, names)
            say(f"{count}/{len(runs)} {run.info.run_name}")
    except StoreFaultError as fault:
        raise ConfigError("tracking.uri", describe_location(uri), f"the runs cannot be read: {fault.reason}") from fault
    manifest = {
        "format": FORMAT,
        "study": study,
        "store": mask_password(uri),
        "runs": sorted(str(r.info.run_id) for r in runs),
    }
    write_atomic(to / MANIFEST, json.dumps(manifest, indent=1))
    return len(runs), points


def _check_target(to: Path, study: str) -> None:
    if to.is_dir() and any(to.iterdir()):
        # an interrupted export has no manifest yet, and nothing but runs
        if (to / MANIFEST).exists():
            other = str(read_manifest(to)["study"])
            if other != study:
                raise ConfigError("to", to, f"has an export of another study, {other}; choose another folder")
        elif {p.name for p in to.iterdir()} != {"runs"}:
            raise ConfigError("to", to, "is not empty and not an export; choose another folder")
    elif to.exists() and not to.is_dir():
        raise ConfigError("to", to, "is a file; name a folder")


def _list_studies(store: Store, experiments: list[str]) -> str:
    runs = store.pages(experiments, "tags.`initlab.kind` = 'study'", size=_PAGE)
    names = sorted({str(r.data.tags.get(STUDY, "")) for r in runs} - {""})
    return one_of(names) if names else "it has none"


def _check_study_name(study: str) -> str:
    if "'" in study or "\0" in study:
        raise ConfigError("study", study, "the name of a study must not contain quotes")
    return study


def _export(store: Store, run: Any, to: Path, experiments: dict[str, str]) -> int:
    """Export one run into a temporary folder, moved into place once complete; returns its number of metric points."""
    run_id = str(run.info.run_id)
    place = to / "runs" / run_id
    part = to / "runs" / f".{run_id}.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    points = 0
    with store.client() as client, (part / METRICS).open("w", encoding="utf-8") as lines:
        for key in sorted(run.data.metrics):
            for m in client.get_metric_history(run_id, key):
                lines.write(json.dumps([str(m.key), float(m.value), int(m.timestamp), int(m.step)]) + "\n")
                points += 1
    (part / RUN).write_text(json.dumps(_run_to_json(run, experiments), indent=1), encoding="utf-8")
    _fetch(store, run_id, part / ARTIFACTS)
    if place.exists():
        shutil.rmtree(place)
    for file in part.rglob("*"):
        if file.is_file():
            durable.sync_file(file)
    part.replace(place)
    durable.sync_folder(place.parent)
    return points


def _run_to_json(run: Any, experiments: dict[str, str]) -> Json:
    info, data = run.info, run.data
    inputs = run.inputs.dataset_inputs if run.inputs is not None else []
    return {
        "run_id": str(info.run_id),
        "name": str(info.run_name or ""),
        "experiment": experiments.get(str(info.experiment_id), "initlab"),
        "status": str(info.status),
        "start_ms": int(info.start_time or 0),
        "end_ms": int(info.end_time or 0),
        "params": dict(data.params),
        "tags": dict(data.tags),
        "datasets": [
            {
                **{k: getattr(i.dataset, k) for k in ("name", "digest", "source_type", "source", "schema", "profile")},
                "tags": {str(t.key): str(t.value) for t in i.tags},
            }
            for i in inputs
        ],
    }


def _fetch(store: Store, run_id: str, target: Path) -> None:
    """Download all artifacts of a run. Raises `refused` for a name that would lead out of `target`."""
    target.mkdir()
    with store.client() as client:
        waiting: list[str | None] = [None]
        top: list[str] = []
        while waiting:
            folder = waiting.pop()
            for info in client.list_artifacts(run_id, folder):
                name = str(info.path)
                if not is_safe(name):
                    raise StoreFaultError(
                        "refused", f"run {run_id} has an artifact with an unsafe name: {name[:200]!r}"
                    )
                if folder is None:
                    top.append(name)
                if info.is_dir:
                    waiting.append(name)
        for name in top:
            client.download_artifacts(run_id, name, str(target))
