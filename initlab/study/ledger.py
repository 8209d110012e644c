"""Optuna's record of a study: who takes which arm, what came of it, and what is still to be done.

An arm is an Optuna trial. All arms that a study is to have are enqueued at its start, with their parameters (a grid) or
without (a sampler decides when one is taken), so that any number of workers does exactly as many, and a study is
extended by enqueuing the difference. A worker that dies leaves its trial without a heartbeat; it is failed and enqueued
again.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from initlab.study.board import ArmResult, Replica

if TYPE_CHECKING:
    from collections.abc import Generator

    from optuna import Study
    from optuna.storages import RDBStorage
    from optuna.trial import FrozenTrial, Trial

#: seconds between heartbeats, and after which a trial without one is taken for dead
HEARTBEAT, GRACE = 5, 20
#: a trial whose worker died is begun anew so many times
RETRIES = 3
#: seconds that a locked database is waited for
PATIENCE = 100.0
ARM, CHOICES, REPLICAS, REASON, WORKER, SECONDS = "arm", "choices", "replicas", "reason", "worker", "seconds"
#: why an arm was called doomed that ran on all the same, to see whether it was
DOOMED = "doomed"


def open_storage(url: str) -> RDBStorage:
    """Optuna's database at `url`, made where it is absent, by one process at a time."""
    import optuna
    from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    arguments: dict[str, Any] = {"pool_pre_ping": True}
    lock = None
    if url.startswith("sqlite:///"):
        file = Path(url.removeprefix("sqlite:///"))
        file.parent.mkdir(parents=True, exist_ok=True)
        arguments["connect_args"] = {"timeout": PATIENCE}
        lock = FileLock(f"{file}.lock")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # heartbeats are called experimental
        if lock is None:
            return RDBStorage(
                url, engine_kwargs=arguments, heartbeat_interval=HEARTBEAT, grace_period=GRACE,
                heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(max_retry=RETRIES),
            )  # fmt: skip
        with lock:
            return RDBStorage(
                url, engine_kwargs=arguments, heartbeat_interval=HEARTBEAT, grace_period=GRACE,
                heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(max_retry=RETRIES),
            )  # fmt: skip


def superseded(trials: list[FrozenTrial]) -> set[int]:
    """Numbers of trials that were begun anew under another number."""
    from optuna.storages import RetryHeartbeatStaleTrialCallback

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = {RetryHeartbeatStaleTrialCallback.retried_trial_number(t) for t in trials}
    return {n for n in found if n is not None}


def current(study: Study) -> list[FrozenTrial]:
    """The trials that count: without those that were begun anew."""
    trials = study.get_trials(deepcopy=False)
    old = superseded(trials)
    return [t for t in trials if t.number not in old]


def claim(study: Study, folder: Path) -> Trial | None:
    """The next trial that waits, for this process; None where none does.

    The lock keeps two workers of one machine from taking the last one both.
    """
    from optuna.storages import fail_stale_trials
    from optuna.trial import TrialState

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with FileLock(folder / "claim.lock"):
            fail_stale_trials(study)
            if not study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
                return None
            return study.ask()


@contextmanager
def heartbeat(study: Study, trial: Trial) -> Generator[None]:
    """While open, the trial shows signs of life, so that nobody takes it for dead."""
    from optuna.storages._heartbeat import get_heartbeat_thread

    with get_heartbeat_thread(trial._trial_id, study._storage):  # pyright: ignore[reportPrivateUsage]
        yield


def begin_anew(study: Study, trial: FrozenTrial) -> None:
    """Fail a running trial whose worker is gone, or was asked to stop, and enqueue it again."""
    from optuna.exceptions import UpdateFinishedTrialError
    from optuna.storages import RetryHeartbeatStaleTrialCallback
    from optuna.trial import TrialState

    storage: Any = study._storage  # pyright: ignore[reportPrivateUsage]
    trial_id = trial._trial_id  # pyright: ignore[reportPrivateUsage]
    try:
        if storage.set_trial_state_values(trial_id, state=TrialState.FAIL):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                RetryHeartbeatStaleTrialCallback()(study, storage.get_trial(trial_id))
    except UpdateFinishedTrialError:
        pass  # somebody else was faster


def results(study: Study) -> list[ArmResult]:
    """Every trial that counts, in words that do not need Optuna."""
    return [_result(t) for t in current(study)]


def spared(study: Study) -> list[tuple[str, float]]:
    """(reason, objective) of the arms that were called doomed and ran on to their end all the same."""
    from optuna.trial import TrialState

    done = [t for t in current(study) if t.state == TrialState.COMPLETE and t.value is not None]
    return [(str(t.user_attrs[DOOMED]), float(t.value or 0.0)) for t in done if DOOMED in t.user_attrs]


def _result(trial: FrozenTrial) -> ArmResult:
    from optuna.trial import TrialState

    states: dict[TrialState, Any] = {
        TrialState.WAITING: "waiting", TrialState.RUNNING: "running", TrialState.COMPLETE: "complete",
        TrialState.PRUNED: "pruned", TrialState.FAIL: "failed",
    }  # fmt: skip
    attrs = trial.user_attrs
    choices: Mapping[str, str] = {
        k: _short(v) for k, v in (json.loads(attrs.get(CHOICES, "{}")) or planned(trial)).items()
    }
    return ArmResult(
        trial=trial.number,
        arm=str(attrs.get(ARM, "")),
        choices=choices,
        state=states[trial.state],
        value=trial.value if trial.state == TrialState.COMPLETE else None,
        replicas=tuple(Replica(**r) for r in json.loads(attrs.get(REPLICAS, "[]"))),
        reason=str(attrs.get(REASON, "")),
        seconds=float(attrs.get(SECONDS, 0.0)),
    )


def _short(text: str) -> str:
    """A number that a sampler drew, as far as a person wants to read it."""
    try:
        value = float(text)
    except ValueError:
        return text
    return f"{value:.4g}" if len(text) > len(f"{value:.4g}") + 2 else text


def planned(trial: FrozenTrial) -> dict[str, str]:
    """Parameters that a trial of a grid was enqueued with."""
    fixed = trial.system_attrs.get("fixed_params", {})
    return {str(k): str(v) for k, v in fixed.items()}
