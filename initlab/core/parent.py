"""Lets a process end when the one that started it has ended, whatever ended that one."""

from __future__ import annotations

import os
import signal
import threading
import time

#: variable with the id of the process that this one must not outlive
PARENT = "INITLAB_PARENT"
#: seconds between two checks
_CHECK_SECONDS = 0.1


def stop_with_parent() -> None:
    """Ask this process to end, as SIGTERM does, once the process that the environment names in `PARENT` has ended.

    The variable is taken out of the environment, so that no process below gets it. Call it after the handler of SIGTERM
    is set.
    """
    word = os.environ.pop(PARENT, "")
    if word.isdecimal():
        threading.Thread(target=_watch, args=(int(word),), name="parent", daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_CHECK_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
