"""What must hold of a run in its store, whatever happened on the way: every record once, and a known end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from sqlalchemy import Engine, create_engine, text

from initlab.tracking import spools
from tests.reliability.client import ARTIFACT, KEYS, value
from tests.reliability.clients import RECORDS, Client


def violations(store: str, done: Client, *, ends: Sequence[str], exactly: bool = False) -> list[str]:
    """What does not hold of the client's run in the database `store` (an SQLAlchemy URL), after everything was sent.

    Args:
        store: the tracking store's database.
        done: the client.
        ends: the states in which its run may be.
        exactly: whether it said of every record that it was written; a killed one may have died before it could.
    """
    wrong: list[str] = []
    if done.refused:
        return [f"refused: {done.refused}"]
    if waiting := spools(done.workdir):
        wrong.append(f"{len(waiting)} spool(s) wait: {waiting[0].records} records")
    engine = create_engine(store)
    try:
        runs = _runs(engine, done.uid) if done.uid else []
        if not done.uid or (not runs and not done.acknowledged):
            return wrong  # struck before there was a run
        if len(runs) != 1:
            return [*wrong, f"{len(runs)} runs of one client"]
        run_id, status, artifacts = runs[0]
        found = {key: _points(engine, run_id, key) for key in KEYS}
        wrong += _doubts(found)
        counts = {len({step for step, _ in points}) for points in found.values()}
        last = max(counts)
        if len(counts) != 1:
            wrong.append(f"keys of one record are apart: {sorted(counts)}")
        if last < done.acknowledged or last > done.acknowledged + (0 if exactly else 1):
            wrong.append(f"{done.acknowledged} records were acknowledged, {last} arrived")
        if _tag(engine, run_id, "initlab.records") != str(last):
            wrong.append(f"initlab.records says {_tag(engine, run_id, 'initlab.records')}, {last} arrived")
        if status not in ends:
            wrong.append(f"ended as {status}")
        wrong += _artifacts(artifacts, done, finished=status == "FINISHED")
    finally:
        engine.dispose()
    return wrong


def _doubts(found: Mapping[str, list[tuple[int, float]]]) -> Iterator[str]:
    for key, points in found.items():
        steps = [step for step, _ in points]
        if len(set(steps)) != len(steps):
            yield f"{key}: {len(steps) - len(set(steps))} points doubled"
        if sorted(set(steps)) != list(range(len(set(steps)))):
            yield f"{key}: a gap in {len(steps)} points"
        if any(v != value(key, step) for step, v in points):
            yield f"{key}: a value is another"


def _runs(engine: Engine, uid: str) -> list[tuple[str, str, str]]:
    query = (
        "SELECT r.run_uuid, r.status, r.artifact_uri FROM runs r JOIN tags t ON t.run_uuid = r.run_uuid"
        " WHERE t.key = 'initlab.uid' AND t.value = :uid"
    )
    with engine.connect() as connection:
        return [(str(a), str(b), str(c)) for a, b, c in connection.execute(text(query), {"uid": uid})]


def _points(engine: Engine, run_id: str, key: str) -> list[tuple[int, float]]:
    query = "SELECT step, value FROM metrics WHERE run_uuid = :run AND key = :key"
    with engine.connect() as connection:
        return [(int(a), float(b)) for a, b in connection.execute(text(query), {"run": run_id, "key": key})]


def _tag(engine: Engine, run_id: str, key: str) -> str:
    with engine.connect() as connection:
        found = connection.execute(
            text("SELECT value FROM tags WHERE run_uuid = :run AND key = :key"), {"run": run_id, "key": key}
        ).scalar()
    return str(found)


def _artifacts(uri: str, done: Client, *, finished: bool) -> list[str]:
    """Of those that the round can reach: the folder of an embedded store, or of a server on this machine."""
    if uri.startswith("mlflow-artifacts:"):
        return []  # behind the server; its own tests look there
    folder = Path(uri.removeprefix("file://"))
    folder = folder if folder.is_absolute() else done.workdir / folder
    wrong: list[str] = []
    if not (folder / "config.yaml").is_file() or (folder / "config.yaml").read_text() != ARTIFACT:
        wrong.append("config.yaml is not there as it was")
    if finished and (not (folder / "last.txt").is_file() or (folder / "last.txt").read_text() != str(RECORDS)):
        wrong.append("the last artifact is not there as it was")
    return wrong
