"""`initlab server`: what it prints, keeps secret, refuses, and how it lives through the death of its parts."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from initlab.operations.server.secret_files import read_or_create
from tests.cli.driver import initlab
from tests.deploy.stack import Stack
from tests.tracking.tracking_cases import eventually

pytestmark = [pytest.mark.process, pytest.mark.timeout(280), pytest.mark.xdist_group("stack")]


@pytest.fixture
def small() -> Iterator[Stack]:
    """A server of one test's own, on SQLite."""
    # not forked: what it starts and ends is counted, without spare processes
    stack = Stack(postgres=False, workers=2, forked=False)
    yield stack
    stack.remove()


def experiments(stack: Stack) -> set[str]:
    code, found = stack.ask("/api/2.0/mlflow/experiments/search", {"max_results": 100})
    return {str(e["name"]) for e in found["experiments"]} if code == 200 else set()


def reachable(stack: Stack) -> bool:
    with contextlib.suppress(OSError):
        return bool(experiments(stack))
    return False


def named(stack: Stack, name: str) -> None:
    code, told = stack.ask("/api/2.0/mlflow/experiments/create", {"name": name})
    assert code == 200, told


def descendants(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def test_from_the_start_to_ctrl_c_and_again(small: Stack) -> None:
    printed = small.start()
    assert small.uri in printed and "user admin, password in server/password" in printed and "SQLite" in printed
    assert small.password not in printed
    named(small, "kept")
    below = descendants(small._process.pid)  # type: ignore[union-attr]
    assert below
    assert not any(small.password in " ".join(p.cmdline()) for p in below)
    for name in ("password", "session_key", "auth.ini", "state.json"):
        assert stat.S_IMODE((small.home / name).stat().st_mode) == 0o600, name
    assert not any(small.password in p.read_text(errors="replace") for p in small.home.glob("*.log"))
    # the folder is taken, and so is the port
    second = initlab("server", f"home={small.home}", "port=1", cwd=small.folder)
    assert second.returncode == 2 and "another server runs on this folder" in second.stderr
    second = initlab("server", f"port={small.port}", cwd=small.folder)
    assert second.returncode == 2 and f"port={small.port}: something listens there already" in second.stderr
    assert not (small.folder / ".initlab").exists()

    password = small.password
    assert small.stop() == 0
    assert not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in below)
    assert not (small.home / "state.json").exists()
    small.start()
    assert small.password == password and "kept" in experiments(small)
    assert small.stop(signal.SIGTERM) == 0


def test_what_dies_is_started_again(stack: Stack) -> None:
    named(stack, "before")
    before = stack.state()
    os.killpg(before["mlflow"], signal.SIGKILL)
    eventually(lambda: stack.state()["mlflow"] != before["mlflow"] and reachable(stack), within=90)
    assert "server died" in stack.printed() and "before" in experiments(stack)
    os.kill(before["postgres"], signal.SIGKILL)
    eventually(lambda: stack.state()["postgres"] != before["postgres"] and reachable(stack), within=90)
    assert "before" in experiments(stack)


def test_everything_killed_at_once(stack: Stack) -> None:
    named(stack, "survives")
    stack.kill()
    printed = stack.start()
    assert "PostgreSQL" in printed and "study.storage=postgresql://initlab@" in printed
    assert "survives" in experiments(stack)


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("port=0", "write a whole number from 1 to 65535"),
        ("port=five", "must be a whole number"),
        ("prot=5000", "did you mean port?"),
        ("postgres=perhaps", "must be true or false"),
        ("allowed_hosts=http://lab", "without http://"),
        ("home=", "name a folder"),
        ("task=image", "server takes no such option"),
        ("workers=1000", "from 1 to 64"),
    ],
)
def test_wrong_words(workdir: Path, argument: str, words: str) -> None:
    done = initlab("server", argument, cwd=workdir)
    assert done.returncode == 2 and words in done.stderr and len(done.stderr.splitlines()) == 1
    assert list(workdir.iterdir()) == []


def test_a_secret_is_drawn_once_and_for_its_owner(tmp_path: Path) -> None:
    first = read_or_create(tmp_path / "one")
    assert len(first) == 32 and read_or_create(tmp_path / "one") == first and read_or_create(tmp_path / "two") != first
    assert stat.S_IMODE((tmp_path / "one").stat().st_mode) == 0o600
