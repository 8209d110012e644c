"""Optuna's record of a study: who takes which arm, what came of it, and what is still to be done.

An arm is an Optuna trial. All arms that a study is to have are enqueued at its start, with their parameters (a grid) or
without (a sampler decides when one is taken), so that any number of workers does exactly as many, and a study is
extended by enqueuing the difference. A worker that dies leaves its trial without a heartbeat; it is failed and enqueued
again, with the replicas that were done. A worker that was taken for dead by mistake, since it stood still, finds out
before its next update and lets go.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from initlab.study.search.arms import ArmResult, Replica
from initlab.study.search.storage import GRACE, HEARTBEAT, alone
from initlab.study.search.tune import Sweep

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial, Trial, TrialState

#: a trial whose worker died is begun anew so many times
RETRIES = 3
ARM, CHOICES, REPLICAS, REASON, SECONDS = "arm", "choices", "replicas", "reason", "seconds"
#: process id and machine of the worker that has the trial
WORKER, HOST = "worker", "host"
#: how many workers died of the arm
DEATHS = "deaths"
#: why an arm was called doomed that ran on all the same, to see whether it was
DOOMED = "doomed"
#: the learning rates that were tried for the arm, and the one that was chosen
SWEEP = "sweep"
#: what an attempt takes over from the one before it
_KEPT = (CHOICES, ARM, SWEEP, REPLICAS, DEATHS, DOOMED)
#: Optuna's names in a trial for the first of its attempts, and for all before it
_FIRST, _BEFORE = "failed_trial", "retry_history"


class Lost(Exception):  # noqa: N818  not an error: another worker has the arm
    """The trial was taken from this process, which had shown no sign of life for too long."""


# ------------------------------------------------------------------ what counts
def superseded(trials: Sequence[FrozenTrial]) -> set[int]:
    """Numbers of trials that were begun anew under another number."""
    return {n for t in trials for n in t.system_attrs.get(_BEFORE, ())}


def current(study: Study) -> list[FrozenTrial]:
    """The trials that count: without those that were begun anew."""
    trials = study.get_trials(deepcopy=False)
    old = superseded(trials)
    return [t for t in trials if t.number not in old]


def is_idle(study: Study, folder: Path) -> bool:
    """Whether no arm waits and none is worked on. Not fooled by one that is just being begun anew."""
    from optuna.trial import TrialState

    open_states = (TrialState.WAITING, TrialState.RUNNING)
    if study.get_trials(deepcopy=False, states=open_states):
        return False
    with alone(study, folder):
        _mend(study)
        return not study.get_trials(deepcopy=False, states=open_states)


# ------------------------------------------------------------------ taking and ending
def claim(study: Study, folder: Path, *, endless: bool = False) -> Trial | None:
    """The next trial that waits, for this process; None where none does. In an `endless` study there always is one.

    One process at a time, so that no two take the last one both. The trial bears a sign of life and its worker's name
    before it is called running: whenever this process dies, somebody will notice.
    """
    import optuna
    from optuna.trial import TrialState

    storage = _storage(study)
    with alone(study, folder):
        waiting = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        if endless and not waiting:
            study.enqueue_trial({})
            waiting = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        if not waiting:
            return None
        trial_id = _id(waiting[0])
        storage.record_heartbeat(trial_id)
        storage.set_trial_user_attr(trial_id, WORKER, os.getpid())
        storage.set_trial_user_attr(trial_id, HOST, socket.gethostname())
        storage.set_trial_state_values(trial_id, state=TrialState.RUNNING)
    return optuna.Trial(study, trial_id)


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
        with alone(study, folder):
            study.tell(trial, values, state=state, skip_if_finished=True)
    except UpdateFinishedTrialError as error:
        raise Lost from error


class Hold:
    """A trial that this process works on. While open it shows signs of life, so that nobody takes it for dead.

    A process that was stopped, or cut off from the storage, for longer than others wait has to ask first whether the
    trial is still its own: `lost` does, and is to be asked before every update.
    """

    def __init__(self, study: Study, trial: Trial) -> None:
        self._storage = _storage(study)
        self._trial_id = trial._trial_id  # pyright: ignore[reportPrivateUsage]
        self._one = threading.Lock()
        self._ended = threading.Event()
        self._lost = False
        self._asked = self._sure = time.monotonic()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Hold:
        self._look()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def lost(self) -> bool:
        """Whether somebody else has the trial."""
        now = time.monotonic()
        # the storage counts in whole seconds
        if not self._lost and now - self._sure > GRACE - 2 and now - self._asked > HEARTBEAT / 2:
            self._look()
        return self._lost

    def _beat(self) -> None:
        while not self._lost and not self._ended.wait(HEARTBEAT):
            self._look()

    def _look(self) -> None:
        from optuna.exceptions import OptunaError
        from optuna.trial import TrialState
        from sqlalchemy.exc import SQLAlchemyError

        with self._one:
            self._asked = time.monotonic()
            # a storage that is away tells nothing; it is asked again
            with suppress(OptunaError, SQLAlchemyError):
                self._storage.record_heartbeat(self._trial_id)
                self._lost = self._storage.get_trial(self._trial_id).state != TrialState.RUNNING
                self._sure = self._asked


# ------------------------------------------------------------------ beginning anew
def begin_anew(study: Study, trial: FrozenTrial, folder: Path, *, died: bool) -> bool:
    """Fail a running trial whose worker is gone, or was asked to stop, and enqueue it again.

    Where its worker `died`, and so did others before, it is failed for good. False where somebody else was faster.
    """
    from optuna.exceptions import UpdateFinishedTrialError
    from optuna.trial import TrialState

    storage, trial_id = _storage(study), _id(trial)
    with alone(study, folder):
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
    with alone(study, folder):
        _mend(study)


def _mend(study: Study) -> None:
    from optuna.trial import TrialState

    for trial in current(study):
        # an arm that raised an error has a reason
        if trial.state == TrialState.FAIL and not trial.user_attrs.get(REASON):
            _enqueue(study, trial, keep=_KEPT)


def _enqueue(study: Study, trial: FrozenTrial, *, keep: Sequence[str]) -> None:
    import optuna
    from optuna.trial import TrialState

    attrs = trial.system_attrs
    before = [*attrs.get(_BEFORE, ()), trial.number]
    kept = {k: trial.user_attrs[k] for k in keep if k in trial.user_attrs}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # heartbeats are called experimental
        study.add_trial(
            optuna.create_trial(
                state=TrialState.WAITING, params=trial.params, distributions=trial.distributions, user_attrs=kept,
                system_attrs={**attrs, _FIRST: before[0], _BEFORE: before},
                # a pruner has seen the replicas that are taken over
                intermediate_values=trial.intermediate_values if replicas_of(kept) else None,
            )
        )  # fmt: skip


class Reaper:
    """Begins the trials anew whose workers show no sign of life: those of other machines, or of a former session.

    A trial has to look dead twice, a heartbeat apart: after a locked database comes free, the living get to say so.
    """

    def __init__(self) -> None:
        self._suspects: dict[int, float] = {}
        self._looked = -float(HEARTBEAT)

    def look(self, study: Study, folder: Path) -> None:
        """At most once a heartbeat."""
        now = time.monotonic()
        if now - self._looked < HEARTBEAT:
            return
        self._looked = now
        storage = _storage(study)
        stale = set(storage._get_stale_trial_ids(study._study_id))  # pyright: ignore[reportPrivateUsage]
        self._suspects = {i: self._suspects.get(i, now) for i in stale}
        for trial_id, since in self._suspects.items():
            if now - since > HEARTBEAT - 1:
                begin_anew(study, storage.get_trial(trial_id), folder, died=True)


def release(study: Study, folder: Path, *, worker: int, host: str) -> None:
    """Begin the trials of a dead worker anew at once, without waiting for their heartbeat to grow cold."""
    from optuna.trial import TrialState

    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if (trial.user_attrs.get(WORKER), trial.user_attrs.get(HOST)) == (worker, host):
            begin_anew(study, trial, folder, died=True)


def replicas_of(attrs: Mapping[str, Any]) -> list[Replica]:
    """The replicas that a trial has the end of, from its user attributes."""
    # one that was pruned or interrupted is none to go on from
    return [r for r in _replicas(attrs) if r.status != "killed"]


def _replicas(attrs: Mapping[str, Any]) -> list[Replica]:
    return [Replica.from_json(r) for r in json.loads(attrs.get(REPLICAS, "[]"))]


def kept_runs(study: Study) -> list[tuple[list[int], set[str]]]:
    """Of each arm that was begun anew the numbers of all its trials, and its runs that count, by their ids."""
    return [
        ([*before, t.number], {r.run_id for r in _replicas(t.user_attrs)})
        for t in current(study)
        if (before := t.system_attrs.get(_BEFORE))
    ]


def _storage(study: Study) -> Any:
    return study._storage  # pyright: ignore[reportPrivateUsage]


def _id(trial: FrozenTrial) -> int:
    return trial._trial_id  # pyright: ignore[reportPrivateUsage]


# ------------------------------------------------------------------ results
def results(study: Study) -> list[ArmResult]:
    """Every trial that counts, in words that do not need Optuna."""
    return [_result(t) for t in current(study)]


def spared(study: Study) -> list[tuple[str, float]]:
    """(reason, first objective) of the arms that were called doomed and ran on to their end all the same."""
    from optuna.trial import TrialState

    done = [t for t in current(study) if t.state == TrialState.COMPLETE and DOOMED in t.user_attrs]
    return [(str(t.user_attrs[DOOMED]), float(t.values[0])) for t in done]


def _result(trial: FrozenTrial) -> ArmResult:
    from optuna.trial import TrialState

    states: dict[TrialState, Any] = {
        TrialState.WAITING: "waiting", TrialState.RUNNING: "running", TrialState.COMPLETE: "complete",
        TrialState.PRUNED: "pruned", TrialState.FAIL: "failed",
    }  # fmt: skip
    attrs = trial.user_attrs
    # not trial.value, which trials with several raise on
    values = tuple(trial.values) if trial.state == TrialState.COMPLETE else ()
    choices: Mapping[str, str] = {
        k: _short(v) for k, v in (json.loads(attrs.get(CHOICES, "{}")) or planned(trial)).items()
    }
    return ArmResult(
        trial=trial.number,
        arm=str(attrs.get(ARM, "")),
        choices=choices,
        state=states[trial.state],
        value=values[0] if values else None,
        values=values if len(values) > 1 else (),
        replicas=tuple(_replicas(attrs)),
        reason=str(attrs.get(REASON, "")),
        seconds=float(attrs.get(SECONDS, 0.0)),
        sweep=Sweep.from_json(json.loads(attrs[SWEEP])) if SWEEP in attrs else None,
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
