"""A time limit for an exchange with something outside: a server, a database, a download.

Time limits of sockets are for each read: a peer that sends a byte now and then is never too late by them. Here the
whole exchange has one. It runs in a thread of its own, so that Ctrl-C is obeyed at once also where a C library waits
(the resolver of names, a database driver), and who is waited for is said after a second.
"""

from __future__ import annotations

import ctypes
import signal
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, TypeVar

from initlab.core.error_line import print_notice

#: seconds of waiting before that is said
PATIENCE = 1.0
T = TypeVar("T")
_said: set[str] = set()
_left: list[threading.Thread] = []


class LateError(TimeoutError):
    """The exchange was not over within its limit."""


class Deadline:
    """The end of an exchange. The exchange itself may move it, where it learns how much there is to send or to get."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self.seconds = seconds

    @property
    def left(self) -> float:
        """Seconds until the end; 0 after it."""
        return max(0.0, self._end - time.monotonic())

    def extend(self, seconds: float) -> None:
        """Put the end off by `seconds`."""
        self._end += seconds
        self.seconds += seconds


def exchange(call: Callable[[Deadline], T], *, peer: str, seconds: float, said: bool = False) -> T:
    """What `call` returns, or raises, within `seconds`.

    Args:
        call: the exchange. It gets its deadline, and must do no harm where it ends after it: its answer is dropped.
        peer: who is waited for, as messages name it.
        seconds: the limit.
        said: whether the caller says itself for whom it waits.

    Raises:
        LateError: it was not over in time.

    Example:
        >>> exchange(lambda deadline: deadline.seconds, peer="nobody", seconds=5)
        5
    """
    deadline, answer = Deadline(seconds), _Answer()

    def work() -> None:
        try:
            answer.value = call(deadline)
        except BaseException as error:  # handed to whoever waits
            answer.error = error
        finally:
            answer.done.set()

    thread = threading.Thread(target=work, name=f"exchange with {peer}", daemon=True)
    thread.start()
    try:
        with _interruptible():
            _wait(answer, deadline, "" if said else peer)
    finally:
        if not answer.done.is_set():
            _end(thread)
    if not answer.done.is_set():
        raise LateError(f"{peer} did not answer in time (within {deadline.seconds:.0f} s)")
    if answer.error is not None:
        raise answer.error
    return answer.value


def say_waiting(peer: str, seconds: float) -> None:
    """Print for whom this process waits, and how long at most; once for each peer."""
    if peer not in _said:
        _said.add(peer)
        print_notice(f"waiting for {peer}, {seconds:.0f} s at most; Ctrl-C stops")


def has_left_exchanges() -> bool:
    """Whether an exchange that nobody waits for any more still goes on in this process."""
    _left[:] = [thread for thread in _left if thread.is_alive()]
    return bool(_left)


class _Answer:
    def __init__(self) -> None:
        self.done = threading.Event()
        self.value: Any = None
        self.error: BaseException | None = None


def _wait(answer: _Answer, deadline: Deadline, peer: str) -> None:
    if answer.done.wait(min(PATIENCE, deadline.left)):
        return
    if peer:
        say_waiting(peer, deadline.seconds)
    while deadline.left and not answer.done.wait(min(1.0, deadline.left)):
        pass


@contextmanager
def _interruptible() -> Generator[None]:
    """While open, the first Ctrl-C ends the wait, also where a command takes it as the wish to stop after its work."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)
    if not callable(before) or before is signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _end(thread: threading.Thread) -> None:
    """End a thread that nobody waits for, as soon as it runs Python's code again; one in a C library ends later."""
    _left.append(thread)
    if thread.ident is not None:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(SystemExit))
