"""What tests share: no user's settings leak in, and nothing is written outside the test's own directory.

Tests that start a process (a command line, a server, a browser, a worker, the helper of a tracked run) have the marker
``process``, tests that compute for more than a few seconds the marker ``slow``; `make check` runs the others. There a
test that starts a process all the same fails.
"""

from __future__ import annotations

import gc
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.configuration_files import keep_files

for name in [n for n in os.environ if n.startswith(("MLFLOW_", "HYDRA_"))]:
    del os.environ[name]


@pytest.fixture
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


#: programs that libraries ask about the machine
_QUESTIONS = frozenset({"uname", "ldconfig", "gcc", "cc", "ld", "objdump", "lscpu", "git"})


def _refuse_processes(event: str, arguments: tuple[Any, ...]) -> None:
    if event in ("os.fork", "os.forkpty", "os.posix_spawn"):
        raise RuntimeError(f"{event}: this test starts a process; mark it with pytest.mark.process")
    if event == "subprocess.Popen" and Path(os.fsdecode(arguments[0])).name not in _QUESTIONS:
        raise RuntimeError(f"starting {arguments[0]}: this test starts a process; mark it with pytest.mark.process")


#: a file system in memory, and how much of it the tests may take
_MEMORY, _ROOM = Path("/dev/shm"), 6 << 30


def _has_room(folder: Path) -> bool:
    return folder.is_dir() and os.access(folder, os.W_OK) and shutil.disk_usage(folder).free > _ROOM


def pytest_configure(config: pytest.Config) -> None:
    """Hold the tests of `make check` to what their markers say; work in memory where there is enough of it.

    Databases wait for the disk at every transaction, which on some machines is most of what they do.
    """
    if not hasattr(config, "workerinput") and not config.option.basetemp and _has_room(_MEMORY):
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_MEMORY))
    if "not process" in config.getoption("markexpr", "") and hasattr(config, "workerinput"):
        sys.addaudithook(_refuse_processes)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long begins first, so that no worker is left with it at the end."""
    items.sort(key=lambda item: not any(map(item.get_closest_marker, ("process", "slow"))))


def pytest_collection_finish() -> None:
    """Parse configuration files once; keep the collector from what was imported and collected."""
    keep_files()
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Give the memory back, unless a test failed whose folder may tell why."""
    gc.unfreeze()
    base = session.config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
    if exitstatus == 0 and not hasattr(session.config, "workerinput") and base.is_relative_to(_MEMORY):
        shutil.rmtree(base, ignore_errors=True)
