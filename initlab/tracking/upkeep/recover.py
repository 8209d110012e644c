"""Makes a new header for a spool whose header, and the copy of it, are damaged: its records go to a recovered run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import yaml

from initlab.spec import RunHeader, TrackingSettings
from initlab.tracking.record.start import local_db
from initlab.tracking.spool import spool
from initlab.tracking.spool.spool import Json, SpoolHeader
from initlab.tracking.store.experiment import experiment_name
from initlab.tracking.store.location import resolve_uri

#: tag of such a run
RECOVERED = "initlab.recovered"


def recover_header(folder: Path, settings: TrackingSettings, *, workdir: Path) -> SpoolHeader:
    """Write a header made of what is left: the progress of the delivery, the configuration, the first record.

    A run that was begun in the store is found there again, by its id or its uid, and keeps what it has.

    Args:
        folder: of the spool, of which the lock is held.
        settings: of the store, where the former one is not known any more.
        workdir: working directory.

    Raises:
        ConfigError: for a store that cannot be used. OSError: the header cannot be written.
    """
    progress = _json(folder / spool.PROGRESS)
    uri = str(progress.get("uri") or resolve_uri(settings, workdir))
    config = _config(folder / spool.CONFIG)
    tracking = config.get("tracking")
    chosen: Mapping[str, Any] = cast("Mapping[str, Any]", tracking) if isinstance(tracking, dict) else {}
    first = next((line for _, line in spool.read_lines(folder / spool.RECORDS)), {})
    seed = config.get("seed")
    header = SpoolHeader(
        uid=folder.name,
        uri=uri,
        run=RunHeader(
            name=str(chosen.get("run_name") or f"recovered-{folder.name[:8]}"),
            experiment=str(chosen.get("experiment") or experiment_name(settings)),
            params={},
            tags={
                RECOVERED: "the header of the spool was damaged: parameters and some tags are lost",
                **({} if seed is None else {"seed": str(seed)}),
            },
            dataset=None,
            start_ms=int(first.get("time_ms") or folder.stat().st_mtime * 1000),
        ),
        local_db=local_db(uri, workdir),
    )
    spool.save_header(folder, header)
    return header


def _json(file: Path) -> Json:
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return cast("Json", value) if isinstance(value, dict) else {}


def _config(file: Path) -> Json:
    try:
        value = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return cast("Json", value) if isinstance(value, dict) else {}
