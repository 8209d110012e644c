"""Finds checkpoints of losing arms: of studies that have ended, all but the best arms."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

from initlab import tracking
from initlab.compare.ending import ending_of
from initlab.compare.metric import choose_metric
from initlab.errors import ConfigError
from initlab.spec import CompareSettings, TrackingSettings
from initlab.study.space.plan import folder_of, load

if TYPE_CHECKING:
    from initlab.tracking import RunRecord

FOLDER = "checkpoints"


def find_losing_checkpoints(
    settings: TrackingSettings, workdir: Path, now: float, days: float, keep: int
) -> Iterator[tuple[Path, str]]:
    """Checkpoint folders in the artifacts of losing arms, each with the reason.

    Args:
        now: Unix time.
        days: minimum age, since the end of the study.
        keep: number of best arms whose checkpoints stay.
    """
    found = tracking.read_runs(settings, workdir=workdir)
    uids = {s.run_id for s in tracking.spools(workdir)}
    for study, parent in found.parents.items():
        own = [r for r in found.runs if r.tags.get("initlab.study") == study]
        ended = parent.ended_as == "FINISHED" and all(r.ended_as not in ("RUNNING", "SCHEDULED") for r in own)
        if not ended or parent.end_ms / 1000 > now - days * 86400 or uids & {r.run_id for r in [*own, parent]}:
            continue
        ranked = _rank_arms(study, parent, own, workdir)
        for arm in ranked[keep:]:
            for run in (r for r in own if r.tags.get("initlab.arm") == arm):
                yield Path(run.artifacts.removeprefix("file://")) / FOLDER, f"arm {arm} of study {study} lost"


def _rank_arms(study: str, parent: RunRecord, runs: Sequence[RunRecord], workdir: Path) -> list[str]:
    """Arms by the study's metric, best first; empty where the best is unknown."""
    plan = load(folder_of(workdir, study))
    metric = parent.params.get("metric", "").split(", ")[0]
    try:
        by = choose_metric(runs, CompareSettings(), metric=metric, direction="" if plan is None else plan.directions[0])
    except ConfigError:
        return []
    values: dict[str, list[float]] = {}
    for run in runs:
        mine = values.setdefault(run.tags.get("initlab.arm", ""), [])
        if ending_of(run) == "finished" and by.metric in run.metrics:
            mine.append(by.sign * run.metrics[by.metric])
    able = {arm for arm, numbers in values.items() if numbers}
    return sorted(values, key=lambda a: (a not in able, -mean(values[a]) if a in able else 0.0, a))
