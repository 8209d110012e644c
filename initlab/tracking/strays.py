"""Runs that two processes trained to the end, since one of them was taken for dead: the record keeps one of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from pathlib import Path

from initlab.spec import TrackingSettings
from initlab.tracking.faults import StoreFaultError
from initlab.tracking.location import resolve_uri
from initlab.tracking.store import connect

WHY = "trained again: its worker had been taken for dead"


def end_strays(
    settings: TrackingSettings, *, workdir: Path, study: str, kept: Mapping[str, Collection[str]]
) -> tuple[int, str]:
    """Have the finished runs of `study` end as killed that are none of its record's.

    Args:
        settings: say which store.
        workdir: of the study.
        study: its name.
        kept: for each arm that may have such runs, the ids or uids of the runs that count. A seed that none of them
            is known of is left alone.

    Returns:
        How many there were, and why they could not be looked for, "" where they could.
    """
    if not settings.enabled or not kept:
        return 0, ""
    ended = 0
    try:
        store = connect(resolve_uri(settings, workdir), workdir=workdir)
        experiment = store.experiment(settings.experiment)
        for arm, ids in kept.items():
            found = store.finished_runs(experiment, {"initlab.study": study, "initlab.arm": arm})
            by_seed: dict[str, list[tuple[str, int, bool]]] = defaultdict(list)
            for run_id, time_ms, tags in found:
                by_seed[tags.get("seed", "")].append(
                    (run_id, time_ms, bool({run_id, tags.get("initlab.uid")} & set(ids)))
                )
            for runs in by_seed.values():
                if not any(counts for _, _, counts in runs):
                    continue
                for run_id, time_ms, counts in runs:
                    if not counts:
                        store.log(run_id, tags={"initlab.status": "killed", "initlab.stray": WHY})
                        store.end(run_id, status="KILLED", time_ms=time_ms)
                        ended += 1
    except StoreFaultError as fault:
        return ended, fault.reason
    return ended, ""
