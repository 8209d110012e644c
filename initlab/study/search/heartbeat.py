"""Heartbeats of workers: shows that a trial is being worked on, and restarts the trials of workers that died."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from initlab.study.search.lock import GRACE, HEARTBEAT
from initlab.study.search.trials import (
    HOST,
    WORKER,
)

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import Trial
from initlab.study.search.ledger import begin_anew, storage_of


class Hold:
    """A trial that this process works on. While open it shows signs of life, so that nobody takes it for dead.

    A process that was stopped, or cut off from the storage, for longer than others wait has to ask first whether the
    trial is still its own: `lost` does, and is to be asked before every update.
    """

    def __init__(self, study: Study, trial: Trial) -> None:
        self._storage = storage_of(study)
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
        storage = storage_of(study)
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
