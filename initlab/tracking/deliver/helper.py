"""Client side of the helper process that delivers the records of all runs of this process.

One for each training process, started by its first run: MLflow is slow pure Python, and in a thread it would hold the
interpreter lock that the training loop needs. Messages are JSON lines over two pipes. To the helper:

    {"run": N, "do": "open", "folder", "uri", "workdir", "flush_seconds", "fresh", "cwd", "environ"}
    {"run": N, "do": "wake"}   {"run": N, "do": "close", "seconds": S}   {"run": N, "do": "abandon"}
    {"run": 0, "do": "load", "uri"}

and back: `known` (the MLflow run id), `closed` (the answer to `close`), and `log` (a line for this process's logger).
The helper ends when its input ends, after a normal exit as well as after a kill -9 of this process. Nothing in here
raises into training, and nothing waits on a pipe.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Protocol

from initlab.tracking.spool.spool import Json

# an idle helper ends in milliseconds; one in the middle of a batch ends by itself later
EXIT_SECONDS = 0.5
_log = logging.getLogger("initlab.tracking")


def _command() -> list[str]:
    # -P: the helper takes this process's module path (below) and does not build its own
    return [sys.executable, "-P", "-m", "initlab.tracking.deliver.helper_main"]


def _environment() -> dict[str, str]:
    paths = (entry if Path(entry).is_absolute() else str(Path(current_directory()) / entry) for entry in sys.path)
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def current_directory() -> str:
    """The current directory, or the root where the current one was deleted."""
    try:
        return str(Path.cwd())
    except OSError:
        return os.sep


class Listener(Protocol):
    """A run whose records the helper delivers; both methods are called from the thread that reads the pipe."""

    def on_message(self, message: Json) -> None: ...
    def on_helper_lost(self, reason: str) -> None: ...


class Helper:
    """The helper process and a thread that reads its answers. `lost_reason`: why it no longer delivers, else empty."""

    def __init__(self) -> None:
        self.lost_reason = ""
        self._warned = False
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._listeners: dict[int, Listener] = {}
        self._environ = dict(os.environ)
        self._process: subprocess.Popen[bytes] | None = None
        self._reader = threading.Thread(target=self._read, name="initlab-tracking", daemon=True)
        try:
            # a session of its own: a Ctrl-C on the terminal ends the training only.
            # unbuffered: a thread that is blocked in a buffered pipe breaks the exit of the interpreter
            self._process = subprocess.Popen(
                _command(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                env=_environment(),
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            self._mark_lost(f"the delivery process did not start ({getattr(error, 'strerror', None) or error})")
            return
        assert self._process.stdin is not None
        if hasattr(os, "set_blocking"):
            os.set_blocking(self._process.stdin.fileno(), False)
        self._reader.start()

    @property
    def pid(self) -> int:
        return 0 if self._process is None else self._process.pid

    def register(self, listener: Listener) -> int:
        """Register a run and return its message number; `listener` receives the answers."""
        with self._lock:
            number = next(self._numbers)
            lost_reason = self.lost_reason
            if not lost_reason:
                self._listeners[number] = listener
        if lost_reason:
            self._warn()
            listener.on_helper_lost(lost_reason)
        return number

    def unregister(self, number: int) -> None:
        with self._lock:
            self._listeners.pop(number, None)

    def environ_changes(self) -> dict[str, str | None]:
        """Variables (a token for the server, say) that changed here since they were last sent to the helper."""
        now = dict(os.environ)
        before, self._environ = self._environ, now
        return {key: now.get(key) for key in {**before, **now} if before.get(key) != now.get(key)}

    def send(self, number: int, do: str, **more: object) -> None:
        """Send one message, or drop it where the helper has ended or does not read. Never blocks."""
        line = json.dumps({"run": number, "do": do, **more}).encode() + b"\n"
        with self._lock:
            process = self._process
            if self.lost_reason or process is None or process.stdin is None or process.stdin.closed:
                return
            # a full pipe (BlockingIOError), or a closed one, which the reader thread reports
            with contextlib.suppress(OSError):
                if os.write(process.stdin.fileno(), line) < len(line):
                    # half a message would corrupt the next one
                    process.kill()

    def stop(self) -> None:
        """Ask the helper to end, and wait for it for at most `EXIT_SECONDS`."""
        with self._lock:
            self._listeners.clear()
            self._close_input()
        if self._reader.is_alive():
            self._reader.join(EXIT_SECONDS)
        if self._process is not None and self._process.returncode is None:
            # it ends after its batch; Popen would warn of a process that nobody waited for
            self._process.returncode = 0

    def disown(self) -> None:
        """In a forked child: close the pipes, else the helper would not notice the end of the training process."""
        if self._process is not None:
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    pipe.close()
            self._process.returncode = 0

    def _close_input(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()

    def _read(self) -> None:
        process = self._process
        assert process is not None and process.stdout is not None
        rest = b""
        while data := _read_available(process.stdout.fileno()):
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self._dispatch(line)
        code = process.wait()
        process.stdout.close()
        with self._lock:
            self._close_input()
        self._mark_lost(f"the delivery process ended ({_format_exit(code)})")

    def _dispatch(self, line: bytes) -> None:
        message: Json = json.loads(line)
        if message["say"] == "log":
            _log.log(message["level"], "%s", message["text"])
            return
        with self._lock:
            listener = self._listeners.get(message["run"])
        if listener is not None:
            listener.on_message(message)

    def _mark_lost(self, reason: str) -> None:
        with self._lock:
            self.lost_reason = reason
            listeners = list(self._listeners.values())
            self._listeners.clear()
        for listener in listeners:
            self._warn()
            listener.on_helper_lost(reason)

    def _warn(self) -> None:
        if not self._warned:
            self._warned = True
            _log.warning("%s; training continues, records wait in the spool", self.lost_reason)


def _read_available(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:
        return b""


def _format_exit(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return signal.Signals(-code).name
    return f"signal {-code}"


# by process id: a forked child must not use the helper of its parent
_helpers: dict[int, Helper] = {}
_guard = threading.Lock()


def current() -> Helper:
    """The helper of this process; a new one where there is none yet, or where it ended."""
    with _guard:
        known = _helpers.get(os.getpid())
        if known is None or known.lost_reason:
            known = _helpers[os.getpid()] = Helper()
        return known


def preload(uri: str) -> None:
    """Start the helper of this process and let it import what the store `uri` needs, before there is a run."""
    current().send(0, "load", uri=uri)


def _stop() -> None:
    known = _helpers.pop(os.getpid(), None)
    if known is not None:
        known.stop()


def _disown_in_child() -> None:
    for helper in _helpers.values():
        helper.disown()
    _guard.release()


atexit.register(_stop)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_guard.acquire, after_in_parent=_guard.release, after_in_child=_disown_in_child)
