"""Reads records and events of a spool into rows and tags of the store."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from initlab.errors import StoreError
from initlab.tracking.spool.metric_keys import digits_of, order, stored_key
from initlab.tracking.spool.spool import Json, Progress
from initlab.tracking.spool.values import (
    MLFLOW_STATUS,
    TAG_LENGTH,
    clean_key,
    truncate,
)
from initlab.tracking.store.client import MetricRow


class Reading:
    """Records that were read, and are not sent yet.

    Attributes:
        rows: the finite metrics among them, under the keys of the store.
        offset: of the end of the last one in its file.
        records: how many the run has up to there.
        nonfinite: how many values of them are not finite.
    """

    def __init__(self, progress: Progress, layers: Sequence[str] = ()) -> None:
        self.rows: list[MetricRow] = []
        self._layers, self._digits = frozenset(layers), digits_of(layers)
        self._keys: dict[str, str] = {}
        self.offset, self.records, self.nonfinite = progress.offset, progress.records, progress.nonfinite

    def add(self, end: int, line: Json) -> None:
        self.rows += [
            (self._key(key), float(value), int(line["time_ms"]), int(line["step"]))
            for key, value in line["metrics"].items()
            if math.isfinite(value)
        ]
        self.offset, self.records = end, max(self.records, int(line["serial"]) + 1)
        self.nonfinite += len(line.get("nonfinite", ()))

    def _key(self, key: str) -> str:
        if (known := self._keys.get(key)) is None:
            known = self._keys[key] = clean_key(stored_key(key, self._layers, self._digits))
        return known

    def sorted_rows(self) -> list[MetricRow]:
        """The metrics with the scores first: MLflow's comparisons begin with the metric that a run got first."""
        return sorted(self.rows, key=lambda row: order(row[0]))

    def into(self, progress: Progress) -> None:
        """They were sent."""
        progress.offset, progress.records, progress.nonfinite = self.offset, self.records, self.nonfinite
        self.rows = []


def tags_of(events: Sequence[Json]) -> dict[str, str]:
    """What the tags among the events say, the last word of each."""
    tags: dict[str, str] = {}
    for event in events:
        if event["kind"] == "tags":
            tags |= {clean_key(key): truncate(str(value), TAG_LENGTH) for key, value in event["tags"].items()}
    return tags


def end_tags(event: Json, progress: Progress, folder: Path) -> dict[str, str]:
    """The tags of a run whose records are all sent."""
    word = str(event["status"])
    if word not in MLFLOW_STATUS:
        raise StoreError(f"{folder}: unknown status {word}")
    tags = {"initlab.status": word, "initlab.records": str(progress.records)}
    if progress.nonfinite:
        tags["initlab.nonfinite"] = str(progress.nonfinite)
    return tags
