"""Writes metrics, params and tags of a run into a SQLite store in one transaction, by MLflow's own tables.

MLflow's `log_batch` makes an object of each value and asks for each of its keys: 0.1 s of CPU for the values of a small
run. The rows are the same, and what it would refuse is left to it. A store of another kind is never written this way.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

#: what MLflow takes as a key, in every version so far, and lengths
_KEY = re.compile(r"[/\w.\- :]*\Z")
_LONGEST_KEY, _LONGEST_VALUE = 250, 6000
#: this tag is an attribute of the run, which `log_batch` changes too
_NAME = "mlflow.runName"
#: keys a query
_KEYS = 500


def write(
    client: Any,
    run_id: str,
    *,
    metrics: Sequence[tuple[str, float, int, int]],
    params: Mapping[str, str],
    tags: Mapping[str, str],
) -> bool:
    """Add what is not there yet; rows that exist stay as they are.

    Args:
        client: MLflow's, of a SQLite store.
        run_id: of the run.
        metrics: (key, value, time in ms, step).
        params: of the run. tags: which replace those of the same key.

    Returns:
        False, with nothing written, where the plain call has to decide: a run that is not active, a param that has
        another value there, a key that MLflow may refuse, or tables unlike those that are known.
    """
    store = getattr(getattr(client, "_tracking_client", None), "store", None)
    session_of, sanitize = getattr(store, "ManagedSessionMaker", None), getattr(store, "sanitize_metric_value", None)
    if session_of is None or sanitize is None or _NAME in tags:
        return False
    if not all(map(_is_plain, {*params, *tags, *{m[0] for m in metrics}})):
        return False
    if any(len(v) > _LONGEST_VALUE for v in (*params.values(), *tags.values())):
        return False
    try:
        from mlflow.store.tracking.dbmodels.models import SqlLatestMetric, SqlMetric, SqlParam, SqlRun, SqlTag
        from sqlalchemy import select
        from sqlalchemy.dialects.sqlite import insert
    except ImportError:
        return False
    with session_of(read_only=False) as session:
        stage = session.execute(select(SqlRun.lifecycle_stage).where(SqlRun.run_uuid == run_id)).scalar()
        if stage != "active":
            return False
        if params:
            there = dict(session.execute(select(SqlParam.key, SqlParam.value).where(SqlParam.run_uuid == run_id)).all())
            if any(there.get(k, v) != v for k, v in params.items()):
                return False
            new = [{"run_uuid": run_id, "key": k, "value": v} for k, v in params.items() if k not in there]
            if new:
                session.execute(insert(SqlParam).on_conflict_do_nothing(), new)
        if tags:
            adding = insert(SqlTag)
            changing = adding.on_conflict_do_update(
                index_elements=["key", "run_uuid"], set_={"value": adding.excluded.value}
            )
            session.execute(changing, [{"run_uuid": run_id, "key": k, "value": v} for k, v in tags.items()])
        if metrics:
            rows = [_row(run_id, metric, *sanitize(metric[1])) for metric in metrics]
            session.execute(insert(SqlMetric).on_conflict_do_nothing(), rows)
            latest = _later(session, select, SqlLatestMetric, run_id, rows)
            if latest:
                adding = insert(SqlLatestMetric)
                values = {k: getattr(adding.excluded, k) for k in ("value", "timestamp", "step", "is_nan")}
                session.execute(adding.on_conflict_do_update(index_elements=["key", "run_uuid"], set_=values), latest)
    return True


def _is_plain(key: str) -> bool:
    """Whether MLflow certainly takes the key; of others it says itself what is wrong."""
    return (
        0 < len(key) <= _LONGEST_KEY and _KEY.match(key) is not None and key[0] != "/"
        and not {"", ".", ".."} & set(key.split("/"))
    )  # fmt: skip


def _row(run_id: str, metric: tuple[str, float, int, int], is_nan: bool, value: float) -> dict[str, Any]:
    key, _, time_ms, step = metric
    return {"run_uuid": run_id, "key": key, "value": value, "timestamp": time_ms, "step": step, "is_nan": is_nan}


def _later(session: Any, select: Any, table: Any, run_id: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The row of each key that is later than the one which the store calls the latest, by step, time and value."""
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        before = found.get(row["key"])
        if before is None or _order(row) > _order(before):
            found[row["key"]] = row
    keys = list(found)
    for start in range(0, len(keys), _KEYS):
        asked = select(table.key, table.step, table.timestamp, table.value)
        asked = asked.where(table.run_uuid == run_id, table.key.in_(keys[start : start + _KEYS]))
        for key, step, time_ms, value in session.execute(asked):
            if (step, time_ms, value) >= _order(found[key]):
                del found[key]
    return list(found.values())


def _order(row: dict[str, Any]) -> tuple[int, int, float]:
    return row["step"], row["timestamp"], row["value"]
