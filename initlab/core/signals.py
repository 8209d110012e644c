"""Signals that ask a process to end: Ctrl-C (SIGINT), SIGTERM, and SIGHUP of a terminal that was closed."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Generator
from types import FrameType

Handler = Callable[[int, FrameType | None], object]


def stop_signals() -> tuple[signal.Signals, ...]:
    """Those that exist here and are not ignored, as SIGHUP is under `nohup`."""
    names = ("SIGTERM", "SIGINT", "SIGHUP")
    known = [signal.Signals[n] for n in names if hasattr(signal, n)]
    return tuple(n for n in known if signal.getsignal(n) is not signal.SIG_IGN)


def handle_stop(handler: Handler) -> None:
    """Let `handler` answer every signal that asks this process to end."""
    for number in stop_signals():
        signal.signal(number, handler)


@contextlib.contextmanager
def interruptible() -> Generator[None]:
    """Within the block every signal that asks this process to end raises KeyboardInterrupt, as Ctrl-C does."""
    before = {number: signal.signal(number, _interrupt) for number in stop_signals()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def stop_gently(asked: threading.Event, what: str) -> None:
    """Set `asked` at the first signal, and say `what` happens now; a second one raises KeyboardInterrupt.

    A terminal that closes may send SIGHUP several times: it never counts as a second one. What is printed to a closed
    terminal afterwards goes nowhere, and fails nobody.
    """
    terminals = [fd for fd in (1, 2) if os.isatty(fd)]

    def ask(number: int, _frame: FrameType | None) -> None:
        again = asked.is_set()
        if again and number == getattr(signal, "SIGHUP", None):
            return
        if again:
            raise KeyboardInterrupt
        asked.set()
        # not print: the signal may have come in the middle of one. The terminal may be gone
        with contextlib.suppress(OSError):
            os.write(2, f"initlab: {signal.Signals(number).name}: {what}\n".encode())
        for fd in terminals:
            _silence_closed(fd)

    handle_stop(ask)


def _silence_closed(fd: int) -> None:
    """Let the output of `fd` go nowhere where it is a terminal that is closed."""
    try:
        os.write(fd, b"")
    except OSError:
        nowhere = os.open(os.devnull, os.O_RDWR)
        os.dup2(nowhere, fd)
        os.close(nowhere)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
