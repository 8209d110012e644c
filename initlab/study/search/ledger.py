"""Optuna's record of a study: claims, finishes and restarts the trials of the arms.

An arm is an Optuna trial. All arms that a study is to have are enqueued at its start, with their parameters (a grid) or
without (a sampler decides when one is taken), so that any number of workers does exactly as many, and a study is
extended by enqueuing the difference. A worker that dies leaves its trial without a heartbeat; it is failed and enqueued
again, with the replicas that were done. A worker that was taken for dead by mistake, since it stood still, finds out
before its next update and lets go.
"""

from __future__ import annotations

import os
import socket
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from initlab.study.search.storage import exclusive
from initlab.study.search.trials import (
    ARM,
    CHOICES,
    DEATHS,
    DOOMED,
    FIRST,
    HOST,
    REASON,
    REPLICAS,
    RETRIED,
    SECONDS,
    SLOT,
    SWEEP,
    WORKER,
    current_trials,
    duplicate_trials,
    replicas_of,
)

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial, Trial, TrialState

#: a trial whose worker died is begun anew so many times
RETRIES = 3
#: what an attempt takes over from the one before it
_KEPT = (CHOICES, ARM, SWEEP, REPLICAS, DEATHS, DOOMED)


class Lost(Exception):  # noqa: N818  not an error: another worker has the arm
    """The trial was taken from this process, which had shown no sign of life for too long."""


# ------------------------------------------------------------------ what counts


def is_idle(study: Study, folder: Path) -> bool:
    """Whether no arm waits and none is worked on. Not fooled by one that is just being begun anew."""
    from optuna.trial import TrialState

    open_states = (TrialState.WAITING, TrialState.RUNNING)
    if any(t.state in open_states for t in current_trials(study)):
        return False
    with exclusive(study, folder):
        _mend(study)
        return not any(t.state in open_states for t in current_trials(study))


# ------------------------------------------------------------------ taking and ending
def claim(study: Study, *, endless: bool = False, most: int = 1, workers: int = 1) -> list[Trial]:
    """The next trials that wait, for this process; empty where none does. In an `endless` study there always is one.

    A trial bears a sign of life and its worker's name before it is called running: whenever this process dies,
    somebody will notice.

    Args:
        study: with the trials.
        endless: whether a trial is added where none waits.
        most: how many to take at most; never more than a fair share of those that wait.
        workers: that share them.
    """
    import optuna

    found = _take_waiting(study, most=most, workers=workers)
    if not found and endless:
        study.enqueue_trial({})
        found = _take_waiting(study, most=most, workers=workers)
    return [optuna.Trial(study, trial_id) for trial_id in found]


def _take_waiting(study: Study, *, most: int, workers: int) -> list[int]:
    """Ids of trials that waited, now running; the storage gives each to one process alone."""
    from optuna.exceptions import UpdateFinishedTrialError
    from optuna.trial import TrialState

    storage, own = storage_of(study), {WORKER: os.getpid(), HOST: socket.gethostname()}
    trials = study.get_trials(deepcopy=False)
    extra = duplicate_trials(trials)
    waiting = [t for t in trials if t.state == TrialState.WAITING]
    fair = max(1, min(most, -(-sum(t.number not in extra for t in waiting) // max(1, workers))))
    taken: list[int] = []
    for trial in waiting:
        trial_id = _id(trial)
        with suppress(UpdateFinishedTrialError):
            if trial.number in extra:
                storage.set_trial_user_attr(trial_id, REASON, "enqueued twice")
                storage.set_trial_state_values(trial_id, state=TrialState.FAIL)
                continue
            if len(taken) == fair:
                break
            storage.record_heartbeat(trial_id)
            for key, value in own.items():
                storage.set_trial_user_attr(trial_id, key, value)
            if storage.set_trial_state_values(trial_id, state=TrialState.RUNNING):
                named = storage.get_trial(trial_id).user_attrs
                for key, value in own.items():
                    if named.get(key) != value:  # another process wrote its own, and came too late
                        storage.set_trial_user_attr(trial_id, key, value)
                taken.append(trial_id)
    return taken


def finish(
    study: Study,
    trial: Trial,
    folder: Path,
    *,
    values: Sequence[float] | None,
    state: TrialState,
    reason: str,
    seconds: float,
) -> None:
    """Note what came of a trial.

    Raises:
        Lost: it is another worker's by now.
    """
    from optuna.exceptions import UpdateFinishedTrialError

    try:
        trial.set_user_attr(REASON, reason)
        trial.set_user_attr(SECONDS, seconds)
        with exclusive(study, folder):
            study.tell(trial, values, state=state, skip_if_finished=True)
    except UpdateFinishedTrialError as error:
        raise Lost from error


# ------------------------------------------------------------------ beginning anew
def begin_anew(study: Study, trial: FrozenTrial, folder: Path, *, died: bool) -> bool:
    """Fail a running trial whose worker is gone, or was asked to stop, and enqueue it again.

    Where its worker `died`, and so did others before, it is failed for good. False where somebody else was faster.
    """
    from optuna.exceptions import UpdateFinishedTrialError
    from optuna.trial import TrialState

    storage, trial_id = storage_of(study), _id(trial)
    with exclusive(study, folder):
        deaths = int(trial.user_attrs.get(DEATHS, 0)) + died
        try:
            storage.set_trial_user_attr(trial_id, DEATHS, deaths)
            if deaths > RETRIES:
                storage.set_trial_user_attr(trial_id, REASON, f"{deaths} workers died of it")
            storage.set_trial_state_values(trial_id, state=TrialState.FAIL)
        except UpdateFinishedTrialError:
            return False
        _mend(study)
    return True


def again(study: Study, trial: FrozenTrial) -> None:
    """Enqueue the arm of a trial that failed for good, in its place."""
    _enqueue(study, trial, keep=(CHOICES, ARM))


def mend(study: Study, folder: Path) -> None:
    """Enqueue what a process failed in order to begin it anew, and then died before it came to this."""
    with exclusive(study, folder):
        _mend(study)


def _mend(study: Study) -> None:
    from optuna.trial import TrialState

    for trial in current_trials(study):
        # an arm that raised an error has a reason
        if trial.state == TrialState.FAIL and not trial.user_attrs.get(REASON):
            _enqueue(study, trial, keep=_KEPT)


def _enqueue(study: Study, trial: FrozenTrial, *, keep: Sequence[str]) -> None:
    import optuna
    from optuna.trial import TrialState

    attrs = trial.system_attrs
    before = [*attrs.get(RETRIED, ()), trial.number]
    kept = {k: trial.user_attrs[k] for k in keep if k in trial.user_attrs} | {SLOT: f"again {trial.number}"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # heartbeats are called experimental
        study.add_trial(
            optuna.create_trial(
                state=TrialState.WAITING, params=trial.params, distributions=trial.distributions, user_attrs=kept,
                system_attrs={**attrs, FIRST: before[0], RETRIED: before},
                # a pruner has seen the replicas that are taken over
                intermediate_values=trial.intermediate_values if replicas_of(kept) else None,
            )
        )  # fmt: skip


def storage_of(study: Study) -> Any:
    """The storage behind Optuna's study."""
    return study._storage  # pyright: ignore[reportPrivateUsage]


def _id(trial: FrozenTrial) -> int:
    return trial._trial_id  # pyright: ignore[reportPrivateUsage]


# ------------------------------------------------------------------ arm_results
