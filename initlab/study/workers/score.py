"""Scores of an arm: the value of each run, and the mean or the bound over its seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import mean
from typing import TYPE_CHECKING

from initlab.spec import RunResult, RunStatus
from initlab.statistics.student import interval
from initlab.study.search.arms import Replica
from initlab.study.search.tune import describe_loss
from initlab.study.space.objectives import Metrics, collect_values, misses_target, select_values
from initlab.study.space.plan import Plan
from initlab.study.workers.watcher import Watcher

if TYPE_CHECKING:
    from optuna.trial import TrialState


def values_of(result: RunResult, watcher: Watcher, metrics: Metrics) -> tuple[tuple[float, ...] | None, RunStatus]:
    """What a run is judged by, and how it ended; without its numbers it has failed.

    One whose time to a target is asked for, and that did not reach it, is finished and has no values.
    """
    if result.status not in ("finished", "stopped"):
        return None, result.status
    found = collect_values(result, watcher.seen, watcher.parameters)
    if misses_target(found, metrics):
        return None, "finished"
    values = select_values(found, metrics)
    return values, result.status if values is not None or result.status != "finished" else "failed"


def replica_of(
    seed: int, values: tuple[float, ...] | None, status: RunStatus, run_id: str, start: float | None = None
) -> Replica:
    found = values or ()
    several = found if len(found) > 1 else ()
    value = found[0] if found else None
    return Replica(seed=seed, value=value, status=status, run_id=run_id, values=several, start=start)


def score_of(done: list[Replica], plan: Plan) -> tuple[tuple[float, ...] | None, TrialState, str]:
    """Of each metric the mean over the replicas, or the bound of its interval; an arm of which a replica diverged has
    no value."""
    from optuna.trial import TrialState

    lost = [r for r in done if r.value is None]
    if lost:
        words = ", ".join(sorted({describe_loss(r.status) for r in lost}))
        return None, TrialState.PRUNED, f"{words}: {len(lost)} of {len(done)} seeds"
    by_seed = [r.values or (r.value,) for r in done if r.value is not None]
    judged = tuple(
        _objective(values, plan, maximises=way == "maximize")
        for values, way in zip(zip(*by_seed, strict=True), plan.directions, strict=True)
    )
    return judged, TrialState.COMPLETE, ""


def _objective(values: Sequence[float], plan: Plan, *, maximises: bool) -> float:
    if plan.settings.objective == "mean" or len(values) < 2:
        return mean(values)
    found = interval(values)
    bound = found.low if maximises else found.high
    return bound if math.isfinite(bound) else found.mean
