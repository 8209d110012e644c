"""Ends a command's process without taking Python's modules apart first."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable
from typing import NoReturn

from initlab.core.exchange import has_left_exchanges

#: Python's own exit code where its last output could not be written
_EXIT_UNWRITTEN_OUTPUT = 120


def run_and_exit(main: Callable[[], int]) -> NoReturn:
    """Runs `main` and ends the process with its exit code, right after the functions registered with `atexit`.

    Python would otherwise tear down a few thousand modules, which takes a second or two and has no visible effect.
    """
    code = 1  # of an exception that nobody caught

    def leave() -> None:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except OSError:
            os._exit(code or _EXIT_UNWRITTEN_OUTPUT)
        os._exit(code)

    # registered first, and so called last: threads have been joined and files closed by then
    atexit.register(leave)
    try:
        code = main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        raise
    if has_left_exchanges():
        # Python would first wait for threads that such an exchange has started
        atexit._run_exitfuncs()  # pyright: ignore[reportPrivateUsage]
    sys.exit(code)
