"""Append-only file of a run's profile: a killed run loses nothing and a resumed run continues it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from initlab.spec import Histogram, Profile, ProfileRow


class ProfileLog:
    """Collects rows, histograms and curves in memory and, where a path is given, in a file of JSON lines.

    `offset` marks a place in the file; opening with it cuts off what was written after a checkpoint was made.
    """

    def __init__(self, path: Path | None = None, *, offset: int = 0) -> None:
        self._rows: list[ProfileRow] = []
        self._histograms: list[Histogram] = []
        self._curves: dict[str, list[tuple[int, float]]] = {}
        self._file = None
        if path is not None:
            if path.exists():
                with path.open("r+b") as old:
                    old.truncate(min(offset, path.stat().st_size))
                self._read(path)
            self._file = path.open("ab")

    @property
    def offset(self) -> int:
        """Bytes written so far; flushed to the operating system."""
        if self._file is None:
            return 0
        self._file.flush()
        return self._file.tell()

    def rows(self, rows: Iterable[ProfileRow]) -> None:
        rows = tuple(rows)
        self._rows.extend(rows)
        if rows:
            self._append(["r", [[r.step, r.site, r.order, r.statistic, r.value, r.position] for r in rows]])

    def histograms(self, histograms: Iterable[Histogram]) -> None:
        for histogram in histograms:
            self._histograms.append(histogram)
            self._append(["h", asdict(histogram)])

    def curve(self, step: int, metrics: Mapping[str, float]) -> None:
        for key, value in metrics.items():
            self._curves.setdefault(key, []).append((step, value))
        self._append(["c", step, dict(metrics)])

    def profile(self) -> Profile:
        return Profile(
            rows=tuple(self._rows),
            histograms=tuple(self._histograms),
            curves={k: tuple(v) for k, v in self._curves.items()},
        )

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _append(self, entry: list[Any]) -> None:
        if self._file is not None:
            # NaN and Infinity are values here: a diverged layer is what the profile is for
            self._file.write(json.dumps(entry).encode() + b"\n")

    def _read(self, path: Path) -> None:
        with path.open("rb") as lines:
            for line in lines:
                try:
                    kind, *rest = json.loads(line)
                except ValueError:
                    continue  # a line that a crash cut
                if kind == "r":
                    self._rows.extend(
                        ProfileRow(step=a, site=b, order=c, statistic=d, value=e, position=f)
                        for a, b, c, d, e, f in rest[0]
                    )
                elif kind == "h":
                    fields: dict[str, Any] = rest[0]
                    fields["counts"] = tuple(fields["counts"])
                    self._histograms.append(Histogram(**fields))
                else:
                    for key, value in rest[1].items():
                        self._curves.setdefault(key, []).append((rest[0], value))
