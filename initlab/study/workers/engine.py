"""Leader of a study's workers: starts them, watches them, replaces those that die, ends them.

The engine decides where they run: `local_engine` starts them as processes of this machine, `ray_engine` as actors of
Ray. Workers that join from elsewhere (`initlab worker`) are not watched; dead ones show by their missing heartbeat.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from initlab.study.search import ledger, storage
from initlab.study.search.arms import ArmResult
from initlab.study.search.heartbeat import Reaper, release
from initlab.study.search.trials import arm_results
from initlab.study.space.plan import Plan
from initlab.study.workers import local_engine
from initlab.study.workers.worker import StartWorker, Worker

if TYPE_CHECKING:
    from optuna import Study

#: seconds between two updates of the state of the study
_POLL_SECONDS = 0.5
#: seconds that a worker has for ending its arm after a stop request
_PATIENCE = 60.0
#: seconds that workers have for noticing themselves that nothing is left
_IDLE_SECONDS = 5.0
#: maximum number of replacements of dead workers, all together; more deaths mean that the machine kills them
_REPLACEMENTS = 10


def drive(
    study: Study, plan: Plan, *, stop: Callable[[], bool], look: Callable[[Sequence[ArmResult]], None]
) -> tuple[str, ...]:
    """Run the study's workers until no arm waits; `look` is called with the arms from time to time.

    Without workers of its own (``study.workers=0``) a leader waits for those that join.

    Returns:
        Sentences about workers that died.
    """
    with _engine(plan) as hire:
        workers: list[Worker] = []
        told: list[str] = []
        try:
            workers += [hire(n) for n in range(plan.settings.workers)]
            _watch(study, plan, workers, hire, told, stop=stop, look=look)
        finally:
            _end(study, plan, workers)
            look(arm_results(study))
    return tuple(told)


def check(plan: Plan) -> None:
    """Raises ConfigError where the plan's engine cannot work here. Starts nothing."""
    if plan.settings.engine == "ray":
        from initlab.study.workers import ray_engine

        ray_engine.check(plan)


def _engine(plan: Plan) -> AbstractContextManager[StartWorker]:
    if plan.settings.engine == "ray":
        from initlab.study.workers import ray_engine

        return ray_engine.actors(plan)
    return local_engine.processes(plan)


def _watch(
    study: Study,
    plan: Plan,
    workers: list[Worker],
    hire: StartWorker,
    told: list[str],
    *,
    stop: Callable[[], bool],
    look: Callable[[Sequence[ArmResult]], None],
) -> None:
    from optuna.exceptions import StorageInternalError

    reaper, replaced, begun = Reaper(), 0, time.monotonic()
    idle: float | None = None
    away: float | None = None
    while not stop():
        endings = [w.ended() for w in workers]
        if workers and all(e == "" for e in endings):
            return
        try:
            for number, ending in enumerate(endings):
                if not ending:
                    continue
                _release(study, plan, workers[number])
                replaced += 1
                if replaced > _REPLACEMENTS:
                    told.append(f"workers died {replaced} times; see {workers[number].log}")
                    return
                told.append(f"a worker died ({ending}); its arm is restarted")
                workers[number] = hire(number)
            reaper.look(study, plan.folder)
            look(arm_results(study))
            # in an endless study the workers create their arms themselves
            going = plan.endless and time.monotonic() - begun < (plan.seconds or 0.0)
            if going or not ledger.is_idle(study, plan.folder):
                idle = None
            elif workers:
                idle = idle or time.monotonic()
                if time.monotonic() - idle > _IDLE_SECONDS:  # a worker was stopped, or could not be started
                    return
            else:
                return
            away = None
        except StorageInternalError:
            away = away or time.monotonic()
            if time.monotonic() - away > storage.PATIENCE:
                raise
        _pause(workers)


def _pause(workers: Sequence[Worker]) -> None:
    """Wait until the next update, or until a worker ends."""
    before = [w.ended() for w in workers]
    deadline = time.monotonic() + _POLL_SECONDS
    while time.monotonic() < deadline and [w.ended() for w in workers] == before:
        time.sleep(_POLL_SECONDS / 10)


def _release(study: Study, plan: Plan, worker: Worker) -> None:
    if worker.known_as is not None:
        pid, host = worker.known_as
        release(study, plan.folder, worker=pid, host=host)


def _end(study: Study, plan: Plan, workers: Sequence[Worker]) -> None:
    """Ask the workers to end after the current update, and wait; those that do not end are killed."""
    for worker in workers:
        if worker.ended() is None:
            worker.ask()
    deadline = time.monotonic() + _PATIENCE
    while any(w.ended() is None for w in workers) and time.monotonic() < deadline:
        time.sleep(0.1)
    for worker in workers:
        if worker.ended() is None:
            worker.kill()
        if worker.ended():
            _release(study, plan, worker)
