"""Workers as processes of this machine: started, watched, replaced when they die, ended together."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from initlab.study import ledger
from initlab.study.board import ArmResult
from initlab.study.plan import Plan

if TYPE_CHECKING:
    from optuna import Study

#: seconds between two looks at the study
_LOOK = 0.5
#: seconds that a worker has to end its arm after it was asked to
_PATIENCE = 60.0
#: a worker that dies is replaced so often, all workers together; more tells of a machine that kills them
_REPLACEMENTS = 10


def drive(
    study: Study, plan: Plan, *, stop: Callable[[], bool], look: Callable[[Sequence[ArmResult]], None]
) -> tuple[str, ...]:
    """Run the study's workers until nothing waits; `look` is shown the arms from time to time.

    Returns:
        Sentences about workers that died.
    """
    workers = [_start(plan, n) for n in range(plan.settings.workers)]
    told: list[str] = []
    replaced = 0
    try:
        while any(w.poll() is None for w in workers) and not stop():
            time.sleep(_LOOK)
            for number, worker in enumerate(workers):
                code = worker.poll()
                if code in (None, 0):
                    continue
                _release(study, worker.pid)
                replaced += 1
                if replaced > _REPLACEMENTS:
                    told.append(f"workers died {replaced} times; see {_log(plan, number)}")
                    return tuple(told)
                told.append(f"a worker died ({_cause(code)}); its arm is begun anew")
                workers[number] = _start(plan, number)
            look(ledger.results(study))
    finally:
        _end(workers)
        look(ledger.results(study))
    return tuple(told)


def _start(plan: Plan, number: int) -> subprocess.Popen[bytes]:
    threads = max(1, (os.cpu_count() or 1) // plan.settings.workers)
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), **_gpu(number)}
    paths = [str(Path(p).absolute()) if p else str(Path.cwd()) for p in sys.path]
    with _log(plan, number).open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "initlab.study.worker_main", str(plan.folder), str(number), str(os.getpid())],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=plan.workdir,
            # a session of its own: a Ctrl-C on the terminal is for this process, which then asks them to end
            start_new_session=True, env={**environment, "PYTHONPATH": os.pathsep.join(paths)},
        )  # fmt: skip


def _gpu(number: int) -> dict[str, str]:
    """One GPU a worker, in turn, where there are several and nobody chose."""
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        return {}
    import torch

    count = torch.cuda.device_count()
    return {"CUDA_VISIBLE_DEVICES": str(number % count)} if count > 1 else {}


def _log(plan: Plan, number: int) -> Path:
    return plan.folder / f"worker-{number}.log"


def _release(study: Study, pid: int) -> None:
    """Begin the arms of a dead worker anew at once, without waiting for their heartbeat to grow cold."""
    from optuna.trial import TrialState

    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if trial.user_attrs.get(ledger.WORKER) == pid:
            ledger.begin_anew(study, trial)


def _end(workers: Sequence[subprocess.Popen[bytes]]) -> None:
    """Ask for an end after the update at hand, and wait; what does not listen is killed."""
    for worker in workers:
        if worker.poll() is None:
            worker.terminate()
    deadline = time.monotonic() + _PATIENCE
    for worker in workers:
        try:
            worker.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()


def _cause(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
