"""A process that has imported what programs of the tests import and forks a child for each one.

The child is the program's process as it would be after its imports: own working directory, environment, input, output,
command line and exit code. It spares each of the many hundred processes of the tests the seconds that imports take.

The child keeps a few spare children of its own, forked before it has threads. Where the program starts one of `MODULES`
(the process that delivers a run's records, a worker of a study), the spare one becomes that process in the same way.
Without a spare one, the process starts as everywhere else.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import json
import os
import pkgutil
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.configuration_files import keep_files

#: what `python -m` may run in a forked process
MODULES = frozenset({
    "initlab", "initlab.tracking.deliver.helper_main", "initlab.study.workers.worker_main", "torch.distributed.run",
    "mlflow", "uvicorn", "tests.operations.schedule.turned_clock",
})  # fmt: skip
#: what they import beside the modules of initlab; nothing of it runs anything, starts a thread or opens a file
_IMPORTS = (
    "hydra.main", "hydra.core.default_element", "hydra.core.override_parser.overrides_visitor", "hydra.plugins.sweeper",
    "hydra._internal.config_loader_impl", "hydra._internal.core_plugins.basic_launcher", "hydra._internal.hydra",
    "hydra_plugins.initlab_sweeper", "omegaconf._impl", "optuna.storages", "sqlalchemy.dialects.sqlite",
    "alembic.command", "scipy.stats", "pandas", "pyarrow.parquet", "pyarrow.pandas_compat",
    "sklearn.datasets", "torch._dynamo", "torch.distributed.run",
    "mlflow.store.tracking.sqlalchemy_store", "mlflow.store.db.utils",
    # of MLflow's server; its own modules configure themselves from the environment as they are imported
    "fastapi", "flask", "flask_cors", "flask_wtf", "graphene", "starlette.middleware.wsgi", "uvicorn.main",
)  # fmt: skip
#: packages of initlab without them: adapters of frameworks, which import these
_WITHOUT = ("initlab.__main__", "initlab.integrations", "initlab.testing")
#: commands of initlab that start none of them
_ALONE = frozenset({"help", "compare", "data", "completion"})
#: room for the longest command line that is shown, in bytes
_TITLE = 4000

_Request = dict[str, Any]
_turn = threading.Lock()


def _asked(command: object) -> tuple[str, list[str]] | None:
    """Module and arguments of a command that a forked process can be."""
    if not isinstance(command, list | tuple) or not command or command[0] != sys.executable:
        return None
    words = [os.fspath(word) for word in command[1:] if word != "-P"]
    return (words[1], words[2:]) if words[:1] == ["-m"] and words[1] in MODULES else None


def _send(connection: socket.socket, request: _Request, descriptors: Sequence[int]) -> None:
    message = json.dumps(request).encode()
    socket.send_fds(connection, [len(message).to_bytes(8, "big")], descriptors)
    connection.sendall(message)


def _receive(connection: socket.socket) -> tuple[_Request, list[int]] | None:
    """A request and the descriptors that came with it; None at the end of the connection."""
    head, descriptors, _, _ = socket.recv_fds(connection, 8, 4)
    if not head:
        return None
    size, message = int.from_bytes(head, "big"), b""
    while len(message) < size:
        part = connection.recv(size - len(message))
        if not part:
            return None  # whoever asked has died in the middle of it
        message += part
    return json.loads(message), descriptors


def _request(command: Sequence[str], cwd: Any, env: Mapping[str, str] | None, *, session: bool) -> _Request:
    asked = _asked(command)
    assert asked is not None, command
    return {
        "command": [os.fspath(word) for word in command], "module": asked[0], "arguments": asked[1],
        "cwd": os.fspath(cwd or Path.cwd()), "env": dict(os.environ if env is None else env), "session": session,
    }  # fmt: skip


# ------------------------------------------------------------------ seen from the tests
class Forked(subprocess.Popen[str]):
    """`subprocess.Popen` of ``[sys.executable, "-m", MODULE, ...]`` whose process is forked by the server."""

    def _execute_child(self, args: Any, *rest: Any) -> None:
        (executable, preexec, _, passed, cwd, env, _, _, shell, *pipes), session = rest[:15], rest[20]
        assert not any((executable, preexec, passed, shell)), args
        sys.audit("subprocess.Popen", args[0], args, cwd, env)
        status, theirs = os.pipe()
        given = [fd if fd != -1 else own for fd, own in zip((pipes[0], pipes[3], pipes[5]), range(3), strict=True)]
        with _turn:
            _send(_server(), _request(args, cwd, env, session=session), [*given, theirs])
        os.close(theirs)
        self._status = os.fdopen(status, "rb", buffering=0)
        self.pid = int(self._line())
        self._child_created = True
        self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]

    def _line(self) -> bytes:
        found = b""
        while not found.endswith(b"\n"):
            byte = self._status.read(1)
            if not byte:
                raise RuntimeError("the process that forks has died")
            found += byte
        return found

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        if wait_flags & os.WNOHANG and not select.select([self._status], [], [], 0)[0]:
            return 0, 0
        code = int(self._line())
        self._status.close()
        return self.pid, code

    def _internal_poll(self, *_: Any, **__: Any) -> int | None:
        if self.returncode is None:
            pid, code = self._try_wait(os.WNOHANG)
            if pid:
                self._handle_exitstatus(code)  # type: ignore[attr-defined]
        return self.returncode


def run(
    arguments: Sequence[str], *, cwd: Path, env: dict[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    """Run `python -m initlab` to its end, and to the end of whatever else holds its output.

    Raises:
        subprocess.TimeoutExpired: it took longer than `timeout` seconds, and was killed.
    """
    with Forked(
        [sys.executable, "-m", "initlab", *arguments], cwd=cwd, env=env, text=True, errors="replace",
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        try:
            out, err = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(list(arguments), process.returncode, out, err)


@cache
def _server() -> socket.socket:
    """The connection to the server of this test process, started at its first use."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.cli.forkserver", str(theirs.fileno()), " " * _TITLE], pass_fds=[theirs.fileno()],
        cwd=Path(__file__).parents[2], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        env={**os.environ, "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    theirs.close()

    def close() -> None:
        ours.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        process.wait()

    atexit.register(close)
    return ours


# ------------------------------------------------------------------ the server itself
def _serve(connection: socket.socket) -> tuple[_Request, list[int]] | None:
    """Fork for each request. Returns the request in the child, None where no more come."""
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    running: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([connection, woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            _report_ended(running)
        if connection not in ready:
            continue
        if (received := _receive(connection)) is None:
            return None
        request, (*standard, status) = received
        if (pid := os.fork()) == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            connection.detach()
            return request, standard
        for descriptor in standard:
            os.close(descriptor)
        _write(status, pid)
        running[pid] = status


def _report_ended(running: dict[int, int]) -> None:
    for pid in list(running):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            _write(running[pid], status)
            os.close(running.pop(pid))


def _write(status: int, number: int) -> None:
    with contextlib.suppress(BrokenPipeError):
        os.write(status, b"%d\n" % number)


def _become(request: _Request, standard: list[int]) -> None:
    """Be the program that is asked for, to its end."""
    for target, descriptor in enumerate(standard):
        os.dup2(descriptor, target)
    os.closerange(3, 1 << 16)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    if request["session"]:
        os.setsid()
    _show(request["command"])
    if (spare := _spare(_count(request))) is not None:
        request, standard = spare
        _become(request, standard)
        return
    # as `python -m` has it
    sys.argv[1:] = request["arguments"]
    sys.path[0] = request["cwd"]
    from initlab.core.exit import run_and_exit

    # modules are not taken apart at the end: extensions complain of what the server still has of them
    run_and_exit(lambda: _run(request["module"]))


def _run(module: str) -> int:
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    return 0


def _show(command: Sequence[str]) -> None:
    """Make it the command line that others see of this process, where the system permits."""
    words = b"\0".join(os.fsencode(word) for word in command)[: _TITLE - 1]
    with contextlib.suppress(OSError, ValueError, IndexError):
        begin, end = map(int, Path("/proc/self/stat").read_text().rpartition(")")[2].split()[45:47])
        with open("/proc/self/mem", "r+b", buffering=0) as memory:  # noqa: PTH123
            memory.seek(begin)
            memory.write(words.ljust(end - begin, b"\0"))


# ------------------------------------------------------------------ spare children
_spares: deque[tuple[int, socket.socket]] = deque()
_execute_child = subprocess.Popen._execute_child  # type: ignore[attr-defined]


def _count(request: _Request) -> int:
    """How many of `MODULES` it starts."""
    module, arguments = request["module"], request["arguments"]
    if module == "initlab":
        if not arguments or "--help" in arguments or arguments[0] in _ALONE:
            return 0
        return 4 if {"-m", "--multirun", "schedule", "server"} & set(arguments) else 1
    return {
        "torch.distributed.run": 3, "mlflow": 1, "initlab.study.workers.worker_main": 1,
        "tests.operations.schedule.turned_clock": 3,
    }.get(module, 0)  # fmt: skip


def _spare(count: int) -> tuple[_Request, list[int]] | None:
    """Fork `count` children that wait for what they have to be. Returns that in such a child, None in this process."""
    _spares.clear()
    for _ in range(count):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        pid = os.fork()
        if pid == 0:
            ours.close()
            for _, other in _spares:
                other.close()
            nowhere = os.open(os.devnull, os.O_RDWR)
            for descriptor in range(3):
                os.dup2(nowhere, descriptor)
            os.close(nowhere)
            received = _receive(theirs)
            if received is None:
                os._exit(0)
            theirs.detach()
            return received
        theirs.close()
        _spares.append((pid, ours))
    if _spares:
        subprocess.Popen._execute_child = _execute_spare  # type: ignore[attr-defined]
    return None


def _execute_spare(self: Any, args: Any, *rest: Any) -> None:
    """In the place of `Popen._execute_child`: let a spare child be the process."""
    (executable, preexec, _, passed, cwd, env, _, _, shell, *pipes), session = rest[:15], rest[20]
    forkable = _asked(args) is not None and not any((executable, preexec, passed, shell))
    while forkable and _spares:
        pid, connection = _spares.popleft()
        with contextlib.closing(connection), contextlib.suppress(BrokenPipeError):
            given = [fd if fd != -1 else own for fd, own in zip((pipes[0], pipes[3], pipes[5]), range(3), strict=True)]
            _send(connection, _request(args, cwd, env, session=session), given)
            self.pid = pid
            self._child_created = True
            self._close_pipe_fds(*pipes)
            return
        os.waitpid(pid, 0)
    _execute_child(self, args, *rest)


def _modules() -> list[str]:
    import initlab

    found = (m.name for m in pkgutil.walk_packages(initlab.__path__, "initlab."))
    return [name for name in found if not name.startswith(_WITHOUT)]


def _keep_store(folder: Path) -> None:
    """Make MLflow's tables once, in a child; whatever makes a store then copies the file, which takes no second.

    What cannot be copied (to a full disk, say) is made as everywhere else.
    """
    from initlab.tracking.store import client, embedded

    kept, create = folder / "mlflow.db", embedded.create
    if (pid := os.fork()) == 0:
        create(kept)
        os._exit(0)
    os.waitpid(pid, 0)

    def copy(file: Path) -> None:
        scratch = file.with_name(f".{file.name}.{os.getpid()}.new")
        try:
            shutil.copyfile(kept, scratch)
            scratch.replace(file)
        except OSError:
            scratch.unlink(missing_ok=True)
            create(file)

    client.create = copy


def _read_files() -> None:
    """Read the configuration files that most programs read, for all children."""
    from initlab import config
    from initlab.core.plugins import installed_plugins

    keep_files()
    for overrides in (["data=digits", "model=mlp"], *([f"task={name}"] for name in config.groups()["task"])):
        config.compose([*overrides, "seed=1", "optimizer.lr=1e-3"])
    installed_plugins.cache_clear()


def main() -> None:
    """Import, serve, and be the program in each child."""
    for name in (*_IMPORTS, *_modules()):
        import_module(name)
    _read_files()
    # the collector of a child would otherwise go through all that was imported, and copy the memory that it is in
    gc.collect()
    gc.freeze()
    folder = Path(tempfile.mkdtemp(prefix="initlab-store-"))
    _keep_store(folder)
    received = _serve(socket.socket(fileno=int(sys.argv[1])))
    if received is None:
        shutil.rmtree(folder)
        os._exit(0)
    _become(*received)


if __name__ == "__main__":
    main()
