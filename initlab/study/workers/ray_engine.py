"""Runs workers as Ray actors, on this machine or on a cluster.

An actor runs the loop that a local worker runs, against the same storage; Ray places it and reports when it
dies. Every machine has to see the study's working directory under the same path, and to have initlab installed.
"""

from __future__ import annotations

import logging
import math
import os
import secrets
import signal
import socket
import sys
import tempfile
import threading
import warnings
from collections.abc import Generator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from initlab.core.signals import stop_signals
from initlab.errors import ConfigError
from initlab.study.search.storage import redact_passwords
from initlab.study.space.plan import Plan, load
from initlab.study.workers.worker import StartWorker

EXTRA = "pip install 'initlab[ray]'"
#: seconds in which an existing Ray cluster has to answer
ANSWER = 20.0
FORMS = "use null for a Ray of this machine, auto for the one that runs here, or ray://HOST:PORT"
#: bytes of shared memory: workers exchange no data
_SHARED = 100 * 2**20
#: file of the authentication token of Ray's clusters
_TOKEN = Path("~/.ray/auth_token")


def check(plan: Plan) -> None:
    """Raises ConfigError where Ray is missing or does not answer, or cannot serve the study's storage or workers."""
    if find_spec("ray") is None:
        raise ConfigError("study.engine", "ray", f"Ray is not installed: {EXTRA}")
    address = plan.settings.ray_address
    if address is None:
        return
    if address.startswith("ray://"):
        if plan.storage.startswith("sqlite"):
            raise ConfigError(
                "study.storage", redact_passwords(plan.storage),
                f"a SQLite file serves one machine, and study.ray_address={address} may be several; give a PostgreSQL"
                " database (docs/distributed.md)",
            )  # fmt: skip
        _check_reachable(address)
    elif address != "auto":
        raise ConfigError("study.ray_address", address, FORMS)
    with _ray_session(plan):
        pass


