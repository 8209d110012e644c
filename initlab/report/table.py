"""Writes and reads the profile as a Parquet file, one row a value, and aligns columns of text."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

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
    columns = list(zip(*rows, strict=True)) if rows else [[] for _ in range(6)]
    schema = pa.schema(
        [
            ("step", pa.int64()),
            ("site", pa.string()),
            ("order", pa.int32()),
            ("statistic", pa.string()),
            ("value", pa.float64()),
            ("position", pa.int32()),
        ]
    )
    table = pa.table([pa.array(c, t) for c, t in zip(columns, schema.types, strict=True)], schema=schema)
    pq.write_table(table, path, compression="zstd")


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
