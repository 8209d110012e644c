"""Runs that two processes trained to the end, since one of them was taken for dead: the record keeps one of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from initlab.spec import TrackingSettings
from initlab.tracking.store.client import Store, connect
from initlab.tracking.store.faults import StoreFaultError
from initlab.tracking.store.location import resolve_uri

WHY = "trained again: its worker had been taken for dead"


def end_strays(
    settings: TrackingSettings, *, workdir: Path, study: str, kept: Sequence[tuple[Sequence[int], Collection[str]]]
) -> tuple[int, str]:
    """Have the finished runs of `study` end as killed that are none of its record's.

    Args:
        settings: say which store.
        workdir: of the study.
        study: its name.
        kept: for each arm that may have such runs, the numbers of its trials, and the ids or uids of the runs that
            count. A seed that none of them is known of is left alone.

    Returns:
        How many there were, and why they could not be looked for, "" where they could.
    """
    if not settings.enabled or settings.offline or not kept:
        return 0, ""
    ended = 0
    try:
        store = connect(resolve_uri(settings, workdir), workdir=workdir)
        experiment = store.experiment(settings.experiment)
        for trials, ids in kept:
            for run_id, time_ms in _strays(store, experiment, study=study, trials=trials, ids=set(ids)):
                store.log(run_id, tags={"initlab.status": "killed", "initlab.stray": WHY})
                store.end(run_id, status="KILLED", time_ms=time_ms)
                ended += 1
    except StoreFaultError as fault:
        return ended, fault.reason
    return ended, ""


def _strays(
    store: Store, experiment: str, *, study: str, trials: Sequence[int], ids: set[str]
) -> list[tuple[str, int]]:
    """Id and end of the runs of one arm that do not count though another of their seed does."""
    counting: set[tuple[str, str]] = set()
    others: list[tuple[tuple[str, str], str, int]] = []
    for number in trials:
        for run_id, time_ms, tags in store.finished_runs(
            experiment, {"initlab.study": study, "initlab.trial": str(number)}
        ):
            key = tags.get("initlab.arm", ""), tags.get("seed", "")
            if ids & {run_id, tags.get("initlab.uid", run_id)}:
                counting.add(key)
            else:
                others.append((key, run_id, time_ms))
    return [(run_id, time_ms) for key, run_id, time_ms in others if key in counting]
