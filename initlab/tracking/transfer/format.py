"""Format of exported runs: a folder of JSON lines and plain files, without code and without pickle.

    FOLDER/
        export.json           manifest: format, study, store, experiment of each run, ids of the runs
        runs/ID/run.json      name, status, times, params, tags, data sets
        runs/ID/metrics.jsonl one point a line: key, value, time in ms, step
        runs/ID/artifacts/    its files
        optuna.json           the study's trials, where they could be read

A reader of such a folder must trust none of its names.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, cast

from initlab.errors import ConfigError

FORMAT = 1
MANIFEST, RUN, METRICS, ARTIFACTS, OPTUNA = "export.json", "run.json", "metrics.jsonl", "artifacts", "optuna.json"
#: tags: the id of the run in the store it was exported from, and the fingerprint of what was imported
ORIGIN, IMPORTED = "initlab.origin", "initlab.imported"
# MLflow's ids are 32 hex digits; those of older stores and of Databricks are not
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_LARGEST = 256 * 1024 * 1024

Json = dict[str, Any]
Point = tuple[str, float, int, int]


def is_safe(name: str) -> bool:
    """Whether an artifact name stays below its folder, on any operating system."""
    path = PurePosixPath(name)
    return bool(name) and not (
        path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name or ":" in path.parts[0]
    )


def read_manifest(folder: Path) -> Json:
    """Read the manifest of an export.

    Raises:
        ConfigError: `folder` is no export, has another format, or has run ids that lead out of it.
    """
    if not (folder / MANIFEST).is_file():
        raise ConfigError("from", folder, f"holds no {MANIFEST}; name a folder that `initlab export` has written")
    manifest = read_json(folder / MANIFEST)
    if manifest.get("format") != FORMAT:
        raise ConfigError(
            "from", folder, f"is of format {manifest.get('format')}, and this version reads {FORMAT}: update initlab"
        )
    runs, study = manifest.get("runs"), manifest.get("study")
    if not isinstance(runs, list) or not isinstance(study, str) or not study:
        raise ConfigError("from", folder / MANIFEST, "is damaged: it names no study or no runs")
    for run_id in cast("list[object]", runs):
        if not isinstance(run_id, str) or not _ID.fullmatch(run_id):
            raise ConfigError("from", folder / MANIFEST, f"names a run {str(run_id)[:80]!r}, which is no id")
    return manifest


def read_json(file: Path) -> Json:
    """Read a JSON object. Raises ConfigError where the file is a link, too large, or no object."""
    try:
        if file.is_symlink() or file.stat().st_size > _LARGEST:
            raise ConfigError("from", file, f"is a link, or larger than {_LARGEST >> 20} MiB")
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError("from", file, f"cannot be read: {type(error).__name__}: {error}") from error
    if not isinstance(value, dict):
        raise ConfigError("from", file, "is damaged: not a JSON object")
    return cast("Json", value)


def read_points(file: Path) -> Iterator[Point]:
    """The metrics of a run, in the order of the file. Raises ConfigError for an invalid line."""
    if not file.exists() or file.is_symlink():
        raise ConfigError("from", file, "is not there, or a link")
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                key, value, time_ms, step = json.loads(line)
                yield str(key), float(value), int(time_ms), int(step)
            except (ValueError, TypeError) as error:
                raise ConfigError("from", file, f"line {number} is no metric: {error}") from error


def artifact_files(folder: Path) -> list[tuple[Path, str]]:
    """Files below `folder` and, for each, the artifact folder it belongs to. Raises ConfigError for links."""
    found: list[tuple[Path, str]] = []
    for path in sorted(folder.rglob("*")) if folder.is_dir() else []:
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not is_safe(name):
            raise ConfigError("from", path, "is a link, or has a name that leads elsewhere")
        if path.is_file():
            parent = PurePosixPath(name).parent.as_posix()
            found.append((path, "" if parent == "." else parent))
    return found


def fingerprint(folder: Path) -> str:
    """Fingerprint of the content of one exported run."""
    hashed = hashlib.blake2b(digest_size=8)
    for name in (RUN, METRICS):
        hashed.update((folder / name).read_bytes() if (folder / name).is_file() else b"")
    for file, parent in artifact_files(folder / ARTIFACTS):
        hashed.update(f"{parent}/{file.name}:{file.stat().st_size}\n".encode())
    return hashed.hexdigest()
