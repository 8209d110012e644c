"""What tests share: no user's settings leak in, and nothing is written outside the test's own directory.

Tests that start a process (a command line, a server, a browser, a worker, the helper of a tracked run) have the marker
``process``, tests that compute for more than a few seconds the marker ``slow``; `make check` runs the others. There a
test that starts a process all the same fails.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

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


def pytest_configure(config: pytest.Config) -> None:
    """Hold the tests of `make check` to what their markers say."""
    if "not process" in config.getoption("markexpr", "") and hasattr(config, "workerinput"):
        sys.addaudithook(_refuse_processes)
