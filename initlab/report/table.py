"""Writes and reads the profile as a Parquet file, one row a value, and aligns columns of text."""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from initlab.spec import Profile, ProfileRow


def write_parquet(profile: Profile, path: Path) -> None:
    """Columns: step (int64), site (string, "" for the network), order (int32), statistic (string), value (float64),
    position (int32: step of time or lag, -1 where there is none).

    The curves of the metrics are in the same table, with the metric's key as statistic and order -1.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [(r.step, r.site, r.order, r.statistic, r.value, r.position) for r in profile.rows]
    rows += [(s, "", -1, key, v, -1) for key, curve in profile.curves.items() for s, v in curve]
    step, site, order, statistic, value, position = zip(*rows, strict=True) if rows else ((),) * 6
    columns: dict[str, Any] = {
        "step": _numbers(step, pa.int64(), "q"),
        "site": _texts(site),
        "order": _numbers(order, pa.int32(), "i"),
        "statistic": _texts(statistic),
        "value": _numbers(value, pa.float64(), "d"),
        "position": _numbers(position, pa.int32(), "i"),
    }
    pq.write_table(pa.Table.from_arrays(list(columns.values()), names=list(columns)), path, compression="zstd")


def _numbers(values: Sequence[float], kind: Any, code: str) -> Any:
    """A column of numbers. `pa.array` would import pandas, half a second, to ask whether it has been given any."""
    import pyarrow as pa

    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(array(code, values).tobytes())])


def _texts(values: Sequence[str]) -> Any:
    """A column of texts, likewise."""
    import pyarrow as pa

    encoded = [v.encode("utf-8", "backslashreplace") for v in values]
    ends = array("i", itertools.accumulate((len(e) for e in encoded), initial=0))
    buffers = [pa.py_buffer(ends.tobytes()), pa.py_buffer(b"".join(encoded))]
    return pa.StringArray.from_buffers(len(values), *buffers)


def read_parquet(path: Path) -> Profile:
    """The profile that `write_parquet` wrote, without its histograms."""
    import pyarrow.parquet as pq

    rows: list[ProfileRow] = []
    curves: dict[str, list[tuple[int, float]]] = {}
    for r in pq.read_table(path).to_pylist():
        if r["order"] == -1 and not r["site"] and "/" in r["statistic"]:
            curves.setdefault(r["statistic"], []).append((r["step"], r["value"]))
        else:
            rows.append(ProfileRow(**r))
    return Profile(rows=tuple(rows), curves={k: tuple(v) for k, v in curves.items()})


def align_columns(head: Sequence[str], rows: Sequence[Sequence[str]], *, left: Collection[int] = (0,)) -> list[str]:
    """Formats rows of text in columns, two spaces apart: those of `left` left-aligned, the others right-aligned."""
    widths = [max(len(r[i]) for r in (head, *rows)) for i in range(len(head))]
    return [
        "  ".join(
            cell.ljust(w) if i in left else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (head, *rows)
    ]
