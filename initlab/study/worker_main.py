"""A worker: takes the arms of a study one after another. `python -m initlab.study.worker_main FOLDER NUMBER`.

It ends when no arm waits or runs any more, when its time is up, on SIGTERM or SIGINT (the arm at hand is enqueued
again), and when the process that started it is gone.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path


def main(folder: Path, number: int, *, leader: int) -> int:
    """Work on the study kept in `folder` as its worker `number`, while the process `leader` lives (0 for nobody)."""
    import optuna
    import torch
    from optuna.trial import TrialState

    from initlab.study import ledger
    from initlab.study.arm import work_on
    from initlab.study.plan import load
    from initlab.study.pruners import pruner
    from initlab.study.samplers import sampler, stream

    plan = load(folder)
    if plan is None:
        print(f"initlab: {folder} holds no study", file=sys.stderr)
        return 2
    asked = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: asked.set())

    def stop() -> bool:
        return asked.is_set() or bool(leader and os.getppid() != leader)

    settings = plan.settings
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // settings.workers))
    study = optuna.load_study(
        study_name=plan.name,
        storage=ledger.open_storage(plan.storage),
        pruner=pruner(settings.pruner, epochs=plan.epochs, replicas=plan.replicas),
    )
    # draws go on where those of an earlier worker ended
    draws = stream(plan.seed, worker=number, trials=len(study.get_trials(deepcopy=False)))
    study.sampler = sampler(settings.sampler, seed=draws, workers=settings.workers)
    deadline = None if plan.seconds is None else time.monotonic() + plan.seconds
    while not stop() and (deadline is None or time.monotonic() < deadline):
        trial = ledger.claim(study, plan.folder)
        if trial is None:
            if not study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                return 0
            time.sleep(0.5)  # another worker may die and leave its arm to this one
            continue
        trial.set_user_attr(ledger.WORKER, os.getpid())
        work_on(study, trial, plan, stop=stop)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), leader=int(sys.argv[3]) if len(sys.argv) > 3 else 0))
