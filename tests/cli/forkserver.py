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
        self._replies = ours.makefile("r", encoding="utf-8")

    def run(
        self, arguments: tuple[str, ...], *, cwd: Path, env: dict[str, str], timeout: float, folder: Path
    ) -> subprocess.CompletedProcess[str]:
        """Run one command line to its end.

        Raises:
            subprocess.TimeoutExpired: it took longer than `timeout` seconds, and was killed.
        """
        out, err = folder / "stdout", folder / "stderr"
        with out.open("wb") as o, err.open("wb") as e:
            request = json.dumps({"arguments": arguments, "cwd": str(cwd), "env": env}).encode()
            head = len(request).to_bytes(8, "big")
            socket.send_fds(self._socket, [head], [o.fileno(), e.fileno()])
            self._socket.sendall(request)
        pid = int(self._replies.readline())
        self._socket.settimeout(timeout)
        try:
            code = int(self._replies.readline())
        except TimeoutError as error:
            os.kill(pid, signal.SIGKILL)
            raise subprocess.TimeoutExpired(list(arguments), timeout) from error
        finally:
            self._socket.settimeout(None)
        texts = (f.read_text(encoding="utf-8", errors="replace") for f in (out, err))
        return subprocess.CompletedProcess(list(arguments), code, *texts)

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
