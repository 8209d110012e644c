from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from initlab.tracking.store.client import connect
from tests.tracking.tracking_cases import Gate, Server


@pytest.fixture(autouse=True)
def _no_store_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh store; copying it spares each test the seconds that its creation takes."""
    folder = tmp_path_factory.mktemp("template")
    connect(f"sqlite:///{folder}/mlflow.db", workdir=folder)
    return folder


@pytest.fixture
def workdir(tmp_path: Path, template: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    shutil.copyfile(template / "mlflow.db", folder / "mlflow.db")
    return folder


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, template: Path) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("server")
    shutil.copyfile(template / "mlflow.db", home / "mlflow.db")
    running = Server(home)
    running.start()
    yield running
    running.kill()


@pytest.fixture
def gate(server: Server) -> Iterator[Gate]:
    door = Gate(server.port)
    yield door
    door.shut()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 6 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = shutil.which("mount")
    done = mount and subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=6m", "none", str(folder)], capture_output=True, check=False
    )
    if not done or done.returncode != 0:
        pytest.skip("mounting a small file system is not permitted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)
