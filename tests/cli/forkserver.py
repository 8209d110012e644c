"""A process that has imported what commands import and forks a child for each command line.

The child is the command's process as it would be after its imports: own working directory, environment, output and exit
code. It spares each of the several hundred command lines of the tests the seconds that the imports take.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from functools import cache
from pathlib import Path
from typing import Any

#: what commands import; nothing of it runs anything, starts a thread or opens a file
_IMPORTS = (
    "initlab.cli.train", "initlab.cli.inspect", "initlab.cli.compare", "initlab.cli.explain", "initlab.study.command",
    "hydra.main", "hydra._internal.config_loader_impl", "optuna.storages", "sqlalchemy.dialects.sqlite",
    "alembic.command", "scipy.stats", "pandas", "pyarrow.parquet", "matplotlib.backends.backend_agg",
    "sklearn.datasets",
)  # fmt: skip


class _Output:
    """A pipe that a thread reads to its end."""

    def __init__(self) -> None:
        self._begin, self.end = os.pipe()
        self._read = b""
        self._thread = threading.Thread(target=self._drain, daemon=True)

    def start(self) -> None:
        """Give up our end for writing, and read."""
        os.close(self.end)
        self._thread.start()

    def _drain(self) -> None:
        with open(self._begin, "rb") as pipe:  # noqa: PTH123  a descriptor
            self._read = pipe.read()

    def text(self, seconds: float) -> str:
        """What was written.

        Raises:
            TimeoutError: somebody holds the pipe open for longer than `seconds`.
        """
        self._thread.join(seconds)
        if self._thread.is_alive():
            raise TimeoutError
        return self._read.decode("utf-8", errors="replace").replace("\r\n", "\n")


class ForkServer:
    """The server, seen from the tests."""

    def __init__(self, environment: dict[str, str]) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        root = Path(__file__).parents[2]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.cli.forkserver", str(theirs.fileno())], pass_fds=[theirs.fileno()],
            cwd=root, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        theirs.close()
        self._socket = ours

    def run(
        self, arguments: tuple[str, ...], *, cwd: Path, env: dict[str, str], timeout: float
    ) -> subprocess.CompletedProcess[str]:
        """Run one command line to its end, and to the end of whatever else holds its output.

        Raises:
            subprocess.TimeoutExpired: it took longer than `timeout` seconds, and was killed.
        """
        deadline = time.monotonic() + timeout
        outputs = [_Output(), _Output()]
        request = json.dumps({"arguments": arguments, "cwd": str(cwd), "env": env}).encode()
        socket.send_fds(self._socket, [len(request).to_bytes(8, "big")], [o.end for o in outputs])
        self._socket.sendall(request)
        for output in outputs:
            output.start()
        pid = int(self._line(timeout))
        try:
            code = int(self._line(max(0.1, deadline - time.monotonic())))
            texts = [o.text(max(0.1, deadline - time.monotonic())) for o in outputs]
        except TimeoutError as error:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            raise subprocess.TimeoutExpired(list(arguments), timeout) from error
        return subprocess.CompletedProcess(list(arguments), code, *texts)

    def _line(self, seconds: float) -> str:
        self._socket.settimeout(seconds)
        found = b""
        while not found.endswith(b"\n"):
            byte = self._socket.recv(1)
            if not byte:
                raise RuntimeError("the process that forks command lines has died")
            found += byte
        return found.decode()

    def close(self) -> None:
        """End the server."""
        self._socket.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        self._process.kill()
        self._process.wait()


@cache
def server() -> ForkServer:
    """The server of this test process, started at its first use. Each child gets an environment of its own."""
    found = ForkServer({**os.environ, "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1"})
    atexit.register(found.close)
    return found


# ------------------------------------------------------------------ the server itself
def _serve(connection: socket.socket) -> dict[str, Any] | None:
    """Fork for each request. Returns the request in the child, None where no more come."""
    while True:
        head, fds, _, _ = socket.recv_fds(connection, 8, 2)
        if not head:
            return None
        size, request = int.from_bytes(head, "big"), b""
        while len(request) < size:
            request += connection.recv(size - len(request))
        pid = os.fork()
        if pid == 0:
            connection.close()
            for fd, target in zip(fds, (1, 2), strict=True):
                os.dup2(fd, target)
                os.close(fd)
            return json.loads(request)
        for fd in fds:
            os.close(fd)
        connection.sendall(f"{pid}\n".encode())
        _, status = os.waitpid(pid, 0)
        connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())


def main() -> None:
    """Import, serve, and be the command in each child."""
    from importlib import import_module

    for name in _IMPORTS:
        import_module(name)
    request = _serve(socket.socket(fileno=int(sys.argv[1])))
    if request is None:
        os._exit(0)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    from initlab.cli.main import entry

    # as `python -m initlab` has it
    sys.argv = [str(Path(sys.modules["initlab"].__path__[0]) / "__main__.py"), *request["arguments"]]
    sys.path[0] = request["cwd"]
    entry()


if __name__ == "__main__":
    main()
