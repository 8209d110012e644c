"""Which of the processes that lead a study records the study's own run: one at a time, with a sign of life.

Any number of leaders may start or resume a study at once; each brings workers. The first one records. Another one takes
over where that one shows no sign of life for `GRACE` seconds, or has ended before the study was at its end.
"""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from initlab.study.search.lock import GRACE, HEARTBEAT
from initlab.study.search.storage import exclusive, open_storage

if TYPE_CHECKING:
    from optuna import Study

#: user attributes of Optuna's study
LEADER, PARENT = "initlab:leader", "initlab:parent"


class Lead:
    """The lead of a study, taken or not."""

    def __init__(self, study: Study, folder: Path) -> None:
        self._study, self._folder = study, folder
        self._token = uuid.uuid4().hex
        self._ended = threading.Event()
        self._sure = 0.0
        self._thread: threading.Thread | None = None
        self.taken = False

    def take(self) -> bool:
        """Take the lead where nobody has it; to be called while `exclusive` is open."""
        found = self._read()
        self.taken = self._is_mine(found) or not _is_alive(found)
        if self.taken:
            self._write({"ended": ""})
            if self._thread is None:
                self._thread = threading.Thread(target=self._beat, name="lead", daemon=True)
                self._thread.start()
        return self.taken

    def holds(self) -> bool:
        """Whether this process still has the lead that it took."""
        if self.taken and time.monotonic() - self._sure > GRACE - 2:
            self._look()
        return self.taken

    def how_it_ended(self) -> str:
        """Status with which the last leader closed the study's run; empty where it did not."""
        return str(self._read().get("ended", ""))

    def end(self, status: str) -> None:
        """Give the lead back, with the status that the study's run was closed with."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        if self.taken:
            with self._patiently(), exclusive(self._study, self._folder):
                if self._is_mine(self._read()):
                    self._write({"ended": status})
        self.taken = False

    # -------------------------------------------------------------- pieces
    def _beat(self) -> None:
        while self.taken and not self._ended.wait(HEARTBEAT):
            self._look()

    def _look(self) -> None:
        with self._patiently(), exclusive(self._study, self._folder):
            self.taken = self._is_mine(self._read())
            if self.taken:
                self._write({"ended": ""})

    def _patiently(self) -> Any:
        """A storage that is away tells nothing; it is asked again."""
        from optuna.exceptions import OptunaError
        from sqlalchemy.exc import SQLAlchemyError

        return suppress(OptunaError, SQLAlchemyError, OSError)

    def _read(self) -> dict[str, Any]:
        return dict(self._study.user_attrs.get(LEADER) or {})

    def _write(self, more: dict[str, Any]) -> None:
        own = {"token": self._token, "host": socket.gethostname(), "pid": os.getpid(), "born": _born(os.getpid())}
        self._study.set_user_attr(LEADER, {**own, "time": time.time(), **more})
        self._sure = time.monotonic()

    def _is_mine(self, found: dict[str, Any]) -> bool:
        return found.get("token") == self._token


def is_worked_on(storage: str, name: str) -> bool | None:
    """Whether a leader or a worker of the study `name` in the database `storage` shows signs of life.

    None where no leader has been there: it has just been begun, or was never led.

    Raises:
        ConfigError: the database cannot be used.
    """
    import optuna
    from optuna.trial import TrialState

    database = open_storage(storage)
    try:
        study = optuna.load_study(study_name=name, storage=database)
        found = dict(study.user_attrs.get(LEADER) or {})
        if _is_alive(found):
            return True
        running = {t._trial_id for t in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))}  # pyright: ignore[reportPrivateUsage]
        alive = running - set(database._get_stale_trial_ids(study._study_id))  # pyright: ignore[reportPrivateUsage]
        return bool(alive) or (False if found else None)
    except KeyError:
        return None
    finally:
        database.engine.dispose()


def work_left(storage: str, name: str) -> tuple[int, ...] | None:
    """What there is to do in the study `name`: None where nothing is, else figures that change with its state.

    Raises:
        ConfigError: the database cannot be used.
    """
    import optuna
    from optuna.trial import TrialState

    database = open_storage(storage)
    try:
        study = optuna.load_study(study_name=name, storage=database)
        states = [t.state for t in study.get_trials(deepcopy=False)]
        leads = _is_alive(dict(study.user_attrs.get(LEADER) or {}))
    except KeyError:
        return None
    finally:
        database.engine.dispose()
    waiting, running = states.count(TrialState.WAITING), states.count(TrialState.RUNNING)
    # a search that draws its arms has none that waits; its leader lives as long as there is something to draw
    return (len(states), waiting, running) if waiting or running or leads else None


def _is_alive(found: dict[str, Any]) -> bool:
    """Whether a leader is at work: by its sign of life, and on this machine by its process."""
    if not found or found.get("ended") or abs(time.time() - float(found.get("time", 0.0))) > GRACE:
        return False
    return found.get("host") != socket.gethostname() or _born(int(found.get("pid", 0))) == found.get("born")


def _born(pid: int) -> float:
    """When a process began: a number that is used again is another process. 0 where there is none."""
    try:
        return psutil.Process(pid).create_time()
    except (psutil.Error, ValueError):
        return 0.0