def _check_reachable(address: str) -> None:
    """Check that the address answers: Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").partition("/")[0].rpartition(":")
    if not host or not port.isdecimal():
        raise ConfigError("study.ray_address", address, FORMS)
    try:
        socket.create_connection((host, int(port)), timeout=ANSWER).close()
    except OSError as error:
        raise ConfigError("study.ray_address", address, f"cannot be reached: {error}") from error


# ------------------------------------------------------------------ in the actor
class Actor:
    """A worker inside an actor. `work` runs until the end; the other methods are called meanwhile."""

    def __init__(self, folder: str, number: int) -> None:
        self._folder, self._number = Path(folder), number
        self._asked = threading.Event()

    def known_as(self) -> tuple[int, str]:
        """Process id and machine."""
        return os.getpid(), socket.gethostname()

    def stop(self) -> None:
        """Ask the work to end after the current update."""
        self._asked.set()

    def work(self, storage: str) -> int:
        """Take arms until none is left; the exit code of a local worker."""
        from initlab.study.workers import worker_main

        plan = load(self._folder)
        if plan is None:
            raise FileNotFoundError(
                f"{socket.gethostname()} sees no {self._folder}: it has to be on a disk that every machine sees"
            )
        os.chdir(plan.workdir)
        file = self._folder / f"worker-{self._number}.log"
        with file.open("a", buffering=1, encoding="utf-8") as log, redirect_stdout(log), redirect_stderr(log):
            return worker_main.work(replace(plan, storage=storage), self._number, stop=self._asked.is_set)


# ------------------------------------------------------------------ in the leader
class _ActorWorker:
    """An actor as its leader sees it."""

    def __init__(self, plan: Plan, number: int) -> None:
        import ray

        settings = plan.settings
        self._log = str(plan.folder / f"worker-{number}.log")
        # concurrent calls: the work, and queries meanwhile. Ray must not restart it by itself: its trial has to be
        # enqueued again first
        options = {"num_cpus": settings.cpus, "num_gpus": settings.gpus, "max_concurrency": 3, "max_restarts": 0}
        actor: Any = ray.remote(Actor)
        self._actor = actor.options(**options).remote(str(plan.folder), number)
        self._name = self._actor.known_as.remote()
        self._work = self._actor.work.remote(plan.storage)
        self._known: tuple[int, str] | None = None
        self._end: str | None = None

    @property
    def known_as(self) -> tuple[int, str] | None:
        import ray
        from ray.exceptions import RayError

        if self._known is None and ray.wait([self._name], timeout=0)[0]:
            with suppress(RayError):
                pid, host = ray.get(self._name)
                self._known = int(pid), str(host)
        return self._known

    @property
    def log(self) -> str:
        return self._log

    def ended(self) -> str | None:
        import ray
        from ray.exceptions import RayActorError, RayError

        if self._known is None:
            _ = self.known_as  # ask while it is alive
        if self._end is None and ray.wait([self._work], timeout=0)[0]:
            try:
                code = int(ray.get(self._work))
                self._end = "" if code == 0 else f"exit code {code}"
            except RayActorError:
                self._end = "its actor died"
            except RayError as error:
                lines = [line for line in str(error).splitlines() if line.strip()]
                self._end = lines[-1].strip()[:200] if lines else type(error).__name__
        return self._end

    def ask(self) -> None:
        self._actor.stop.remote()

    def kill(self) -> None:
        import ray

        ray.kill(self._actor)
        self._end = self._end or "it did not react to the stop request"


@contextmanager
def actors(plan: Plan) -> Generator[StartWorker]:
    """Context in which actors can be started: in a Ray that starts and ends with it, or in the one at the address.

    Raises:
        ConfigError: the address does not answer, or a worker needs more resources than exist.
    """
    with _ray_session(plan):
        yield lambda number: _ActorWorker(plan, number)


@contextmanager
def _ray_session(plan: Plan) -> Generator[None]:
    # under /tmp whatever TMPDIR says: the path of a socket may have about a hundred characters
    with tempfile.TemporaryDirectory(prefix="initlab-ray-", dir="/tmp", ignore_cleanup_errors=True) as scratch:
        with _environment(plan), _keep_signal_handlers():
            _start(plan, scratch)
        import ray

        try:
            _check_resources(plan)
            yield
        finally:
            ray.shutdown()


def _start(plan: Plan, scratch: str) -> None:
    """Start Ray, or connect to the cluster at the address."""
    import ray

    address = plan.settings.ray_address
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if address is None:
            # as many CPUs as requested workers: Ray would leave surplus workers waiting
            cpus = max(os.cpu_count() or 1, math.ceil(plan.settings.workers * plan.settings.cpus))
            ray.init(
                address="local", num_cpus=cpus, include_dashboard=False, object_store_memory=_SHARED,
                _temp_dir=scratch, **quiet,
            )  # fmt: skip
        else:
            if address == "auto":
                _check_existing_cluster()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the error reports the cause
                ray.init(address=address, **quiet)
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ConfigError("study.ray_address", address, f"Ray cannot be used: {reason}") from error


def _check_existing_cluster() -> None:
    """Raises ConnectionError where no cluster runs or the known one does not answer: Ray would retry for minutes."""
    from ray._private.services import canonicalize_bootstrap_address

    where = canonicalize_bootstrap_address("auto")
    host, _, port = (where or "").rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=ANSWER).close()
    except (OSError, ValueError) as error:
        raise ConnectionError(f"nothing answers at {where}, where a cluster should be: {error}") from error


@contextmanager
def _environment(plan: Plan) -> Generator[None]:
    """Environment variables that Ray and its processes read when they start."""
    wanted = {
        # no usage statistics; initlab itself reports actors that died
        "RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS_SKIP_REGEX": ".*",
        # workers use the module path of this process
        "PYTHONPATH": os.pathsep.join(str(Path(p).absolute()) if p else str(Path.cwd()) for p in sys.path),
    }  # fmt: skip
    if "RAY_AUTH_MODE" not in os.environ:
        if plan.settings.ray_address is None:
            # a token for this Ray only, which would otherwise store one in the home directory
            wanted |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        elif {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & set(os.environ) or _TOKEN.expanduser().is_file():
            wanted |= {"RAY_AUTH_MODE": "token"}
    before = {key: os.environ.get(key) for key in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for key, value in before.items():
            os.environ.pop(key)
            if value is not None:
                os.environ[key] = value


@contextmanager
def _keep_signal_handlers() -> Generator[None]:
    """Restore the signal handlers that Ray replaces: a stopped study has to notify its workers."""
    handlers = {number: signal.getsignal(number) for number in stop_signals()}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _check_resources(plan: Plan) -> None:
    """Raises ConfigError for workers that would wait for resources for ever."""
    import ray

    settings, there = plan.settings, ray.cluster_resources()
    for key, each, name in (("cpus", settings.cpus, "CPU"), ("gpus", settings.gpus, "GPU")):
        if each > float(there.get(name, 0.0)):
            raise ConfigError(f"study.{key}", each, f"Ray has {there.get(name, 0.0):g} in all for its workers")
