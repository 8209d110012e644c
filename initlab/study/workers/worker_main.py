"""Worker process of a study: trains its arms one after another (initlab.study.workers.worker_main --wait LEADER).

It reads the study from its standard input, and ends at once where that closes without a line. Before that it may get
questions about arms (`checks`), which it answers on its standard output. Afterwards it ends when no arm waits or runs
any more, when its time is up, on SIGTERM or SIGINT (the current arm is enqueued again), and when the process that
started it has ended.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from initlab.core.exit import run_and_exit
from initlab.core.signals import handle_stop
from initlab.study.search.heartbeat import Reaper

if TYPE_CHECKING:
    from optuna import Study

    from initlab import tracking
    from initlab.study.space.plan import Plan

#: seconds between two searches for an arm that another worker left
_POLL_SECONDS = 0.5
#: seconds between two checks whether the leader is alive
_LEADER_CHECK_SECONDS = 0.05
#: seconds that a worker waits at its end for the delivery of its runs' records
_DELIVERY_SECONDS = 30.0
#: seconds to wait for the next question about an arm before importing more modules
_NEXT = 0.2
#: modules that an arm needs; the last ones only with probes
_FIRST = (
    "initlab.study.workers.arm", "optuna", "optuna.storages", "sqlalchemy.orm", "sqlalchemy.dialects.sqlite",
    "alembic.command", "initlab.study.search.pruners", "initlab.study.search.samplers", "pyarrow.parquet",
    "scipy.optimize",
)  # fmt: skip
#: exit codes: nothing left to do (or time is up), and stopped before that
DONE, STOPPED = 0, 1


def main(folder: Path, number: int, *, leader: int, storage: str | None = None) -> int:
    """Work on the study kept in `folder` as its worker `number`, while the process `leader` lives (0 for nobody).

    Args:
        folder: of the study.
        number: of the worker, which decides its sampler seed.
        leader: process id of the parent; the worker ends when the parent does.
        storage: URL of Optuna's database, where it differs from the one in the plan.

    Returns:
        The exit code: 0 where nothing is left, 1 on a signal, 2 where there is no study.
    """
    from initlab.study.space.plan import load

    plan = load(folder)
    if plan is None:
        print(f"initlab: {folder} holds no study", file=sys.stderr)
        return 2
    asked = threading.Event()
    handle_stop(lambda *_: asked.set())

    seen = 0.0

    def stop() -> bool:
        nonlocal seen
        if (
            leader and (now := time.monotonic()) - seen > _LEADER_CHECK_SECONDS
        ):  # called before every update, also of a tiny network
            seen = now
            if os.getppid() != leader:
                asked.set()
        return asked.is_set()

    return work(replace(plan, storage=storage or plan.storage), number, stop=stop)


def work(plan: Plan, number: int, *, stop: Callable[[], bool]) -> int:
    """Train arms until none is left or `stop` returns True; returns the exit code."""
    from initlab import tracking

    tail = tracking.ClosingRuns()
    try:
        return _arms(plan, number, stop=stop, tail=tail)
    finally:
        # the leader sends what does not arrive in time
        tail.wait_closed(_DELIVERY_SECONDS)


def _arms(plan: Plan, number: int, *, stop: Callable[[], bool], tail: tracking.ClosingRuns) -> int:
    import optuna
    import torch
    from optuna.exceptions import StorageInternalError

    from initlab.run.cohort import Cohorts
    from initlab.study.search import ledger, lock, storage
    from initlab.study.search.pruners import pruner
    from initlab.study.workers.arm import work_on
    from initlab.study.workers.cohort import arms_at_once
    from initlab.study.workers.worker_pool import threads

    settings, objectives = plan.settings, len(plan.metrics)
    torch.set_num_threads(threads(settings.workers))
    study = optuna.load_study(
        study_name=plan.name,
        storage=storage.open_storage(plan.storage),
        pruner=pruner(settings.pruner, epochs=plan.epochs, replicas=plan.replicas, objectives=objectives),
    )
    _set_sampler(study, plan, number)
    gc.collect()
    gc.freeze()  # modules stay loaded; scanning them at every collection costs a few percent of a tiny run
    reaper = Reaper()
    cohorts = Cohorts(setting=settings.cohort)
    deadline = None if plan.seconds is None else time.monotonic() + plan.seconds
    away: float | None = None
    while not stop() and (deadline is None or time.monotonic() < deadline):
        try:
            reaper.look(study, plan.folder)
            most = arms_at_once(plan, cohorts)
            trials = ledger.claim(study, endless=plan.endless, most=most, workers=settings.workers)
            if trials:
                work_on(study, trials, plan, stop=stop, tail=tail, cohorts=cohorts)
            elif ledger.is_idle(study, plan.folder):
                return DONE
            else:
                time.sleep(_POLL_SECONDS)  # another worker may die and leave its arm
            away = None
        except StorageInternalError:
            # a restarting server is back soon; the arm of this worker is restarted
            away = away or time.monotonic()
            if time.monotonic() - away > storage.PATIENCE:
                raise
            time.sleep(lock.HEARTBEAT)
    return STOPPED if stop() else DONE


def _set_sampler(study: Study, plan: Plan, number: int) -> None:
    """Set the sampler with a seed that continues where earlier workers ended."""
    from initlab.study.search.samplers import sampler, stream

    settings = plan.settings
    draws = stream(plan.seed, worker=number, trials=len(study.get_trials(deepcopy=False)))
    study.sampler = sampler(
        settings.sampler, seed=draws, workers=max(1, settings.workers), objectives=len(plan.metrics)
    )


def wait(leader: int) -> int:
    """Import what every arm needs, then run the study of the first input line; see `worker_pool`."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # output of libraries must not mix with answers
    asked = False
    while True:
        if not (asked and _has_input(_NEXT)):
            with suppress(Exception):  # the error occurs again later, when the log is known
                _preload_modules(until=_has_input)
        line = sys.stdin.buffer.readline()
        if not line:
            return DONE
        word = json.loads(line)
        if not (asked := "look" in word):
            break
        from initlab.study.workers.checks import answer

        answers.write(json.dumps(answer(word["look"])).encode() + b"\n")
        answers.flush()
    os.environ.update(word["environment"])
    nowhere, log = os.open(os.devnull, os.O_RDONLY), os.open(word["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for target, source in ((0, nowhere), (1, log), (2, log)):
        os.dup2(source, target)
    answers.close()
    _choose_gpu(int(word["number"]))
    return main(Path(word["folder"]), int(word["number"]), leader=leader)


def _choose_gpu(number: int) -> None:
    """Choose one GPU a worker, in turn, where there are several and none is configured; before CUDA is initialised."""
    if "CUDA_VISIBLE_DEVICES" not in os.environ:
        import torch

        count = torch.cuda.device_count()
        if count > 1:
            os.environ["CUDA_VISIBLE_DEVICES"] = str(number % count)


def _has_input(seconds: float = 0.0) -> bool:
    return bool(select.select([sys.stdin], [], [], seconds)[0])


def _preload_modules(*, until: Callable[[], bool]) -> None:
    """Import the modules of the first arm in order, until `until` returns True."""
    for name in _FIRST:
        if until():
            return
        importlib.import_module(name)


if __name__ == "__main__":
    run_and_exit(lambda: wait(int(sys.argv[2])))
