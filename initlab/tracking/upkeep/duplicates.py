"""Duplicate runs of a study: one arm and seed trained twice because a worker was thought dead. Ends surplus ones."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from initlab.spec import TrackingSettings
from initlab.tracking.store.client import Store, connect
from initlab.tracking.store.experiment import experiment_name
from initlab.tracking.store.faults import StoreFaultError
from initlab.tracking.store.location import resolve_uri

WHY = "trained again: its worker had been taken for dead"


def end_duplicates(
    settings: TrackingSettings, *, workdir: Path, study: str, kept: Sequence[tuple[Sequence[int], Collection[str]]]
) -> tuple[int, str]:
    """Set the surplus finished runs of `study` to killed: those that its Optuna record does not count.

    Args:
        settings: of the store.
        workdir: working directory of the study.
        study: its name.
        kept: for each arm that may have such runs, the numbers of its trials, and the ids or uids of the runs that
            count. A seed without any such run is left alone.

    Returns:
        Their number, and why the search for them failed ("" where it did not).
    """
    if not settings.enabled or settings.offline or not kept:
        return 0, ""
    ended = 0
    try:
        store = connect(resolve_uri(settings, workdir), workdir=workdir)
        experiment = store.experiment(experiment_name(settings))
        for trials, ids in kept:
            for run_id, time_ms in _find_duplicates(store, experiment, study=study, trials=trials, ids=set(ids)):
                store.log(run_id, tags={"initlab.status": "killed", "initlab.stray": WHY})
                store.end(run_id, status="KILLED", time_ms=time_ms)
                ended += 1
    except StoreFaultError as fault:
        return ended, fault.reason
    return ended, ""


def _find_duplicates(
    store: Store, experiment: str, *, study: str, trials: Sequence[int], ids: set[str]
) -> list[tuple[str, int]]:
    """Id and end time of the runs of one arm that do not count while another run of the same seed does."""
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
